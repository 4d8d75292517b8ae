"""Settings of the gateway: `CHIASM_GATEWAY_*`."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from services.runtime.config import Names, ServiceSettings


class GatewaySettings(ServiceSettings):
    service: ClassVar[str] = "gateway"

    port: int = Field(8700, ge=0, le=65_535)
    """The port to listen on; 0 for a free one."""
    targets: Annotated[Names, Field(min_length=1)] = ("127.0.0.1:8701",)
    """Model servers, separated by commas or as a JSON list: `host:port`, or `dns:///host:port` for its replicas."""
    usage_target: str | None = None
    """The server that keeps the ledger, a gemini_proxy, as `host:port` or `dns:///host:port`; without it the gateway
    tells of no usage. It is reached with the certificates that model servers are."""
    target_ca_file: Path | None = None
    """What the model servers' certificates descend from, in PEM; plaintext when None."""
    target_certificate_file: Path | None = None
    """The gateway's own certificate towards model servers, in PEM, for mTLS."""
    target_key_file: Path | None = None
    """That certificate's private key, in PEM."""
    refresh_s: float = Field(1.0, gt=0)
    """Seconds between two looks at which models a target serves."""
