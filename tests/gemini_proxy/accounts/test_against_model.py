"""Both kinds of books against `model`, through random lives of attempts."""

import asyncio
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import ClassVar

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test

from services.gemini_proxy.accounts.books import Claim, Dimension, Lease, Limits, Outcome, Refusal, Settlement
from services.gemini_proxy.accounts.ledger import Filter, Group, Ledger
from services.gemini_proxy.accounts.local_books import LocalBooks
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings, Budget, ModelLimits, TenantBudgets
from services.gemini_proxy.accounts.spool import Spool
from tests.gemini_proxy.accounts.model import Model
from tests.gemini_proxy.accounts.samples import Clock, claim, settlement

MIDNIGHT = datetime(2026, 12, 1, 8, tzinfo=UTC)
"""In Los Angeles; 40 minutes after the machine begins."""
LIMITS = {
    "a": (
        ModelLimits("pro*", Limits(2, 50, 6, 3_000, 2)),
        ModelLimits("*", Limits(requests_per_minute=3, requests_per_day=8, spend_nanousd_per_10_minutes=5_000)),
    ),
    "b": (ModelLimits("*", Limits(input_tokens_per_minute=60, concurrency=3)),),
}
BUDGETS = {
    "soft": TenantBudgets(day=Budget(2_000, hard=False)),
    "hard": TenantBudgets(day=Budget(4_000), month=Budget(6_000)),
}

claims = st.builds(
    claim,
    tokens=st.integers(0, 40),
    cost=st.integers(0, 1_500),
    tenant=st.sampled_from(["soft", "free"]),
    model=st.sampled_from(["pro", "flash"]),
    members=st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "a")]),
)
learnable = st.sampled_from([d for d in Dimension if not d.startswith("budget")])


class BooksMachine(RuleBasedStateMachine):
    """What both kinds of books have in common."""

    attempts = Bundle("attempts")
    lease_s = inf
    budgets: ClassVar = {"soft": BUDGETS["soft"]}

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(int((MIDNIGHT - timedelta(minutes=40)).timestamp() * 1000))
        lease_s = 30.0 if self.lease_s == inf else self.lease_s
        self.settings = BooksSettings(limits=LIMITS, budgets=self.budgets, lease_s=lease_s, local_share=1.0)
        self.model = Model(self.settings, lease_ms=self.lease_s * 1000)
        self.runner = asyncio.Runner()
        self.runner.run(self.open())

    async def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def teardown(self) -> None:
        self.runner.run(self.close())
        self.runner.close()

    def lapse(self) -> None:
        self.model.lapse(self.clock())

    @rule(target=attempts, claim=claims)
    def reserve(self, claim: Claim) -> str:
        return self.reserved(claim)

    def reserved(self, claim: Claim) -> str:
        self.lapse()
        now = self.clock()
        at, member = self.model.choose(claim, now)
        answer = self.runner.run(self.books.reserve(claim))
        if at == now:
            assert isinstance(answer, Lease)
            assert answer.member == member
            self.check_beyond(claim, answer)
            self.model.hold(claim, member, now)
        else:
            assert isinstance(answer, Refusal)
            if "budget" not in answer.dimension or answer.retry_after_s is None or answer.retry_after_s < 1:
                assert answer.retry_after_s == (None if at == inf else (at - now) / 1000)
        return claim.attempt_id

    def check_beyond(self, claim: Claim, answer: Lease) -> None:
        assert answer.over_soft_budget == ()

    @rule(attempt=attempts)
    def count(self, attempt: str) -> None:
        self.lapse()
        if attempt in self.model.attempts:
            self.runner.run(self.books.counted(attempt))
            self.model.count(attempt, self.clock())

    @rule(
        attempt=attempts,
        tokens=st.integers(1, 40),
        cost=st.integers(0, 1_500),
        outcome=st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.LOST]),
        sent=st.integers(0, 3),
        final=st.booleans(),
    )
    def settle(self, attempt: str, tokens: int, cost: int, outcome: Outcome, sent: int, final: bool) -> None:
        self.settle_as(settlement(attempt, tokens=tokens, cost=cost, outcome=outcome, sent=sent > 0, final=final))

    def settle_as(self, spent: Settlement) -> None:
        self.lapse()
        if spent.attempt_id not in self.model.attempts or not self.may_settle(spent.attempt_id):
            return
        booking = self.runner.run(self.books.settle(spent))
        assert booking == self.model.settle(spent, self.clock())

    def may_settle(self, attempt: str) -> bool:
        return True

    @rule(seconds=st.one_of(st.floats(0, 70), st.sampled_from([10.0, 600.0, 3_600.0])))
    def time_passes(self, seconds: float) -> None:
        self.clock.go(seconds)

    @rule(
        member=st.sampled_from("ab"),
        dimension=learnable,
        retry_after_s=st.one_of(st.none(), st.integers(0, 90)),
        limit=st.one_of(st.none(), st.integers(0, 50)),
    )
    def learn(self, member: str, dimension: Dimension, retry_after_s: int | None, limit: int | None) -> None:
        self.lapse()
        now = self.clock()
        self.runner.run(self.books.learn(member, "pro", dimension, retry_after_s=retry_after_s, limit=limit))
        model = "" if dimension is Dimension.SPEND_PER_10_MINUTES else "pro"
        wait_s = retry_after_s if retry_after_s is not None else 1 if dimension is Dimension.CONCURRENCY else 60
        until = now + wait_s * 1000
        if dimension is Dimension.REQUESTS_PER_DAY:
            midnight = int(MIDNIGHT.timestamp() * 1000)
            until = next(midnight + day * 86_400_000 for day in range(400) if midnight + day * 86_400_000 > now)
        if until > self.model.blocks.get((member, model), (None, 0))[1]:
            self.model.blocks[member, model] = dimension, until
        if limit is not None:
            self.model.learned[member, model, dimension] = limit, now + 3_600_000


