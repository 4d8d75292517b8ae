"""What the books cost beside bare round trips to the same Redis: `python -m bench.books`.

A pair is a `reserve` and a `settle` with every limit and budget in force, and is compared with two PINGs of the same
client, measured in turn. Figures are medians of the rounds.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import redis.asyncio

from services.gemini_proxy.accounts.books import Claim, Lease, Limits, Outcome, Settlement
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings, Budget, ModelLimits, TenantBudgets
from services.gemini_proxy.usage import Modality, TokenUsage
from tests.valkey import valkey_server

ROUNDS = 5
PAIRS = 1_000
CALLERS = (1, 64)
PLENTY = 2**50
SETTINGS = BooksSettings(
    limits={"a": (ModelLimits("*", Limits(PLENTY, PLENTY, PLENTY, PLENTY, PLENTY)),)},
    default_budgets=TenantBudgets(day=Budget(PLENTY), month=Budget(PLENTY)),
)
USAGE = TokenUsage(input={Modality.TEXT: 20, Modality.IMAGE: 1_120}, answer=60, thinking=100)

Timings = dict[str, list[float]]


async def timed(call: Awaitable[object], into: list[float]) -> object:
    begun = time.perf_counter()
    answer = await call
    into.append(time.perf_counter() - begun)
    return answer


async def pair(books: RedisBooks, name: str, timings: Timings) -> None:
    claim = Claim(name, "request", "tenant", "gemini-3.8-flash", 1_200, 900_000, ("a",))
    if not isinstance(await timed(books.reserve(claim), timings["reserve"]), Lease):
        raise RuntimeError("a limit of this benchmark is too low")
    await timed(books.settle(Settlement(name, Outcome.OK, USAGE, 500_000, claim.model)), timings["settle"])


async def pings(client: redis.asyncio.Redis, timings: Timings) -> None:
    for _ in range(2):
        await timed(client.ping(), timings["ping"])


async def rate(callers: int, make: Callable[[str], Awaitable[None]]) -> float:
    """Calls of `make` a second."""

    async def caller(number: int) -> None:
        for index in range(PAIRS // callers):
            await make(f"{number}-{index}-{time.perf_counter_ns()}")

    begun = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    return PAIRS // callers * callers / (time.perf_counter() - begun)


async def measure(client: redis.asyncio.Redis, callers: int) -> None:
    books = RedisBooks(client, SETTINGS)
    timings: Timings = {"reserve": [], "settle": [], "ping": []}
    pair_rates, ping_rates = [], []
    for _ in range(ROUNDS):
        pair_rates.append(await rate(callers, lambda name: pair(books, name, timings)))
        ping_rates.append(await rate(callers, lambda name: pings(client, timings)))
    ratio = statistics.median(pings / pairs for pairs, pings in zip(pair_rates, ping_rates, strict=True))
    print(f"books_pairs_per_second_{callers}_callers {statistics.median(pair_rates):.0f}")
    print(f"two_pings_over_books_pair_rate_{callers}_callers {ratio:.2f}")
    for name, seconds in timings.items():
        cuts = statistics.quantiles(seconds, n=100)
        for percentile in (50, 99):
            value = cuts[percentile - 1]
            base = statistics.quantiles(timings["ping"], n=100)[percentile - 1]
            print(f"{name}_p{percentile}_us_{callers}_callers {value * 1e6:.0f}")
            if name != "ping":
                print(f"{name}_p{percentile}_over_ping_{callers}_callers {value / base:.2f}")


async def main() -> None:
    with valkey_server(save="") as server:
        client = connect(server.connection_url, timeout_s=5)
        for callers in CALLERS:
            await measure(client, callers)
        await client.aclose()


if __name__ == "__main__":
    asyncio.run(main())
