"""Each quota refuses exactly the request that goes over, and lets the next in when there is room."""

import asyncio
import random
from collections import deque

import pytest
from google.genai import errors
from google.genai.client import AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from tests.gemini.config import TEST_KEY, Project, Quota, default_config
from tests.gemini.conftest import Clock, client_of, directed
from tests.gemini.quotas import Quotas, Window
from tests.gemini.server import emulator
from tests.gemini.wire import ApiError

FLASH = "gemini-3.8-flash"


def limited(spend: int | None = None, **quota: int) -> Project:
    return Project((TEST_KEY,), {FLASH: Quota(**quota)}, spend)


async def refused(client: AsyncClient, prompt: str = "x") -> tuple[str, float]:
    """The quota id and the delay of the 429 that the call must meet."""
    with pytest.raises(errors.ClientError) as caught:
        await client.models.generate_content(model=FLASH, contents=prompt)
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    failure, _, retry = caught.value.details["error"]["details"]
    [violation] = failure["violations"]
    return violation["quotaId"], float(retry["retryDelay"].removesuffix("s"))


async def passes(client: AsyncClient, prompt: str = "x") -> None:
    await client.models.generate_content(model=FLASH, contents=prompt)


async def test_requests_in_any_minute(clock: Clock) -> None:
    config = default_config(projects={"test": limited(requests_per_minute=2)})
    async with emulator(config, clock=clock) as gemini, client_of(gemini.base_url) as client:
        await passes(client)
        clock.now_s += 40
        await passes(client)
        clock.now_s += 19.5
        assert await refused(client) == ("GenerateRequestsPerMinutePerProjectPerModel", 0.5)
        clock.now_s += 0.5
        await passes(client)
        assert await refused(client) == ("GenerateRequestsPerMinutePerProjectPerModel", 40)
        assert gemini.quotas.refused == {"GenerateRequestsPerMinutePerProjectPerModel": 2}
        assert len(gemini.bill.lines) == 3
        used = gemini.quotas.used["test"][FLASH]
        assert (used["requests_per_minute"], used["admitted"]) == (2, 3)
        await client.models.count_tokens(model=FLASH, contents="counts in no quota")


async def test_input_tokens_in_any_minute(clock: Clock) -> None:
    config = default_config(projects={"test": limited(input_tokens_per_minute=10)})
    async with emulator(config, clock=clock) as gemini, client_of(gemini.base_url) as client:
        await passes(client, "x" * 16)
        clock.now_s += 20
        await passes(client, "x" * 24)
        assert await refused(client, "x") == ("GenerateContentInputTokensPerModelPerMinute", 40)
        clock.now_s += 40
        assert (await refused(client, "x" * 20))[1] == 20
        await passes(client, "x" * 16)
        assert gemini.quotas.used["test"][FLASH]["input_tokens_per_minute"] == 10


async def test_requests_in_a_pacific_day(clock: Clock) -> None:
    config = default_config(projects={"test": limited(requests_per_day=1)})
    async with emulator(config, clock=clock) as gemini, client_of(gemini.base_url) as client:
        clock.now_s += 24 * 3600 - 1
        await passes(client)
        quota_id, delay_s = await refused(client)
        assert "PerDay" in quota_id
        assert delay_s == 1
        clock.now_s += 1
        await passes(client)
        assert (await refused(client))[1] == 60, "as Google does: a short delay with a quota that is back tomorrow"