class RedisMachine(BooksMachine):
    lease_s = 45.0
    budgets: ClassVar = BUDGETS
    url = ""

    async def open(self) -> None:
        self.client = connect(self.url, timeout_s=5)
        await self.client.flushdb()
        self.books = RedisBooks(self.client, self.settings, clock=self.clock)
        self.ledger = Ledger(self.client, self.settings, clock=self.clock)

    async def close(self) -> None:
        await self.client.aclose()

    @rule(target=BooksMachine.attempts, claim=claims)
    def reserve_within_a_hard_budget(self, claim: Claim) -> str:
        hard = Claim(
            claim.attempt_id, "request", "hard", claim.model, claim.input_tokens, claim.cost_nanousd, ("a", "b")
        )
        return self.reserved(hard)

    def check_beyond(self, claim: Claim, answer: Lease) -> None:
        assert set(answer.over_soft_budget) == self.model.beyond(claim, self.clock())

    @rule(attempt=BooksMachine.attempts, cost=st.integers(0, 1_500))
    def read_in_the_providers_record(self, attempt: str, cost: int) -> None:
        self.settle_as(settlement(attempt, cost=cost, outcome=Outcome.LOST))

    @rule(attempt=BooksMachine.attempts)
    def renew(self, attempt: str) -> None:
        self.lapse()
        self.runner.run(self.books.renew([attempt]))
        held = self.model.attempts.get(attempt)
        if held is not None and held.state == "open":
            held.lease_ends = self.clock() + self.lease_s * 1000

    @rule()
    def the_ledger_agrees(self) -> None:
        self.lapse()
        self.runner.run(self.check_ledger())

    def teardown(self) -> None:
        try:
            self.the_ledger_agrees()
        finally:
            super().teardown()

    async def check_ledger(self) -> None:
        await self.books.sweep()
        held = {holding.attempt_id: holding.cost_nanousd for holding in await self.ledger.holdings()}
        attempts = self.model.attempts
        assert held == {name: a.claim.cost_nanousd for name, a in attempts.items() if a.state == "open"}
        everything = Filter(MIDNIGHT.date() - timedelta(days=1), MIDNIGHT.date() + timedelta(days=3))
        costs = Counter(
            {
                tuple(row.of.values()): row.sums.cost_nanousd
                for row in await self.ledger.usage(everything, (Group.TENANT, Group.MEMBER, Group.OUTCOME))
            }
        )
        expected: Counter[tuple[str, ...]] = Counter()
        for a in attempts.values():
            expected[a.claim.tenant, a.member, a.outcome] += a.booked
        assert +costs == +expected
        entries = [entry async for entry in self.ledger.export(everything)]
        assert sum(entry.sums.cost_nanousd for entry in entries) == expected.total()
        for budget in await self.ledger.budgets(["hard"]):
            assert budget.spent_nanousd + budget.held_nanousd <= budget.limit_nanousd or self.overspent()

    def overspent(self) -> bool:
        """Whether the provider billed more than a claim said."""
        return any(a.booked > a.claim.cost_nanousd for a in self.model.attempts.values())


class LocalMachine(BooksMachine):
    async def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.spool = Spool(Path(self.folder.name) / "spool", max_bytes=2**20)
        self.books = LocalBooks(self.settings, self.spool, clock=self.clock)

    async def close(self) -> None:
        await self.spool.close()
        self.folder.cleanup()

    def may_settle(self, attempt: str) -> bool:
        """Afterwards these books have forgotten it."""
        return self.model.attempts[attempt].state == "open"


def test_shared_books_do_as_the_model_does(valkey: str) -> None:
    machine = type("Machine", (RedisMachine,), {"url": valkey})
    run_state_machine_as_test(
        machine, settings=hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
    )


def test_local_books_do_as_the_model_does() -> None:
    run_state_machine_as_test(
        LocalMachine, settings=hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
    )
