"""Requests a minute and calls at once, of each tenant: over all replicas where they share a Redis.

Where Redis is gone each replica holds the tenant to its own part: the limit divided by the replicas that were last
seen. No call fails for that.
"""

import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

from services.gateway.policy import TenantPolicy
from services.gateway.tenants.shared_limits import SharedLimits
from services.gateway.tenants.window import Window
from services.runtime.errors import QuotaExhausted, Violation

Limit = Literal["requests_per_minute", "max_calls"]
RETRY_CALLS_S = 1.0
MAX_WINDOWS = 10_000
"""Tenants whose requests are counted here; beyond it those that were idle for a minute are forgotten."""


@dataclass(frozen=True)
class Refusal:
    """Which limit has no room, and the seconds until it may."""

    limit: Limit
    wait_s: float


class TenantLimits:
    """Args:
    shared: those that replicas share; this process is the only one when None.
    """

    def __init__(self, shared: SharedLimits | None = None) -> None:
        self._shared = shared
        self._windows: dict[str, Window] = {}
        self._calls: Counter[str] = Counter()

    async def run(self) -> None:
        """Keeps Redis told of the calls here, for ever."""
        if self._shared is not None:
            await self._shared.run()

    @asynccontextmanager
    async def held(self, tenant: TenantPolicy) -> AsyncIterator[None]:
        """A call counts from here to the block's end. Raises QuotaExhausted."""
        if tenant.requests_per_minute is None and tenant.max_calls is None:
            yield
            return
        async with self._shared.held(tenant) if self._shared else nullcontext() as said:
            if said is None:
                refusal = self._own_refusal(tenant, self._shared.replicas if self._shared else 1)
            else:
                refusal = Refusal(*said) if said[0] != "taken" else None
            if refusal is not None:
                raise _exhausted(tenant, refusal)
            with self._counted(tenant.name):
                yield

    @contextmanager
    def _counted(self, tenant: str) -> Iterator[None]:
        self._window(tenant).add()
        self._calls[tenant] += 1
        try:
            yield
        finally:
            self._calls[tenant] -= 1
            if not self._calls[tenant]:
                del self._calls[tenant]

    def _own_refusal(self, tenant: TenantPolicy, replicas: int) -> Refusal | None:
        if tenant.max_calls is not None and self._calls[tenant.name] >= math.ceil(tenant.max_calls / replicas):
            return Refusal("max_calls", RETRY_CALLS_S)
        if tenant.requests_per_minute is not None:
            wait_s = self._window(tenant.name).wait_s(math.ceil(tenant.requests_per_minute / replicas))
            if wait_s > 0:
                return Refusal("requests_per_minute", wait_s)
        return None

    def _window(self, tenant: str) -> Window:
        if tenant not in self._windows and len(self._windows) >= MAX_WINDOWS:
            self._windows = {name: window for name, window in self._windows.items() if window.count()}
        return self._windows.setdefault(tenant, Window())


def _exhausted(tenant: TenantPolicy, refusal: Refusal) -> QuotaExhausted:
    value = getattr(tenant, refusal.limit)
    what = "requests a minute" if refusal.limit == "requests_per_minute" else "calls at once"
    return QuotaExhausted(
        f"{tenant.name} may make {value:,} {what}, and has",
        violation=Violation(subject=f"tenants/{tenant.name}", quota_id=refusal.limit, quota_value=value),
        retry_after_s=refusal.wait_s,
    )
