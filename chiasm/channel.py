"""How a client reaches a server: address, TLS, retries, trace context."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import grpc
from opentelemetry import propagate

from chiasm.errors import InvalidArgument

DEFAULT_ADDRESS = "127.0.0.1:8700"
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
RETRY_BUFFER_BYTES = 64 * 1024 * 1024

# Only unary calls, and only when UNAVAILABLE: a stream may have been billed and half shown. The throttle keeps
# retries from feeding a brown-out. https://github.com/grpc/proposal/blob/master/A6-client-retries.md
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [
                {"service": "chiasm.v1.GenerationService", "method": "Generate"},
                {"service": "chiasm.v1.EmbeddingService", "method": "Embed"},
                {"service": "chiasm.v1.ClassificationService", "method": "Classify"},
                {"service": "chiasm.v1.SearchService", "method": "GetCollection"},
                {"service": "chiasm.v1.SearchService", "method": "ListCollections"},
                {"service": "chiasm.v1.SearchService", "method": "Search"},
                {"service": "chiasm.v1.ModelService", "method": "ListModels"},
                {"service": "chiasm.v1.ModelService", "method": "GetModel"},
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}


@dataclass(frozen=True)
class Tls:
    """PEM files for a server that speaks TLS."""

    ca_file: Path | None = None
    """Who may sign the server's certificate; the system's own list when None."""
    cert_file: Path | None = None
    """The client's certificate chain, for mutual TLS; needs `key_file`."""
    key_file: Path | None = None
    """The client's private key; needs `cert_file`."""

    @classmethod
    def from_environment(cls) -> "Tls | None":
        """From `CHIASM_CLIENT_CA_FILE`, `..._CERT_FILE` and `..._KEY_FILE`; None when none is set."""
        names = ("CHIASM_CLIENT_CA_FILE", "CHIASM_CLIENT_CERT_FILE", "CHIASM_CLIENT_KEY_FILE")
        files = [Path(os.environ[name]) if os.environ.get(name) else None for name in names]
        return cls(*files) if any(files) else None

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files. Raises InvalidArgument when one cannot be read."""
        try:
            ca, key, cert = (file and file.read_bytes() for file in (self.ca_file, self.key_file, self.cert_file))
        except OSError as error:
            raise InvalidArgument(f"{error.filename}: {error.strerror}", field="tls") from error
        return grpc.ssl_channel_credentials(ca, key, cert)


def default_address() -> str:
    """`CHIASM_ADDRESS`, or where `chiasm up` listens."""
    return os.environ.get("CHIASM_ADDRESS") or DEFAULT_ADDRESS


def default_api_key() -> str | None:
    """`CHIASM_API_KEY`, where it is set."""
    return os.environ.get("CHIASM_API_KEY") or None


def target(address: str) -> str:
    """The gRPC target for `host:port`: every address the name resolves to is used in turn."""
    return address if "://" in address or address.startswith("unix:") else f"dns:///{address}"


def channel_options(address: str) -> list[tuple[str, str | int]]:
    """How the channel to `host:port` behaves."""
    host = address.rpartition(":")[0]
    return [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
        # gRPC tries no request again that is larger; its own 256 KiB would leave out photographs.
        ("grpc.per_rpc_retry_buffer_size", RETRY_BUFFER_BYTES),
        # `http_proxy` is for the world outside, but gRPC would ask it for this machine's own servers too.
        ("grpc.enable_http_proxy", int(host not in ("127.0.0.1", "localhost", "[::1]"))),
    ]


class Caller:
    """What the calls of a client have in common."""

    _timeout_s: float
    _api_key: str | None

    def _metadata(self) -> list[tuple[str, str]]:
        """The current trace context, as W3C `traceparent` and `baggage`; and the API key."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        if self._api_key:
            carrier["authorization"] = f"Bearer {self._api_key}"
        return list(carrier.items())

    def _options(self, timeout_s: float | None) -> dict[str, object]:
        """As a stub's methods take them; the client's own time where `timeout_s` is None."""
        return {"timeout": timeout_s or self._timeout_s, "metadata": self._metadata()}
