"""Settings of the gateway: `CHIASM_GATEWAY_*`."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from services.gateway.tenants.tokens import ALGORITHMS
from services.runtime.config import Names, RedisUrl, ServiceSettings


class GatewaySettings(ServiceSettings):
    service: ClassVar[str] = "gateway"

    port: int = Field(8700, ge=0, le=65_535)
    """The port to listen on; 0 for a free one."""
    max_concurrent_calls: int = Field(1_024, ge=1)
    """Calls handled at once, those that wait their turn or for another's equal answer included: more than the policy's
    `max_calls` and `max_waiting` together, which refuse by priority; this one refuses whoever comes."""
    targets: Annotated[Names, Field(min_length=1)] = ("127.0.0.1:8701",)
    """Model servers, separated by commas or as a JSON list: `host:port`, or `dns:///host:port` for its replicas."""
    usage_target: str | None = None
    """The server that keeps the ledger, a gemini_proxy, as `host:port` or `dns:///host:port`; without it the gateway
    tells of no usage. It is reached with the certificates that model servers are."""
    embedder_targets: Names = ()
    """Embedders, replicas over the same collections, separated by commas or as a JSON list: `host:port`, or
    `dns:///host:port` for those behind a name; without them the gateway embeds and searches nothing. They are called in
    turn, but for a collection always the same one, as long as it is there: it finds at once what it indexed. Behind a
    name that several share that does not hold. They are reached with the certificates that model servers are."""
    target_ca_file: Path | None = None
    """What the model servers' certificates descend from, in PEM; plaintext when None."""
    target_certificate_file: Path | None = None
    """The gateway's own certificate towards model servers, in PEM, for mTLS."""
    target_key_file: Path | None = None
    """That certificate's private key, in PEM."""
    refresh_s: float = Field(1.0, gt=0)
    """Seconds between two looks at which models a target serves."""
    policy_file: Path | None = None
    """The policy, in YAML; see `policy`. It is read again when it changes. Without it every model may answer what it
    can, and whoever reaches the gateway may call."""
    ocr_processes: int = Field(1, ge=1)
    """Processes that read pictures' text where the policy has answers compared with it (`cascade.ocr_agreement`), each
    on one core, with 0.3 GiB of memory, or 1.2 GiB for the largest pictures. Answers beyond what they can take stand
    without that."""
    redis_url: RedisUrl | None = None
    """`redis://` or `rediss://`: where replicas share answers, flights and tenants' limits; each keeps its own when
    None."""

    media_store: str = ".chiasm/media"
    """Where uploads are kept: a folder, which is made, or a URL such as `s3://bucket/prefix` that all replicas share.
    Object stores are configured as their own tools are, by `AWS_*` and the like."""
    media_ttl_s: float = Field(86_400.0, gt=0, le=86_400 * 366)
    """How long an upload is kept, in seconds."""
    max_upload_bytes: int = Field(100 * 2**20, ge=1)
    """Most bytes of an upload. Each of those under way is in the temporary folder."""
    max_uploads: int = Field(32, ge=1)
    """Uploads at once, a quarter of them for one tenant; one more is refused."""
    max_media_bytes: int = Field(20 * 2**20, ge=1)
    """Most bytes of a media that a request names, an upload or an address. With all of them in its place a request
    must fit into `max_message_bytes`."""
    fetch_timeout_s: float = Field(10.0, gt=0)
    """Longest time in seconds of fetching one address."""
    fetch_plaintext: bool = False
    """Whether `http://` addresses are fetched too."""
    fetch_ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = (443,)
    """Ports that are fetched from; a JSON list."""
    fetch_allowed_hosts: Names = ()
    """Host names, addresses and networks (`10.1.2.0/24`) that are fetched from though they are not public."""

    jwks_url: str | None = Field(None, pattern="^https?://")
    """Where the keys are that tokens (JWT) are signed with; none are accepted without it or `jwks_file`."""
    jwks_file: Path | None = None
    """The same as a file."""
    jwks_refresh_s: float = Field(300.0, ge=10)
    """Seconds after which they are read again."""
    token_issuer: str | None = None
    """The `iss` of tokens that are accepted."""
    token_audience: str | None = None
    """One of their `aud`."""
    token_algorithms: Names = ("RS256", "ES256")
    """What they may be signed with; asymmetric ones alone."""
    token_leeway_s: float = Field(30.0, ge=0, le=300)
    """How far their issuer's clock may be off, in seconds."""

    audit_file: Path | None = None
    """Where each call is told of, a JSON object a line; nowhere when None."""
    audit_max_bytes: int = Field(100 * 2**20, ge=4_096)
    """Bytes of that file before it is rotated."""
    audit_files: int = Field(10, ge=1)
    """Rotated ones that are kept."""

    @model_validator(mode="after")
    def _tokens_are_whole(self) -> Self:
        if self.jwks_url and self.jwks_file:
            raise ValueError("jwks_url and jwks_file are two ways of one thing")
        if (self.jwks_url or self.jwks_file) and not (self.token_issuer and self.token_audience):
            raise ValueError("tokens need token_issuer and token_audience")
        if unknown := set(self.token_algorithms) - set(ALGORITHMS):
            raise ValueError(f"token_algorithms: no asymmetric ones: {', '.join(sorted(unknown))}")
        return self
