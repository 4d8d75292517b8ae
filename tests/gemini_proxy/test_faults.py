"""Each way the provider can fail, and what the caller is told of it."""

import time
from pathlib import Path

import grpc
import pytest

from services.gemini_proxy.accounts.ledger import EntryKind
from tests.gemini.config import TEST_KEY, Fault, FaultRule, Project, Quota, default_config
from tests.gemini_proxy.serving import Failure, Proxy, directed, failure_of, proxy, question, text_and_end

MODEL = "gemini-3.8-flash"


def admitted(served: Proxy) -> int:
    """Calls that reached the provider."""
    return served.gemini.quotas.used["test"].get(MODEL, {}).get("admitted", 0)


async def failure(served: Proxy, streamed: bool, timeout: float = 20, **directive: object) -> Failure:
    request = question(directed("How many?", **directive), max_tokens=100)
    call = served.stub.StreamGenerate if streamed else served.stub.Generate
    return await failure_of(call(request, timeout=timeout))


UNAVAILABLE = "UNAVAILABLE", "PROVIDER_FAILED"
BROKEN_OFF = "ABORTED", "ANSWER_BROKEN_OFF"


@pytest.mark.parametrize(
    ("fault", "unary", "streamed", "attempts"),
    [
        ({"kind": "error", "code": 500}, UNAVAILABLE, UNAVAILABLE, 3),
        ({"kind": "error", "code": 503}, UNAVAILABLE, UNAVAILABLE, 3),
        ({"kind": "error", "code": 504}, UNAVAILABLE, UNAVAILABLE, 3),
        (
            {"kind": "error", "code": 400},
            ("INVALID_ARGUMENT", "PROVIDER_REFUSED"),
            ("INVALID_ARGUMENT", "PROVIDER_REFUSED"),
            1,
        ),
        (
            {"kind": "error", "code": 403},
            ("FAILED_PRECONDITION", "PROVIDER_DENIED"),
            ("FAILED_PRECONDITION", "PROVIDER_DENIED"),
            1,
        ),
        ({"kind": "cut", "after_chunks": 0}, UNAVAILABLE, UNAVAILABLE, 3),
        ({"kind": "cut"}, UNAVAILABLE, BROKEN_OFF, 3),
        ({"kind": "no_finish"}, UNAVAILABLE, BROKEN_OFF, 3),
        ({"kind": "error_event", "code": 503}, UNAVAILABLE, BROKEN_OFF, 3),
        ({"kind": "malformed_event", "after_chunks": 0}, BROKEN_OFF, BROKEN_OFF, 3),
        ({"kind": "malformed_event"}, BROKEN_OFF, BROKEN_OFF, 3),
    ],
)
async def test_each_fault_has_its_status_and_is_retried_until_something_is_delivered(
    tmp_path: Path, redis_url: str, fault: dict, unary: tuple, streamed: tuple, attempts: int
) -> None:
    async with proxy(tmp_path, redis_url) as served:
        whole = await failure(served, False, answer_tokens=30, fault=fault)
        assert (whole.code, whole.reason, whole.text) == (*unary, "")
        assert admitted(served) == attempts
        parts = await failure(served, True, answer_tokens=30, fault=fault)
        assert (parts.code, parts.reason) == streamed
        delivered = fault["kind"] != "error" and fault.get("after_chunks") != 0
        assert bool(parts.text) == delivered
        # A caller that came again at once would multiply the attempts.
        assert whole.retry_after_s is None
        await served.settled()
        if fault["kind"] == "error":
            assert await served.cost() == 0
            assert {entry.kind for entry in await served.entries()} == {EntryKind.SETTLED}


