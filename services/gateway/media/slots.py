"""Slots that tenants share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Slots:
    """A number of slots, of which one tenant has at most a quarter, and at least one: others find some free."""

    def __init__(self, total: int) -> None:
        """`total` is 1 or more."""
        self._all = asyncio.Semaphore(total)
        self._each = max(1, total // 4)
        # A tenant's is gone once nobody holds or awaits one.
        self._tenants: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def full(self, tenant: str) -> bool:
        """Whether the tenant would have to wait."""
        return self._all.locked() or self._own(tenant).locked()

    @asynccontextmanager
    async def slot(self, tenant: str) -> AsyncIterator[None]:
        """Holds one, once there is one."""
        # The tenant's own first: whoever waits for it keeps nobody else waiting.
        async with self._own(tenant), self._all:
            yield

    def _own(self, tenant: str) -> asyncio.Semaphore:
        return self._tenants.setdefault(tenant, asyncio.Semaphore(self._each))