async def test_spend_in_any_ten_minutes_over_all_models(clock: Clock) -> None:
    prompt = directed(answer_tokens=100, thinking_tokens=100)
    tokens = -(-len(prompt) // 4)
    cost = tokens * 750 + 200 * 3_750
    config = default_config(projects={"test": limited(2 * cost)})
    async with emulator(config, clock=clock) as gemini, client_of(gemini.base_url) as client:
        await passes(client, prompt)
        clock.now_s += 100
        await passes(client, prompt)
        clock.now_s += 499
        assert await refused(client, prompt) == ("SpendPer10MinutesPerProject", 1)
        clock.now_s += 1
        await passes(client, prompt)
        assert gemini.quotas.used["test"]["*"]["spend_nanousd_per_10_minutes"] == 2 * cost


async def test_spend_of_calls_in_flight_is_held() -> None:
    prompt = directed(answer_tokens=100, first_token_s=0.2)
    cost = -(-len(prompt) // 4) * 750 + 100 * 3_750
    config = default_config(projects={"test": limited(2 * cost + cost // 2)})
    async with emulator(config) as gemini, client_of(gemini.base_url) as client:
        answers = await asyncio.gather(*(passes(client, prompt) for _ in range(4)), return_exceptions=True)
        assert sum(isinstance(answer, errors.ClientError) for answer in answers) == 2
        assert gemini.bill.total_nanousd == 2 * cost


async def test_calls_at_once() -> None:
    config = default_config(projects={"test": limited(concurrency=2)})
    async with emulator(config) as gemini, client_of(gemini.base_url) as client:
        for _ in range(3):
            await passes(client)
        slow = [asyncio.create_task(passes(client, directed(first_token_s=3600))) for _ in range(2)]
        async with asyncio.timeout(10):
            while gemini.quotas.used["test"][FLASH]["admitted"] < 5:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert (await refused(client))[0] == "GenerateConcurrentRequestsPerProjectPerModel"
        assert gemini.quotas.used["test"][FLASH]["concurrency"] == 2
        for call in slow:
            call.cancel()
        await asyncio.wait(slow)


async def test_projects_and_models_have_quotas_of_their_own() -> None:
    projects = {
        "a": Project(("key-a", "key-a2"), {"*": Quota(requests_per_minute=1)}),
        "b": Project(("key-b",), {"*": Quota(requests_per_minute=1)}),
    }
    async with emulator(default_config(projects=projects)) as gemini:
        async with (
            client_of(gemini.base_url, key="key-a") as a,
            client_of(gemini.base_url, key="key-a2") as a2,
            client_of(gemini.base_url, key="key-b") as b,
        ):
            await passes(a)
            await refused(a2)
            await passes(b)
            await a.models.generate_content(model="gemini-3.5-flash-lite", contents="x")
        assert [line.project for line in gemini.bill.lines] == ["a", "b", "a"]


def test_all_that_a_request_violates_is_told_and_nothing_is_counted(clock: Clock) -> None:
    project = Project((TEST_KEY,), {FLASH: Quota(requests_per_minute=1, input_tokens_per_minute=5)})
    quotas = Quotas(default_config(projects={"test": project}), clock)
    quotas.admit("test", FLASH, 5, 0)
    with pytest.raises(ApiError) as caught:
        quotas.admit("test", FLASH, 6, 0)
    assert len(caught.value.details[0]["violations"]) == 2
    assert quotas.used["test"][FLASH]["admitted"] == 1


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 4)), max_size=40), st.integers(1, 12))
def test_no_minute_ever_holds_more_than_its_limit(steps: list[tuple[float, int]], limit: int) -> None:
    """Against a plain list of what was let in; and a refused request is let in after the delay it was told."""
    window, let_in, now = Window(60), deque[tuple[float, int]](), 0.0
    for step_s, amount in steps:
        now += step_s
        window.expire(now)
        held = sum(n for at, n in let_in if now - at < 60)
        assert window.total == held
        if held + amount <= limit:
            window.add(now, amount)
            let_in.append((now, amount))
        elif amount <= limit:
            wait_s = window.wait_s(now, held + amount - limit)
            later = now + wait_s
            assert sum(n for at, n in let_in if later - at < 60 - 1e-9) + amount <= limit
            if wait_s > 0.001:
                assert sum(n for at, n in let_in if later - 0.001 - at < 60) + amount > limit
    assert window.peak <= limit


async def test_many_callers_get_exactly_what_the_quota_allows() -> None:
    config = default_config(projects={"test": limited(requests_per_minute=50)})
    order = random.Random(7)
    async with emulator(config) as gemini, client_of(gemini.base_url) as client:
        prompts = [directed(first_token_s=order.random() / 20) for _ in range(120)]
        answers = await asyncio.gather(*(passes(client, prompt) for prompt in prompts), return_exceptions=True)
        assert answers.count(None) == len(gemini.bill.lines) == 50
        assert gemini.quotas.refused.total() == 70
