"""The gateway's policy: which models answer what, and what may be done for an answer. Data alone.

It comes from a YAML file (`policy_file`); without one the defaults hold. All times are seconds, all money is
nano-US-dollars.

    tasks:
      answer:
        candidates:
          - model: models/paligemma2-3b-mix-448
            min_confidence: 0.9
          - model: models/gemini-3.8-flash
    tenants:
      - name: search
        api_keys: [sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08]
        weight: 3
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TaskName = Literal["open", "caption", "answer", "read_text", "detect", "segment"]
FallbackReason = Literal["unavailable", "timeout", "quota", "broken", "blocked", "empty"]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 366)]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns, in which `*` and `?` stand for others, is of `name`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Section(BaseModel):
    """A part of the policy; unknown names in it are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CandidatePolicy(Section):
    """A model that may answer a task."""

    model: str = Field(pattern=r"^models/[A-Za-z0-9*?][A-Za-z0-9._*?:-]*$")
    """Its name, or a pattern with `*` and `?`."""
    min_confidence: Share | None = None
    """The next candidate is asked where the calibrated confidence of this one's answer is below; never when None."""
    calibration: tuple[tuple[Share, Share], ...] = ()
    """Points (reported confidence, how often such answers are right) that rise in both; straight lines between them.
    As reported when empty. `chiasm calibrate` writes them."""

    @model_validator(mode="after")
    def _check_calibration(self) -> Self:
        for before, after in zip(self.calibration, self.calibration[1:], strict=False):
            if after[0] <= before[0] or after[1] < before[1]:
                raise ValueError("the points of a calibration must rise")
        return self


class TaskPolicy(Section):
    """Who answers a task."""

    candidates: tuple[CandidatePolicy, ...] = ()
    """In the order in which they are asked; every model that can do the task when empty."""
    order: Literal["listed", "cheapest", "fastest"] = "listed"
    """What decides among candidates that can make the deadline: the list, the expected price, or the expected time."""


class OcrAgreementPolicy(Section):
    """Whether an answer that was read off a picture is compared with what an OCR engine reads there: text that was to
    be read, and what questions ask for that is written. Only answers that would else be sure enough, of candidates with
    a `min_confidence`."""

    similarity: float = Field(0.85, gt=0, le=1)
    """An answer is at fault that is less like it, as a share of letters: 0.85 allows one letter in seven."""
    timeout_s: Seconds = 5.0
    """Longest that an answer waits for the engine, and never more than half of its time left; then it stands."""

    @model_validator(mode="after")
    def _check_installed(self) -> Self:
        if missing := [name for name in ("rapidocr", "onnxruntime") if find_spec(name) is None]:
            raise ValueError(f"{' and '.join(missing)} must be installed: pip install 'chiasm[gateway-ocr]'")
        return self


class CascadePolicy(Section):
    """When a second opinion is wanted, and what may be spent on those."""

    ocr_agreement: OcrAgreementPolicy | None = None
    escalation_share: Share = 0.5
    """Most escalations as a share of answered calls, over the long run; 0 for none."""
    escalation_burst: float = Field(20, ge=1)
    """Escalations that may come at once before the share binds."""


class FallbackPolicy(Section):
    """When another model or replica is tried."""

    on: frozenset[FallbackReason] = frozenset({"unavailable", "timeout", "quota", "broken", "blocked", "empty"})
    max_attempts: int = Field(3, ge=1, le=10)
    """Most attempts at one call: the first, retries, fallbacks, escalations and hedges together."""
    retry_ratio: Share = 0.1
    """Further attempts at a target that its successful calls earn; together with a small stock."""
    slow_share: float = Field(0.5, gt=0, le=1)
    """Where another candidate could make the deadline, the share of the time left within which an attempt must show its
    first delta, and then each further event."""


class CircuitPolicy(Section):
    """When a target is left alone."""

    failures: int = Field(5, ge=1)
    """Failures in a row that open it."""
    open_s: Seconds = 5.0
    """How long it stays open before one call may probe; doubles with each probe that fails, up to a minute."""


class HedgePolicy(Section):
    """A second copy of a slow unary call; the first whole answer wins."""

    share: Share = 0.0
    """Most hedges as a share of calls; 0 for none."""
    quantile: float = Field(0.95, ge=0.5, lt=1)
    """A call that is slower than this quantile of its target's recent calls is hedged."""


