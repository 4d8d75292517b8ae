"""Settings of gemini_proxy: `CHIASM_GEMINI_PROXY_*`, or the table `[gemini_proxy]` of the configuration file.

One key is enough to begin: `CHIASM_GEMINI_PROXY_API_KEY_FILE`. Several, or limits by model, belong in the file:

    [[gemini_proxy.members]]
    name = "main"
    api_key_file = "/run/secrets/gemini"
    limits = { "gemini-3.8-flash" = { requests_per_minute = 1000, input_tokens_per_minute = 1_000_000 } }

    [[gemini_proxy.budgets]]
    tenant = "search"
    day_nanousd = 5_000_000_000
    hard = true
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from services.gemini_proxy.accounts.books import Limits
from services.runtime.config import Names, RedisUrl, ServiceSettings
from services.runtime.requests import check_name

NO_KEY = "no key for Gemini is configured: set CHIASM_GEMINI_PROXY_API_KEY_FILE, or members in the configuration file"

_NAME = r"^[A-Za-z0-9._-]{1,64}$"
_Amount = Annotated[int, Field(ge=1, le=9_000_000_000_000_000)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class LimitSettings(_Table):
    """As the provider's own page shows them for the project; what is left out is not limited here."""

    requests_per_minute: _Amount | None = None
    input_tokens_per_minute: _Amount | None = None
    requests_per_day: _Amount | None = None
    spend_nanousd_per_10_minutes: _Amount | None = None
    concurrency: _Amount | None = None

    def to_limits(self) -> Limits:
        return Limits(**self.model_dump())


class MemberSettings(_Table):
    """A key or project that calls may be made with."""

    name: str = Field(pattern=_NAME)
    """What it is called in the ledger, in metrics and in logs; never the key."""
    api_key: SecretStr | None = None
    """Better `api_key_file`: a configuration file is read by many."""
    api_key_file: Path | None = None
    """A file that holds the key alone."""
    vertex: bool = False
    """Vertex AI rather than the developer API; with `project` and `location` the machine's own credentials serve."""
    project: str | None = None
    location: str | None = None
    base_url: str | None = Field(None, pattern="^https?://")
    """Another address than Google's own: a private endpoint."""
    api_version: str = "v1"
    limits: dict[str, LimitSettings] = {}
    """By the model's name, or a pattern with `*`; the first that matches holds."""

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        if self.api_key and self.api_key_file:
            raise ValueError("give api_key or api_key_file, not both")
        if not (self.api_key or self.api_key_file or (self.vertex and self.project and self.location)):
            raise ValueError("give api_key_file, or vertex with project and location")
        return self

    def with_key(self) -> Self:
        """Itself with the key read from its file. Raises OSError or ValueError, which name the file alone."""
        if self.api_key_file is None:
            return self
        key = self.api_key_file.read_text(encoding="utf-8").strip()
        if not key or any(character.isspace() for character in key):
            raise ValueError(f"{self.api_key_file}: holds no key alone")
        return self.model_copy(update={"api_key": SecretStr(key), "api_key_file": None})


class BudgetSettings(_Table):
    """What a tenant may spend."""

    tenant: str = Field(pattern=r"^(\*|[A-Za-z0-9._-]{1,64})$")
    """Whose; `*` is each of those that are not named."""
    day_nanousd: _Amount | None = None
    """In a day of UTC."""
    month_nanousd: _Amount | None = None
    """In a month of UTC."""
    hard: bool = True
    """Whether a call that could go beyond it is refused; otherwise it is told of."""


