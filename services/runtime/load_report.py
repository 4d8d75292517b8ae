"""How busy a model server is, told with each answer, so that a busy replica gets fewer calls.

https://github.com/grpc/proposal/blob/master/A51-custom-backend-metrics.md: the report travels in trailing metadata.
https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md: what gRPC makes of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp

from chiasm.v1 import load_report_pb2

METADATA_KEY = "endpoint-load-metrics-bin"

BALANCING = [
    {
        "weighted_round_robin": {
            # Until a replica has told of its load for so long, and when it falls silent, it gets its even share.
            "blackoutPeriod": "1s",
            "weightExpirationPeriod": "60s",
            "weightUpdatePeriod": "1s",
        }
    }
]
"""`loadBalancingConfig` of a channel to replicas: calls by answers a second over utilization, else in turn."""

_RATE_S = 5.0
"""Seconds over which a rate is taken; older events count for little."""


@dataclass(frozen=True)
class Load:
    """What a server is busy with."""

    utilization: float
    """The share of what it can do at once that is in use, 0 or more; above 1 where requests wait."""
    running: int = 0
    waiting: int = 0
    kv_cache_usage: float = 0.0
    """The share of the key-value cache in use, 0 to 1."""


class Rate:
    """How often something happens."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds that only rise."""
        self._clock = clock
        self._began = self._at = clock()
        self._count = 0.0

    def happened(self) -> None:
        self._fade()
        self._count += 1

    @property
    def per_s(self) -> float:
        """Events a second, over the last few; of a young rate, since it began."""
        self._fade()
        seen_s = max(self._at - self._began, 0.001)
        return self._count / (_RATE_S * (1 - exp(-seen_s / _RATE_S)))

    def _fade(self) -> None:
        now = self._clock()
        self._count *= exp((self._at - now) / _RATE_S)
        self._at = now


def trailing_metadata(load: Load, requests_per_s: float) -> tuple[tuple[str, bytes], ...]:
    """`load` as the client's load balancing reads it."""
    report = load_report_pb2.LoadReport(
        application_utilization=load.utilization,
        rps_fractional=requests_per_s,
        named_metrics={"running": load.running, "waiting": load.waiting, "kv_cache_usage": load.kv_cache_usage},
    )
    return ((METADATA_KEY, report.SerializeToString()),)
