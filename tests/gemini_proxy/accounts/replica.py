"""A replica as a process of its own: `python -m tests.gemini_proxy.accounts.replica URL race|hold LIMITS`.

`race` claims with many callers until each is refused for good, and prints the attempts that it was given, as JSON.
`hold` takes one lease, says so, and waits to be killed.
"""

import asyncio
import json
import sys

from services.gemini_proxy.accounts.books import Lease, Limits
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings, Budget, ModelLimits, TenantBudgets
from tests.gemini_proxy.accounts.samples import claim, settlement

CALLERS = 16
REFUSALS = 5
LEASE_S = 1.0


def settings_of(limits: dict[str, int], *, lease_s: float = 30.0) -> BooksSettings:
    """`budget_day` is acme's; the rest are the fields of `Limits`."""
    budget = limits.get("budget_day")
    fields = {name: limit for name, limit in limits.items() if name != "budget_day"}
    return BooksSettings(
        limits={"a": (ModelLimits("*", Limits(**fields)),)},
        budgets={"acme": TenantBudgets(day=Budget(budget) if budget else None)},
        lease_s=lease_s,
    )


async def race(url: str, limits: dict[str, int]) -> None:
    client = connect(url, timeout_s=30)
    books = RedisBooks(client, settings_of(limits))
    granted = 0
    most_at_once = 0

    async def caller(name: str) -> None:
        nonlocal granted, most_at_once
        refused = 0
        for number in range(1_000):
            attempt_id = f"{name}-{number}"
            if not isinstance(await books.reserve(claim(attempt_id, tokens=7, cost=900)), Lease):
                refused += 1
                if refused == REFUSALS:
                    return
                continue
            granted += 1
            # Counted by other means than the books': how many hold a lease at this moment, of all processes.
            most_at_once = max(most_at_once, await client.incr("in-flight"))
            await client.decr("in-flight")
            await books.settle(settlement(attempt_id, tokens=7, cost=900))

    await asyncio.gather(*(caller(f"{sys.argv[4]}-{number}") for number in range(CALLERS)))
    await client.aclose()
    print(json.dumps({"granted": granted, "most_at_once": most_at_once}))


async def hold(url: str, limits: dict[str, int]) -> None:
    books = RedisBooks(connect(url, timeout_s=30), settings_of(limits, lease_s=LEASE_S))
    assert isinstance(await books.reserve(claim("held-by-the-dead", cost=900)), Lease)
    print("held", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run({"race": race, "hold": hold}[sys.argv[2]](sys.argv[1], json.loads(sys.argv[3])))
