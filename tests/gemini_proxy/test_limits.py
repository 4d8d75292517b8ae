"""Limits and budgets hold whoever asks and however many: the emulator's quotas never refuse."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chiasm.v1 import generation_pb2 as pb
from tests.gemini.config import MODELS, TEST_KEY, Config, Project, Quota, default_config
from tests.gemini_proxy.serving import FLASH, Failure, Proxy, directed, failure_of, proxy, question
from tests.integration.gemini_stack import connected, running

ANSWER_TOKENS = 10
PROMPT = directed("How many dogs are there?", answer_tokens=ANSWER_TOKENS)
TOKENS = -(-len(PROMPT) // 4)
COST = TOKENS * 750 + ANSWER_TOKENS * 3_750


def limited(limits: dict[str, int]) -> dict[str, dict]:
    """One member with limits for all models."""
    return {"main": {"limits": {"*": limits}}}


async def attempt(served: Proxy, *, tenant: str = "default", timeout: float = 5, max_tokens: int = 20) -> Failure | int:
    """The answer's cost, or why there is none."""
    return await _attempt(served.stub, tenant, timeout, max_tokens)


async def _attempt(stub, tenant: str, timeout: float, max_tokens: int) -> Failure | int:
    call = stub.Generate(
        question(PROMPT, max_tokens=max_tokens), timeout=timeout, metadata=(("chiasm-tenant", tenant),)
    )
    await asyncio.wait([waiting := asyncio.ensure_future(call)])
    if waiting.exception() is None:
        return waiting.result().finished.usage.cost_nanousd
    return await failure_of(call)


LIMITS = {
    "requests_per_minute": {"requests_per_minute": 6},
    "input_tokens_per_minute": {"input_tokens_per_minute": 12 * TOKENS},
    "requests_per_day": {"requests_per_day": 6},
    "spend_per_10_minutes": {"spend_nanousd_per_10_minutes": 12 * COST},
}
QUOTAS = {
    "requests_per_minute": Project((TEST_KEY,), {"*": Quota(requests_per_minute=6)}),
    "input_tokens_per_minute": Project((TEST_KEY,), {"*": Quota(input_tokens_per_minute=12 * TOKENS)}),
    "requests_per_day": Project((TEST_KEY,), {"*": Quota(requests_per_day=6)}),
    "spend_per_10_minutes": Project((TEST_KEY,), spend_nanousd_per_10_minutes=12 * COST),
}


@pytest.mark.parametrize("dimension", LIMITS)
async def test_what_goes_beyond_a_limit_is_refused_at_once_and_told_when_to_come_again(
    tmp_path: Path, redis_url: str, dimension: str
) -> None:
    config = default_config(projects={"test": QUOTAS[dimension]})
    async with proxy(tmp_path, redis_url, config, members=limited(LIMITS[dimension])) as served:
        ends = await asyncio.gather(*(attempt(served) for _ in range(40)))
        assert not served.gemini.quotas.refused
        assert await served.cost() == served.gemini.bill.total_nanousd == sum(e for e in ends if isinstance(e, int))
    refused = [end for end in ends if isinstance(end, Failure)]
    if dimension.startswith("requests"):
        assert len(ends) - len(refused) == 6, "the whole of the limit is used"
    assert 1 <= len(ends) - len(refused) <= 12
    for failure in refused:
        assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXHAUSTED")
        assert (failure.quota.subject, failure.quota.quota_id) == (FLASH, dimension)
        assert failure.quota.quota_value == next(iter(LIMITS[dimension].values()))
        assert failure.retry_after_s > 0


async def test_concurrency_is_waited_for(tmp_path: Path, redis_url: str) -> None:
    config = default_config(projects={"test": Project((TEST_KEY,), {"*": Quota(concurrency=2)})}, first_token_s=0.05)
    async with proxy(tmp_path, redis_url, config, members=limited({"concurrency": 2})) as served:
        ends = await asyncio.gather(*(attempt(served, timeout=30) for _ in range(12)))
        assert ends == [COST] * 12
        assert not served.gemini.quotas.refused
        assert served.gemini.quotas.used["test"]["gemini-3.8-flash"]["concurrency"] == 2


async def test_a_claim_larger_than_the_limit_is_refused_for_good(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, members=limited({"input_tokens_per_minute": 10})) as served:
        failure = await attempt(served)
        assert not served.gemini.quotas.used["test"].get("gemini-3.8-flash")
    assert (failure.quota.quota_id, failure.retry_after_s) == ("input_tokens_per_minute", None)


@pytest.mark.parametrize("dimension", ["requests_per_minute", "input_tokens_per_minute"])
async def test_two_replicas_share_a_limit_without_one_429(dimension: str) -> None:
    limit = {"requests_per_minute": 60, "input_tokens_per_minute": 60 * TOKENS}[dimension]
    config = Config(projects={"test": Project((TEST_KEY,), {"*": Quota(**{dimension: limit})})}, models=MODELS)
    async with running(config, replicas=2, settings={"limits": {"*": {dimension: limit}}}) as stack:
        first, second = (replica.address for replica in stack.proxies)
        async with connected(first) as (one, _), connected(second) as (other, _):
            ends = await asyncio.gather(*(_attempt(stub, "default", 10, 20) for stub in (one, other) * 100))
        quotas = json.loads(await stack.gemini.page("_quotas"))
        bill = (await stack.gemini.bill())["total_nanousd"]
    assert quotas["refused"] == {}
    used = quotas["used"]["test"]["gemini-3.8-flash"][dimension]
    answered = [end for end in ends if isinstance(end, int)]
    assert sum(answered) == bill == len(answered) * COST
    assert used <= limit
    assert {end.quota.quota_id for end in ends if isinstance(end, Failure)} == {dimension}
    if dimension == "requests_per_minute":
        assert used == len(answered) == limit
    assert max(end.retry_after_s for end in ends if isinstance(end, Failure)) <= 61


