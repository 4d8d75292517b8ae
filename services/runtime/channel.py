"""Channels to other servers of Chiasm."""

import json
from pathlib import Path

import grpc

from services.runtime.load_report import BALANCING

_READS = [
    {"service": "chiasm.v1.ModelService", "method": "GetModel"},
    {"service": "chiasm.v1.ModelService", "method": "ListModels"},
    {"service": "chiasm.v1.GenerationService", "method": "Generate"},
    {"service": "chiasm.v1.UsageService", "method": "QueryUsage"},
    {"service": "chiasm.v1.UsageService", "method": "ListLedgerEntries"},
    {"service": "chiasm.v1.UsageService", "method": "ListBudgets"},
    {"service": "chiasm.v1.EmbeddingService", "method": "Embed"},
    {"service": "chiasm.v1.ClassificationService", "method": "Classify"},
    {"service": "chiasm.v1.SearchService", "method": "GetCollection"},
    {"service": "chiasm.v1.SearchService", "method": "ListCollections"},
    {"service": "chiasm.v1.SearchService", "method": "Search"},
]

# https://github.com/grpc/proposal/blob/master/A6-client-retries.md. Only unary calls are retried, and only when the
# server said UNAVAILABLE; the token bucket stops retries when more than about one call in ten fails.
_SERVICE_CONFIG = {
    "loadBalancingConfig": BALANCING,
    "methodConfig": [
        {
            "name": _READS,
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}


def open_channel(
    target: str,
    *,
    max_message_bytes: int,
    keepalive_s: float = 60.0,
    ca_file: Path | None = None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
    service: str | None = "chiasm.v1.GenerationService",
) -> grpc.aio.Channel:
    """A channel that spreads calls over every address of `target`; the caller closes it.

    Args:
        target: `host:port`, or `dns:///host:port` to balance over the addresses behind a name.
        max_message_bytes: most bytes of one message, either way.
        keepalive_s: seconds of silence before a ping, 10 or more: servers refuse more.
        ca_file: the certificates the server's must descend from, in PEM; None for a plaintext channel.
        certificate_file: the client's own certificate for mTLS, in PEM; with `key_file`.
        key_file: the certificate's private key, in PEM.
        service: replicas where this one is not ready are left out; None leaves out none.

    Raises:
        OSError: a file cannot be read.
        ValueError: a client certificate without `ca_file`, or without its key.
    """
    if (certificate_file is None) != (key_file is None) or (certificate_file and not ca_file):
        raise ValueError("a client certificate needs its key and the server's CA file")
    # A replica that still loads gets no calls:
    # https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md
    ready = {"healthCheckConfig": {"serviceName": service}} if service else {}
    options = [
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG | ready)),
        ("grpc.service_config_disable_resolution", 1),
        # `http_proxy` is for the world outside; gRPC would ask it for the cluster's own servers too.
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # gRPC tries no request again that is larger; its own 256 KiB would leave out photographs.
        ("grpc.per_rpc_retry_buffer_size", max_message_bytes),
        ("grpc.keepalive_time_ms", int(keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.dns_min_time_between_resolutions_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]
    if ca_file is None:
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=ca_file.read_bytes(),
        private_key=key_file.read_bytes() if key_file else None,
        certificate_chain=certificate_file.read_bytes() if certificate_file else None,
    )
    return grpc.aio.secure_channel(target, credentials, options=options)