class GeminiSettings(ServiceSettings):
    service: ClassVar[str] = "gemini_proxy"

    port: int = Field(8703, ge=0, le=65_535)
    """The port to listen on; 0 for a free one."""
    max_concurrent_calls: int = Field(2_000, ge=1)
    """Calls handled at once, those that wait for room in the limits among them; one more is refused."""
    api_key: SecretStr | None = None
    """The only member's key; the member is named `default`. Without any key the service starts, and is not ready."""
    api_key_file: Path | None = None
    """A file that holds that key alone; instead of `api_key`."""
    base_url: str | None = Field(None, pattern="^https?://")
    """That member's address, if not Google's own."""
    requests_per_minute: _Amount | None = None
    """That member's limit, for each model."""
    input_tokens_per_minute: _Amount | None = None
    """That member's limit, for each model."""
    members: tuple[MemberSettings, ...] = ()
    """Several keys or projects, which share the calls; in the configuration file, or as JSON."""
    models: Annotated[Names, Field(min_length=1)] = ("gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-4-argon")
    """Models that are served, as Gemini names them, separated by commas or as a JSON list."""
    aliases: dict[str, str] = Field({})
    """Other names for them: `{"flash": "gemini-3.8-flash"}`."""
    embedding_models: Names = ("gemini-embedding-2",)
    """Embedding models that are served."""
    embedding_dimensions: int = Field(3_072, ge=128, le=3_072)
    """Numbers in a vector; those of different sizes cannot be compared."""
    safety_threshold: Literal[
        "BLOCK_NONE", "BLOCK_ONLY_HIGH", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_LOW_AND_ABOVE", "OFF"
    ] = "BLOCK_ONLY_HIGH"
    """From which probability of harm on the provider blocks; sent with every call, for every category."""
    prices_file: Path | None = None
    """Prices that differ from the published ones, in TOML; see `prices`."""

    redis_url: RedisUrl | None = None
    """Where replicas share limits, budgets and the ledger: `redis://` or `rediss://`. Without it this process keeps
    to its share of the limits by itself, and hard budgets refuse."""
    books_timeout_s: float = Field(0.5, gt=0)
    """Seconds that Redis may take to answer before it counts as gone."""
    local_share: float = Field(0.1, gt=0, le=1)
    """This process's share of each limit while Redis is gone: at most 1 / replicas."""
    spool_file: Path = Path(".chiasm/gemini-spool.jsonl")
    """Where settlements wait for Redis while it is gone."""
    lease_s: float = Field(30.0, ge=1)
    """Seconds after which what a dead process held is booked and free again."""
    budgets: tuple[BudgetSettings, ...] = ()
    """What tenants may spend; in the configuration file, or as JSON."""
    ledger_days: int = Field(400, ge=32)
    """Days that entries of the ledger are kept; the sums are kept for good."""

    max_waiting: int = Field(1_000, ge=1)
    """Calls that may wait for room in the limits; one more is refused."""
    max_attempts: int = Field(3, ge=1, le=10)
    """Most attempts at one call, the first included."""
    retry_ratio: float = Field(0.1, ge=0, le=1)
    """Retries a successful call earns; together with a small stock they bound the load of a brown-out."""
    first_token_timeout_s: float = Field(60.0, gt=0)
    """Seconds from a question's sending without a first piece of the answer, after which the attempt is given up."""
    attempt_timeout_s: float = Field(300.0, gt=0)
    """Seconds after which an attempt is cut, whoever still listens."""
    batch_poll_s: float = Field(15.0, gt=0)
    """Seconds between two looks at a batch that the provider works at."""
    default_max_tokens: int = Field(8_192, ge=1)
    """Most tokens of an answer, reasoning included, where the request does not say."""
    max_media_bytes: int = Field(20 * 2**20, ge=1)
    """Most bytes of one media."""

    files_threshold_bytes: int = Field(8 * 2**20, ge=1)
    """Files above it are uploaded to the developer API once rather than sent with every attempt."""
    files_reuse_s: int = Field(3_600, ge=1)
    """Seconds within which a file above 256 KiB that comes again is uploaded too."""
    files_max_bytes: int = Field(15 * 10**9, ge=1)
    """Most bytes of files kept uploaded for each member, of the provider's 20 GB; beyond it the oldest are deleted."""
    caching: bool = False
    """Whether beginnings of questions that come again are kept in explicit caches where that pays at the rate of the
    last hour. Off, because the provider caches by itself too, free of storage and without a promise: an explicit cache
    costs at once, and saves only if the questions go on coming."""
    cache_ttl_s: int = Field(600, ge=60)
    """Seconds that such a cache lasts, and is prolonged by."""

    @field_validator("models", "embedding_models")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            check_name(name)
        return value

    @model_validator(mode="after")
    def _check_members(self) -> Self:
        if sum(map(bool, (self.api_key, self.api_key_file, self.members))) > 1:
            raise ValueError("give one of api_key, api_key_file and members")
        if len({member.name for member in self.members}) < len(self.members):
            raise ValueError("two members have the same name")
        if len({budget.tenant for budget in self.budgets}) < len(self.budgets):
            raise ValueError("two budgets are of the same tenant")
        if unknown := sorted(set(self.aliases.values()) - set(self.models)):
            raise ValueError(f"aliases of models that are not served: {', '.join(unknown)}")
        return self

    @property
    def pool(self) -> tuple[MemberSettings, ...]:
        """All members; none where there is no key."""
        if self.api_key is None and self.api_key_file is None:
            return self.members
        limits = LimitSettings(
            requests_per_minute=self.requests_per_minute, input_tokens_per_minute=self.input_tokens_per_minute
        )
        return (
            MemberSettings(
                name="default",
                api_key=self.api_key,
                api_key_file=self.api_key_file,
                base_url=self.base_url,
                limits={"*": limits},
            ),
        )