def budget(tenant: str, *, hard: bool = True, **periods: int) -> dict:
    return {"tenant": tenant, "hard": hard, **periods}


@pytest.mark.parametrize("period", ["day", "month"])
async def test_a_hard_budget_is_never_overspent(tmp_path: Path, redis_url: str, period: str) -> None:
    budgets = (budget("acme", **{f"{period}_nanousd": 20 * COST}),)
    async with proxy(tmp_path, redis_url, budgets=budgets) as served:
        ends = await asyncio.gather(*(attempt(served, tenant="acme") for _ in range(60)))
        for _ in range(30):
            ends.append(await attempt(served, tenant="acme"))
        others = await asyncio.gather(*(attempt(served, tenant="globex") for _ in range(5)))
        spent = sum(end for end in ends if isinstance(end, int))
        [state] = await served.ledger.budgets(["acme"])
        assert await served.cost() == served.gemini.bill.total_nanousd == spent + sum(others)
    assert 10 * COST <= spent <= 20 * COST
    assert (state.spent_nanousd, state.held_nanousd) == (spent, 0)
    now = datetime.now(UTC)
    until = state.resets_at - now
    for failure in (end for end in ends if isinstance(end, Failure)):
        assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "BUDGET_EXHAUSTED")
        assert (failure.quota.subject, failure.quota.quota_id) == ("tenants/acme", f"budget_{period}")
        assert failure.quota.quota_value == 20 * COST
        assert failure.retry_after_s <= until.total_seconds() + 120
    assert until <= timedelta(days=31)


async def test_the_budget_of_anyone_is_each_ones_own(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, budgets=(budget("*", day_nanousd=5 * COST),)) as served:
        for tenant in ("acme", "globex"):
            ends = [await attempt(served, tenant=tenant) for _ in range(6)]
            assert isinstance(ends[0], int)
            assert isinstance(ends[-1], Failure)


async def test_a_soft_budget_refuses_nothing(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, budgets=(budget("acme", hard=False, day_nanousd=COST),)) as served:
        assert [await attempt(served, tenant="acme") for _ in range(4)] == [COST] * 4
        [state] = await served.ledger.budgets(["acme"])
    assert (state.hard, state.limit_nanousd, state.spent_nanousd) == (False, COST, 4 * COST)


async def test_a_pool_has_the_limits_of_all_its_members(tmp_path: Path, redis_url: str) -> None:
    projects = {name: Project((f"key-{name}",), {"*": Quota(requests_per_minute=3)}) for name in "abc"}
    members = {
        name: {"api_key": f"key-{name}", "limits": {"*": {"requests_per_minute": 3}}} for name in ("a", "b", "c")
    }
    async with proxy(tmp_path, redis_url, Config(projects=projects, models=MODELS), members=members) as served:
        ends = await asyncio.gather(*(attempt(served) for _ in range(20)))
        assert not served.gemini.quotas.refused
        assert Counter(line.project for line in served.gemini.bill.lines) == {"a": 3, "b": 3, "c": 3}
    assert sum(isinstance(end, int) for end in ends) == 9


async def test_who_is_in_a_hurry_goes_first(tmp_path: Path, redis_url: str) -> None:
    config = default_config(first_token_s=0.1)
    async with proxy(tmp_path, redis_url, config, members=limited({"concurrency": 1})) as served:
        order: list[int] = []

        async def ask(priority: int) -> None:
            request = question(PROMPT)
            request.routing.priority = priority
            await served.stub.Generate(request, timeout=30)
            order.append(priority)

        ahead = asyncio.create_task(ask(pb.PRIORITY_NORMAL))
        async with asyncio.timeout(10):
            while not await served.ledger.holdings():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        waiting = [asyncio.create_task(ask(pb.PRIORITY_LOW)) for _ in range(2)]
        async with asyncio.timeout(10):
            while (await served.client.model(FLASH)).waiting < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        waiting.append(asyncio.create_task(ask(pb.PRIORITY_HIGH)))
        await asyncio.gather(ahead, *waiting)
    assert order == [pb.PRIORITY_NORMAL, pb.PRIORITY_HIGH, pb.PRIORITY_LOW, pb.PRIORITY_LOW]


async def test_more_than_may_wait_are_refused(tmp_path: Path, redis_url: str) -> None:
    config = default_config(first_token_s=0.2)
    async with proxy(tmp_path, redis_url, config, members=limited({"concurrency": 1}), max_waiting=2) as served:
        ends = await asyncio.gather(*(attempt(served, timeout=30) for _ in range(10)))
    refused = [end for end in ends if isinstance(end, Failure)]
    assert 1 <= len(ends) - len(refused) <= 4
    assert {(end.code, end.reason) for end in refused} == {("RESOURCE_EXHAUSTED", "OVERLOADED")}
    assert all(end.retry_after_s for end in refused)