class NearDuplicatePolicy(Section):
    """Whether the answer about a picture may serve for one that looks alike."""

    similarity: float = Field(0.98, gt=0, le=1)
    """Least share of equal bits of the pictures' perceptual hashes."""
    verify_share: Share = 0.1
    """Share of reuses that are checked against a fresh answer, which the metrics report."""


class CachePolicy(Section):
    """Stored answers."""

    ttl_s: float = Field(3_600.0, ge=0)
    """How long an answer is kept; 0 keeps none."""
    negative_ttl_s: float = Field(5.0, ge=0)
    """How long a refusal of the request itself is kept (INVALID_ARGUMENT); 0 keeps none."""
    memory_bytes: int = Field(64 * 2**20, ge=0)
    """Bound of the cache in this process."""
    max_answer_bytes: int = Field(2**20, ge=1)
    """Larger answers are not stored."""
    sampled: bool = False
    """Whether answers with a temperature above 0 and no seed are stored."""
    near_duplicates: NearDuplicatePolicy | None = None


class AdmissionPolicy(Section):
    """What the gateway takes on at once."""

    max_bytes: int = Field(512 * 2**20, ge=1)
    """Bytes of media in flight; calls of normal priority may fill 90 % of them, those of low priority 80 %."""
    max_pixels: int = Field(2_000_000_000, ge=1)
    """Pixels of pictures in flight, as they decode."""
    max_calls: int = Field(128, ge=1)
    """Calls that are worked at."""
    max_waiting: int = Field(512, ge=0)
    """Calls that wait their turn."""
    tenant_share: Share = 1.0
    """Most of the calls and pixels that one tenant may have while others wait."""


class TenantPolicy(Section):
    """Who may call, and how much."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    api_keys: tuple[Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")], ...] = ()
    """Digests of its keys; `chiasm key` makes a key and its digest."""
    jwt_subjects: tuple[str, ...] = ()
    """`sub` of tokens that are its own, or patterns with `*`."""
    certificate_names: tuple[str, ...] = ()
    """Subject alternative names of client certificates that are its own, or patterns with `*`."""
    may_act_for: tuple[str, ...] = ()
    """Tenants that it may name in the metadata `chiasm-tenant`; `*` for any: other services of the house."""
    weight: float = Field(1.0, gt=0, le=1_000)
    """Its share of the gateway where tenants compete."""
    models: tuple[str, ...] = ("*",)
    """Names or patterns of the models that it may use."""
    buckets: tuple[str, ...] = ("*",)
    """Patterns as `bucket/prefix*` of the `gs://` objects that it may name, which providers read with the rights of the
    operator's project; any by default, none when empty."""
    requests_per_minute: int | None = Field(None, ge=1)
    max_calls: int | None = Field(None, ge=1)
    """Calls at once."""
    max_priority: Literal["low", "normal", "high"] = "high"
    """Higher priorities that it asks for are taken as this one."""

    @property
    def may_use_all(self) -> bool:
        """Whether it may use every model."""
        return "*" in self.models

    def may_use(self, model: str) -> bool:
        """Whether it may use the model of this name."""
        return matches(model, self.models)

    def may_read(self, stored: str) -> bool:
        """Whether it may name `gs://` and then `stored`, a bucket and an object in it."""
        return matches(stored, self.buckets)


class Policy(Section):
    """The whole."""

    tasks: Mapping[TaskName, TaskPolicy] = {}
    default: TaskPolicy = TaskPolicy()
    """Of tasks that are not named."""
    cascade: CascadePolicy = CascadePolicy()
    fallback: FallbackPolicy = FallbackPolicy()
    circuit: CircuitPolicy = CircuitPolicy()
    hedging: HedgePolicy = HedgePolicy()
    cache: CachePolicy = CachePolicy()
    admission: AdmissionPolicy = AdmissionPolicy()
    tenants: tuple[TenantPolicy, ...] = ()
    """When any are named, calls that prove to be none of theirs are refused."""

    @model_validator(mode="after")
    def _check_tenants(self) -> Self:
        names = [tenant.name for tenant in self.tenants]
        if len(set(names)) < len(names):
            raise ValueError("two tenants have the same name")
        keys = [key for tenant in self.tenants for key in tenant.api_keys]
        if len(set(keys)) < len(keys):
            raise ValueError("a key belongs to two tenants")
        return self

    def task(self, name: TaskName) -> TaskPolicy:
        """Of the task with this name."""
        return self.tasks.get(name, self.default)
