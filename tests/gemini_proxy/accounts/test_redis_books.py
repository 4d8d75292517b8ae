import dataclasses
from datetime import UTC, date, datetime

import pytest
import redis.asyncio

from services.gemini_proxy.accounts.books import Booking, Dimension, Lease, Limits, Origin, Outcome, Refusal
from services.gemini_proxy.accounts.errors import BooksUnavailable, UnknownAttempt
from services.gemini_proxy.accounts.ledger import EntryKind, Filter, Group, Ledger
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings, Budget, ModelLimits, TenantBudgets
from services.runtime.errors import InvalidArgument
from tests.gemini_proxy.accounts.samples import DAY_MS, NOON, Clock, claim, settings, settlement


def ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)


async def everything(ledger: Ledger, clock: Clock) -> list:
    day = datetime.fromtimestamp(clock() / 1000, UTC).date()
    whole = Filter(day.replace(day=1), day)
    entries = [entry async for entry in ledger.export(whole)]
    (row,) = await ledger.usage(whole) or [None]
    assert sum(entry.sums.cost_nanousd for entry in entries) == (row.sums.cost_nanousd if row else 0)
    return entries


async def test_a_minute_runs_from_the_answer_not_from_the_reservation(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    books = RedisBooks(client, settings(Limits(requests_per_minute=1), lease_s=300), clock=clock)
    first = claim()
    assert isinstance(await books.reserve(first), Lease)
    clock.go(50)
    await books.counted(first.attempt_id)
    clock.go(59.999)
    assert await books.reserve(claim()) == Refusal(Dimension.REQUESTS_PER_MINUTE, 1, 0.002)
    clock.go(0.002)
    assert isinstance(await books.reserve(claim()), Lease)


async def test_tokens_in_flight_may_turn_out_fewer_at_any_moment(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(Limits(input_tokens_per_minute=100)), clock=Clock())
    first, second = claim(tokens=90), claim(tokens=50)
    assert isinstance(await books.reserve(first), Lease)
    assert await books.reserve(second) == Refusal(Dimension.INPUT_TOKENS_PER_MINUTE, 100, 0.1)
    # The one ahead takes their place, for its own 60 s.
    assert (await books.reserve(second, ahead=[claim(tokens=60)])).retry_after_s == pytest.approx(60.101)
    await books.settle(settlement(first.attempt_id, tokens=51))
    assert (await books.reserve(second)).retry_after_s == 60.001
    assert isinstance(await books.reserve(claim(tokens=49)), Lease)


async def test_an_attempt_corrected_long_after_it_was_lost_takes_no_room_today(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    limits = Limits(requests_per_minute=1, input_tokens_per_minute=10, spend_nanousd_per_10_minutes=1_000)
    books = RedisBooks(client, settings(limits), clock=clock)
    lost = claim()
    assert isinstance(await books.reserve(lost), Lease)
    clock.go(3_600)
    assert await books.sweep() == 1
    assert await books.settle(settlement(lost.attempt_id)) is Booking.CORRECTED
    assert isinstance(await books.reserve(claim()), Lease)


async def test_a_claim_larger_than_a_limit_is_never_served(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(Limits(input_tokens_per_minute=100)))
    assert await books.reserve(claim(tokens=101)) == Refusal(Dimension.INPUT_TOKENS_PER_MINUTE, 100, None)
    assert isinstance(await books.reserve(claim(tokens=100)), Lease)


async def test_sums_are_exact_to_the_last_nano_dollar_allowed(client: redis.asyncio.Redis) -> None:
    most = 2**53
    both = TenantBudgets(month=Budget(most))
    books = RedisBooks(client, BooksSettings(budgets={"acme": both}), clock=Clock())
    assert isinstance(await books.reserve(claim(cost=most - 1)), Lease)
    assert (await books.reserve(claim(cost=2))).dimension == Dimension.BUDGET_MONTH
    assert isinstance(await books.reserve(claim(cost=1)), Lease)
    assert (await books.reserve(claim(cost=1))).dimension == Dimension.BUDGET_MONTH


@pytest.mark.parametrize("amount", [0, -1, 2**53 + 1])
def test_settings_beyond_exact_sums_are_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="not from 1"):
        Budget(amount)
    with pytest.raises(ValueError, match="not from 1"):
        ModelLimits("*", Limits(requests_per_day=amount))


async def test_a_claim_beyond_exact_sums_is_refused(client: redis.asyncio.Redis) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await RedisBooks(client, settings()).reserve(claim(cost=2**53 + 1))
    assert refused.value.field == "cost_nanousd"


async def test_the_member_with_the_most_room_is_chosen(client: redis.asyncio.Redis) -> None:
    limits = {name: (ModelLimits("*", Limits(requests_per_minute=n)),) for name, n in (("a", 2), ("b", 4))}
    books = RedisBooks(client, BooksSettings(limits=limits), clock=Clock())
    chosen = [(await books.reserve(claim(members=("a", "b")))).member for _ in range(6)]
    assert chosen == ["b", "a", "b", "b", "a", "b"]
    assert isinstance(await books.reserve(claim(members=("a", "b"))), Refusal)


async def test_asked_again_an_attempt_has_the_same_lease_and_holds_once(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(Limits(concurrency=2)))
    first = claim()
    assert await books.reserve(first) == await books.reserve(first)
    assert isinstance(await books.reserve(claim()), Lease)
    assert isinstance(await books.reserve(claim()), Refusal)


async def test_what_was_not_sent_leaves_no_trace(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    limits = Limits(1, 10, 1, 1_000, 1)
    kept = settings(limits, budgets={"acme": TenantBudgets(day=Budget(1_000))})
    books, ledger = RedisBooks(client, kept, clock=clock), Ledger(client, kept, clock=clock)
    first = claim()
    for _ in range(3):
        assert isinstance(await books.reserve(first), Lease)
        assert await books.settle(settlement(first.attempt_id, sent=False)) == Booking.SETTLED
        assert await books.settle(settlement(first.attempt_id, sent=False)) == Booking.REPEATED
    assert await everything(ledger, clock) == []
    assert [(budget.spent_nanousd, budget.held_nanousd) for budget in await ledger.budgets()] == [(0, 0)]
    assert isinstance(await books.reserve(claim()), Lease)


async def test_hard_budgets_refuse_until_their_period_ends_and_soft_ones_tell(client: redis.asyncio.Redis) -> None:
    clock = Clock(ms(2026, 11, 30, 23, 59))
    budgets = {
        "daily": TenantBudgets(day=Budget(1_000)),
        "monthly": TenantBudgets(day=Budget(9_000), month=Budget(1_500)),
        "soft": TenantBudgets(month=Budget(1_500, hard=False)),
    }
    kept = BooksSettings(budgets=budgets, default_budgets=TenantBudgets(day=Budget(500)))
    books, ledger = RedisBooks(client, kept, clock=clock), Ledger(client, kept, clock=clock)
    for tenant, dimension in (("daily", Dimension.BUDGET_DAY), ("monthly", Dimension.BUDGET_MONTH)):
        held = claim(tenant=tenant)
        assert isinstance(await books.reserve(held), Lease)
        # What is held may come back at any moment; what is spent does not before the period ends.
        assert (await books.reserve(claim(tenant=tenant))).retry_after_s == 0.1
        await books.settle(settlement(held.attempt_id, cost=1_000))
        refusal = await books.reserve(claim(tenant=tenant))
        assert (refusal.dimension, refusal.retry_after_s) == (dimension, 60)
    assert await books.reserve(claim(tenant="unnamed")) == Refusal(Dimension.BUDGET_DAY, 500, None)
    assert (await books.reserve(claim(tenant="soft"))).over_soft_budget == ()
    late = claim(tenant="soft")
    assert (await books.reserve(late)).over_soft_budget == (Dimension.BUDGET_MONTH,)
    clock.go(60)
    for tenant in budgets:
        assert isinstance(await books.reserve(claim(tenant=tenant)), Lease)
    # November's claim is settled in November's budget.
    await books.settle(settlement(late.attempt_id, cost=900))
    (soft,) = await ledger.budgets(["soft"])
    assert (soft.spent_nanousd, soft.held_nanousd) == (0, 1_000)
    assert soft.resets_at == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("midnight", "next_midnight"),
    [
        (ms(2027, 3, 14, 8), ms(2027, 3, 15, 7)),  # a day of 23 hours
        (ms(2027, 11, 7, 7), ms(2027, 11, 8, 8)),  # a day of 25 hours
        (ms(2027, 7, 1, 7), ms(2027, 7, 2, 7)),
    ],
)
async def test_requests_of_a_day_begin_anew_at_midnight_pacific(
    client: redis.asyncio.Redis, midnight: int, next_midnight: int
) -> None:
    clock = Clock(midnight)
    books = RedisBooks(client, settings(Limits(requests_per_day=1)), clock=clock)
    first = claim()
    await books.reserve(first)
    await books.settle(settlement(first.attempt_id))
    assert (await books.reserve(claim())).retry_after_s == (next_midnight - midnight) / 1000
    clock.now_ms = next_midnight - 1
    assert isinstance(await books.reserve(claim()), Refusal)
    clock.now_ms = next_midnight
    assert isinstance(await books.reserve(claim()), Lease)


async def test_a_request_in_flight_over_midnight_counts_on_both_days(client: redis.asyncio.Redis) -> None:
    midnight = ms(2026, 12, 1, 8)
    clock = Clock(midnight - 1_000)
    books = RedisBooks(client, settings(Limits(requests_per_day=1)), clock=clock)
    first = claim()
    await books.reserve(first)
    clock.go(2)
    assert isinstance(await books.reserve(claim()), Refusal)
    await books.counted(first.attempt_id)
    await books.settle(settlement(first.attempt_id))
    assert isinstance(await books.reserve(claim()), Refusal)


async def test_claims_ahead_take_their_room_first_and_nothing_is_held(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    books = RedisBooks(client, settings(Limits(requests_per_minute=2)), clock=clock)
    mine = claim()
    assert isinstance(await books.reserve(mine, ahead=[claim()]), Lease)
    assert (await books.reserve(mine, ahead=[claim(), claim()])).retry_after_s == 60.001
    assert (await books.reserve(mine, ahead=[claim() for _ in range(4)])).retry_after_s == 120.002
    for _ in range(2):
        assert isinstance(await books.reserve(claim()), Lease)


async def test_a_long_queue_is_looked_at_in_pieces(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    books = RedisBooks(client, settings(Limits(input_tokens_per_minute=300)), clock=clock)
    for _ in range(300):
        taken = claim(tokens=1)
        await books.reserve(taken)
        await books.settle(settlement(taken.attempt_id, tokens=1))
        clock.go(0.1)
    assert (await books.reserve(claim(tokens=290))).retry_after_s == pytest.approx(60.001 - 0.1 * 11)
    assert (await books.reserve(claim(tokens=150), ahead=[claim(tokens=140)])).retry_after_s == pytest.approx(58.901)


async def test_a_refusal_of_the_provider_blocks_and_its_limit_is_remembered(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    books = RedisBooks(client, settings(Limits(requests_per_minute=10)), clock=clock)
    await books.learn("a", "gemini-3.8-flash", Dimension.REQUESTS_PER_MINUTE, retry_after_s=7, limit=1)
    assert await books.reserve(claim()) == Refusal(Dimension.REQUESTS_PER_MINUTE, 1, 7)
    assert isinstance(await books.reserve(claim(model="gemini-4-argon")), Lease)
    clock.go(7)
    assert isinstance(await books.reserve(claim()), Lease)
    assert isinstance(await books.reserve(claim()), Refusal)
    clock.go(3_600)
    assert [type(await books.reserve(claim())) for _ in range(2)] == [Lease, Lease]
    await books.learn("a", "gemini-3.8-flash", Dimension.REQUESTS_PER_DAY, retry_after_s=2, limit=None)
    assert (await books.reserve(claim())).retry_after_s == (ms(2026, 11, 27, 8) - clock()) / 1000


async def test_a_lease_that_ends_is_lost_then_corrected_once(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    kept = settings(Limits(concurrency=1), budgets={"acme": TenantBudgets(day=Budget(5_000))})
    books, ledger = RedisBooks(client, kept, clock=clock), Ledger(client, kept, clock=clock)
    attempt = claim(cost=1_000).attempt_id
    await books.reserve(claim(attempt))
    clock.go(20)
    await books.renew([attempt, "another"])
    clock.go(29)
    assert await books.sweep() == 0
    clock.go(1)
    assert await books.sweep() == 1
    assert await ledger.holdings() == []
    assert isinstance(await books.reserve(claim()), Lease)
    (entry,) = await everything(ledger, clock)
    assert (entry.kind, entry.outcome, entry.final, entry.sums.cost_nanousd) == ("estimated", "lost", False, 1_000)

    assert await books.settle(settlement(attempt, cost=600, final=False)) == Booking.CORRECTED
    assert await books.settle(settlement(attempt, cost=650, final=False)) == Booking.REPEATED
    assert await books.settle(settlement(attempt, cost=700, batch=True)) == Booking.CORRECTED
    for again in (settlement(attempt, cost=1), settlement(attempt, sent=False)):
        assert await books.settle(again) == Booking.REPEATED
    entries = await everything(ledger, clock)
    assert [entry.sums.cost_nanousd for entry in entries] == [1_000, -400, 100]
    assert [entry.sums.attempts for entry in entries] == [1, 0, 0]
    assert [entry.kind for entry in entries] == [EntryKind.ESTIMATED, EntryKind.CORRECTION, EntryKind.CORRECTION]
    (row,) = await ledger.usage(Filter(entry.at.date(), entry.at.date()), (Group.OUTCOME,))
    assert (row.of, row.sums.attempts, row.sums.not_final) == ({Group.OUTCOME: "ok"}, 1, 0)
    assert row.sums.usage == settlement(attempt).usage
    (budget,) = await ledger.budgets(["acme"])
    assert (budget.spent_nanousd, budget.held_nanousd) == (700, 1_000)


def seen_elsewhere(clock: Clock, *, ago_s: float = 5) -> Origin:
    began = clock() / 1000 - ago_s
    return Origin("request", "acme", "gemini-3.8-flash", "a", 10, began_at=began, ended_at=began + 1)


async def test_an_attempt_never_seen_is_booked_by_its_origin(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    kept = settings(Limits(requests_per_minute=1))
    books, ledger = RedisBooks(client, kept, clock=clock), Ledger(client, kept, clock=clock)
    with pytest.raises(UnknownAttempt):
        await books.settle(settlement("unseen"))
    told = dataclasses.replace(settlement("unseen"), origin=seen_elsewhere(clock))
    assert await books.settle(told) == Booking.SETTLED
    assert await books.settle(told) == Booking.REPEATED
    assert [entry.tenant for entry in await everything(ledger, clock)] == ["acme"]
    # The provider's minute counts it, from its end.
    assert (await books.reserve(claim())).retry_after_s == 56.001


async def test_an_attempt_older_than_the_memory_is_not_booked_twice(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    books = RedisBooks(client, settings(attempt_days=2), clock=clock)
    old = dataclasses.replace(settlement("old"), origin=seen_elsewhere(clock, ago_s=2 * DAY_MS / 1000 + 1))
    with pytest.raises(InvalidArgument, match="2 days"):
        await books.settle(old)


async def test_pages_hold_every_entry_once_newest_first(client: redis.asyncio.Redis) -> None:
    clock = Clock(NOON - 2 * DAY_MS)
    kept = settings()
    books, ledger = RedisBooks(client, kept, clock=clock), Ledger(client, kept, clock=clock)
    made = []
    for number in range(9):
        taken = claim(tenant=("acme", "other")[number == 4])
        await books.reserve(taken)
        await books.settle(settlement(taken.attempt_id, outcome=Outcome.FAILED))
        made.append(taken.attempt_id)
        clock.go(DAY_MS / 4000)
    whole = Filter(datetime(2026, 11, 24, tzinfo=UTC).date(), datetime(2026, 11, 26, tzinfo=UTC).date())
    found, cursor = [], ""
    while True:
        page = await ledger.entries(whole, page_size=2, cursor=cursor)
        found += [entry.attempt_id for entry in page.entries]
        cursor = page.cursor
        if not cursor:
            break
    assert found == made[::-1]
    others = await ledger.entries(dataclasses.replace(whole, tenant="other"), page_size=50)
    assert [entry.attempt_id for entry in others.entries] == [made[4]]
    rows = await ledger.usage(whole, (Group.DAY, Group.TENANT))
    assert [(row.of[Group.DAY], row.of[Group.TENANT], row.sums.attempts) for row in rows] == [
        ("2026-11-24", "acme", 2),
        ("2026-11-25", "acme", 3),
        ("2026-11-25", "other", 1),
        ("2026-11-26", "acme", 3),
    ]
    for wrong in ("2026-11-23/1-0", "nonsense", "2026-11-24/x"):
        with pytest.raises(InvalidArgument):
            await ledger.entries(whole, page_size=2, cursor=wrong)


async def test_entries_go_after_their_retention_and_sums_stay(client: redis.asyncio.Redis) -> None:
    kept = settings(retention_days=3)
    books = RedisBooks(client, kept, clock=Clock())
    taken = claim()
    await books.reserve(taken)
    await books.settle(settlement(taken.attempt_id))
    assert await client.pttl("{chiasm-gemini}:ledger:2026-11-26") == pytest.approx(3.5 * DAY_MS, abs=60_000)
    assert await client.pttl("{chiasm-gemini}:rollup:2026-11-26") == -1


async def test_all_keys_lie_in_one_slot_of_a_cluster(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(Limits(9, 999, 9, 9_999, 9)))
    taken = claim()
    await books.reserve(taken)
    await books.settle(settlement(taken.attempt_id))
    await books.learn("a", "m", Dimension.CONCURRENCY, retry_after_s=None, limit=3)
    assert {await client.execute_command("CLUSTER", "KEYSLOT", key) for key in await client.keys()} == {
        await client.execute_command("CLUSTER", "KEYSLOT", "{chiasm-gemini}")
    }


async def test_a_server_that_is_not_there_makes_the_books_unavailable_and_is_not_named() -> None:
    client = connect("redis://:secret@127.0.0.1:1/0", timeout_s=0.2)
    with pytest.raises(BooksUnavailable) as failed:
        await RedisBooks(client, settings()).reserve(claim())
    assert "127.0.0.1" not in failed.value.message
    assert failed.value.__cause__ is None
    await client.aclose()


async def test_batch_mode_takes_money_and_no_rate(client: redis.asyncio.Redis) -> None:
    limits = Limits(
        requests_per_minute=1,
        input_tokens_per_minute=10,
        requests_per_day=1,
        concurrency=1,
        spend_nanousd_per_10_minutes=3_500,
    )
    books = RedisBooks(client, settings(limits), clock=Clock())
    batch = [claim(batch=True) for _ in range(3)]
    for one in batch:
        assert isinstance(await books.reserve(one), Lease)
    assert (await books.reserve(claim(batch=True))).dimension is Dimension.SPEND_PER_10_MINUTES
    await books.settle(settlement(batch[0].attempt_id, cost=400, batch=True))
    await books.settle(settlement(batch[1].attempt_id, sent=False))
    assert isinstance(await books.reserve(claim()), Lease), "none of them is among the ordinary requests"
    assert (await books.reserve(claim())).dimension is Dimension.REQUESTS_PER_DAY


async def test_windows_without_a_limit_hold_no_more_than_their_time(client: redis.asyncio.Redis) -> None:
    clock = Clock()
    books = RedisBooks(client, settings(), clock=clock)
    for _ in range(30):
        taken = claim()
        await books.reserve(taken)
        await books.settle(settlement(taken.attempt_id))
        clock.go(90)
    for kind, most in (("requests", 1), ("tokens", 1)):
        assert await client.zcard(f'{{chiasm-gemini}}:{kind}:["a","gemini-3.8-flash"]') <= most
    assert await client.zcard('{chiasm-gemini}:spend:["a"]') <= 7


async def test_a_filter_of_years_is_a_few_round_trips(client: redis.asyncio.Redis) -> None:
    books = RedisBooks(client, settings(), clock=Clock())
    taken = claim()
    await books.reserve(taken)
    await books.settle(settlement(taken.attempt_id))
    whole = Filter(date(2017, 1, 1), date(2026, 12, 31))
    ledger = Ledger(client, settings())
    before = (await client.info("stats"))["total_reads_processed"]
    page = await ledger.entries(whole, page_size=50)
    assert (await client.info("stats"))["total_reads_processed"] - before < 30
    assert len(page.entries) == 1