async def test_the_field_at_fault_and_the_providers_words_are_told(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        refused = await failure(served, False, fault={"kind": "error", "code": 400})
    assert refused.field == "messages"
    assert "Request contains an invalid argument." in refused.message


@pytest.mark.parametrize("streamed", [False, True])
async def test_no_first_piece_in_time_is_a_deadline(tmp_path: Path, redis_url: str, streamed: bool) -> None:
    async with proxy(tmp_path, redis_url, first_token_timeout_s=0.15, max_attempts=2) as served:
        slow = await failure(served, streamed, answer_tokens=5, fault={"kind": "slow", "delay_s": 0.6})
        assert (slow.code, slow.reason, slow.text) == ("DEADLINE_EXCEEDED", "DEADLINE", "")
        assert admitted(served) == 2
        await served.settled()
        assert await served.cost() == served.gemini.bill.total_nanousd


async def test_a_slow_answer_is_not_given_up_once_it_has_begun(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, first_token_timeout_s=0.2) as served:
        prompt = directed(answer_tokens=9, chunks=3, chunk_s=0.4)
        text, _ = await text_and_end(served.stub.StreamGenerate(question(prompt)))
    assert len(text) == 36


async def test_an_attempt_is_cut_at_its_longest_and_booked_at_its_worst(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, attempt_timeout_s=0.3, max_attempts=1) as served:
        cut = await failure(served, False, answer_tokens=5, first_token_s=0.8)
        assert (cut.code, cut.reason) == ("DEADLINE_EXCEEDED", "DEADLINE")
        await served.settled()
        [entry] = await served.entries()
        assert entry.kind is EntryKind.ESTIMATED
        assert entry.sums.cost_nanousd >= 100 * 3_750 > served.gemini.bill.total_nanousd > 0


CALLS = 8
PROMPT = directed("How many?", answer_tokens=10)
TOKENS = -(-len(PROMPT) // 4)
PROVIDERS_LIMITS = {
    "requests_per_minute": Project((TEST_KEY,), {"*": Quota(requests_per_minute=CALLS)}),
    "input_tokens_per_minute": Project((TEST_KEY,), {"*": Quota(input_tokens_per_minute=CALLS * TOKENS)}),
    "requests_per_day": Project((TEST_KEY,), {"*": Quota(requests_per_day=CALLS)}),
    "spend_per_10_minutes": Project((TEST_KEY,), spend_nanousd_per_10_minutes=CALLS * (TOKENS * 750 + 10 * 3_750)),
}


@pytest.mark.parametrize("dimension", PROVIDERS_LIMITS)
async def test_a_limit_nobody_told_of_is_learned_from_one_429(tmp_path: Path, redis_url: str, dimension: str) -> None:
    config = default_config(projects={"test": PROVIDERS_LIMITS[dimension]})
    async with proxy(tmp_path, redis_url, config) as served:
        for _ in range(CALLS):
            await served.stub.Generate(question(PROMPT, max_tokens=100))
        began = time.monotonic()
        first = await failure(served, False, timeout=5)
        second = await failure(served, True, timeout=5)
        assert time.monotonic() - began < 4, "refused at once: the wait is longer than the deadline"
        assert served.gemini.quotas.refused.total() == 1
    for refused in (first, second):
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXHAUSTED")
        assert (refused.quota.subject, refused.quota.quota_id) == (f"models/{MODEL}", dimension)
        assert 5 < refused.retry_after_s <= 25 * 3600


async def test_a_days_limit_is_not_believed_to_be_back_in_seconds(tmp_path: Path, redis_url: str) -> None:
    quota_id = "GenerateRequestsPerDayPerProjectPerModel-PaidTier"
    fault = {"kind": "error", "code": 429, "quota_id": quota_id, "retry_delay_s": 0.2, "times": 1}
    async with proxy(tmp_path, redis_url) as served:
        refused = await failure(served, False, timeout=5, fault=fault)
        assert admitted(served) == 1
    assert (refused.code, refused.quota.quota_id) == ("RESOURCE_EXHAUSTED", "requests_per_day")


async def test_a_429_that_is_over_in_time_is_waited_for(tmp_path: Path, redis_url: str) -> None:
    fault = {"kind": "error", "code": 429, "quota_id": "GenerateConcurrentRequestsX", "retry_delay_s": 0.7, "times": 1}
    async with proxy(tmp_path, redis_url) as served:
        began = time.monotonic()
        _, end = await text_and_end(served.stub.StreamGenerate(question(directed(fault=fault))))
        assert time.monotonic() - began >= 0.7
        assert admitted(served) == 2
    assert [attempt.status for attempt in end.route.attempts] == ["RESOURCE_EXHAUSTED", "OK"]


async def test_a_provider_that_is_not_there_costs_nothing_and_takes_nothing(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, requests_per_minute=1) as served:
        await served.gemini.stop()
        gone = await failure(served, False)
        assert (gone.code, gone.reason) == UNAVAILABLE
        # Three attempts under a limit of one a minute: each gave back what it held.
        gone = await failure(served, True)
        assert (gone.code, gone.reason) == UNAVAILABLE
        assert await served.ledger.holdings() == []
        assert await served.entries() == []


async def test_retries_end_with_their_budget(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, retry_ratio=0) as served:
        counts = []
        for _ in range(4):
            before = admitted(served)
            await failure(served, False, fault={"kind": "error", "code": 503})
            counts.append(admitted(served) - before)
    assert counts == [3, 2, 1, 1]


async def test_callers_faults_leave_the_retries_to_others(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, retry_ratio=0) as served:
        for _ in range(12):
            await failure(served, False, fault={"kind": "error", "code": 400})
        answer = await served.stub.Generate(question(directed(fault={"kind": "error", "times": 1})))
    assert [attempt.status for attempt in answer.finished.route.attempts] == ["UNAVAILABLE", "OK"]


async def test_a_schema_that_no_answer_keeps_to_leaves_the_retries_to_others(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, retry_ratio=0) as served:
        for _ in range(4):
            impossible = question(directed(answer="{}"), json_schema='{"not": {}}')
            unfit = await failure_of(served.stub.Generate(impossible))
            assert unfit.reason == "ANSWER_MALFORMED"
        answer = await served.stub.Generate(question(directed(fault={"kind": "error", "times": 1})))
    assert [attempt.status for attempt in answer.finished.route.attempts] == ["UNAVAILABLE", "OK"]


async def test_a_call_may_be_allowed_one_attempt_alone(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, max_attempts=1) as served:
        lost = await failure(served, False, fault={"kind": "error", "code": 503, "times": 1})
        assert (lost.code, admitted(served)) == ("UNAVAILABLE", 1)


async def test_no_retry_begins_beyond_the_deadline(tmp_path: Path, redis_url: str) -> None:
    rules = (FaultRule(Fault("error", code=503)),)
    async with proxy(tmp_path, redis_url, default_config(faults=rules), max_attempts=10, retry_ratio=1) as served:
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.stub.Generate(question("x"), timeout=0.5)
        assert time.monotonic() - began < 2
        assert caught.value.code().name in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        await served.settled()
        assert await served.cost() == 0


async def test_no_retry_begins_where_there_is_no_time_left_to_answer(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, default_timeout_s=0.9) as served:
        lost = await failure_of(served.stub.Generate(question(directed(fault={"kind": "error", "code": 503}))))
        assert admitted(served) == 1
    assert lost.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


async def test_a_key_that_is_denied_leaves_the_call_to_the_others(tmp_path: Path, redis_url: str) -> None:
    members = {"bad": {"api_key": "no-key"}, "worse": {"api_key": "none-either"}, "good": {}}
    async with proxy(tmp_path, redis_url, members=members, retry_ratio=0) as served:
        answers = [await served.stub.Generate(question("x")) for _ in range(12)]
        assert len(served.gemini.bill.lines) == 12
        assert await served.cost() == served.gemini.bill.total_nanousd
    statuses = {attempt.status for answer in answers for attempt in answer.finished.route.attempts[:-1]}
    assert statuses == {"FAILED_PRECONDITION"}


async def test_keys_that_are_all_denied_are_each_asked_once(tmp_path: Path, redis_url: str) -> None:
    members = {name: {"api_key": f"no-{name}"} for name in ("a", "b")}
    async with proxy(tmp_path, redis_url, members=members) as served:
        denied = await failure(served, False)
        assert [entry.member for entry in await served.entries()] in (["a", "b"], ["b", "a"])
    assert (denied.code, denied.reason) == ("FAILED_PRECONDITION", "PROVIDER_DENIED")
