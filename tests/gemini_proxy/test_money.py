"""The emulator's bill is the ledger, in all and by attempt, whatever became of the calls."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from chiasm.v1 import generation_pb2_grpc
from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.accounts.ledger import EntryKind, Filter, Group
from tests.gemini.config import MODELS, TEST_KEY, Fault, FaultRule, Project, default_config
from tests.gemini_proxy.serving import (
    VERTEX,
    Proxy,
    directed,
    failure_of,
    proxy,
    question,
    text_and_end,
)

LITE = "gemini-3.5-flash-lite"


async def balanced(served: Proxy) -> None:
    await served.settled()
    assert await served.cost() == served.gemini.bill.total_nanousd > 0
    assert await served.costs() == served.bill()


async def outcomes(served: Proxy) -> Counter[tuple[Outcome, EntryKind]]:
    return Counter((entry.outcome, entry.kind) for entry in await served.entries())


SETTLED_OK = (Outcome.OK, EntryKind.SETTLED)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("directive", "before"),
    [
        ({"answer_tokens": 9, "thinking_tokens": 3}, Counter()),
        ({"finish": "SAFETY"}, Counter()),
        ({"block": "BLOCKLIST"}, Counter()),
        ({"model_version": LITE, "answer": "rerouted"}, Counter()),
        ({"fault": {"kind": "thinking_only"}}, Counter()),
        ({"fault": {"kind": "error", "code": 503, "times": 2}}, {(Outcome.FAILED, EntryKind.SETTLED): 2}),
        ({"fault": {"kind": "error", "code": 500, "times": 1}}, {(Outcome.FAILED, EntryKind.SETTLED): 1}),
    ],
)
async def test_answers_and_attempts_that_cost_nothing(
    tmp_path: Path, redis_url: str, directive: dict, before: dict, streamed: bool
) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX) as served:
        request = question(directed("How many?", **directive), max_tokens=40)
        if streamed:
            _, end = await text_and_end(served.stub.StreamGenerate(request))
        else:
            end = (await served.stub.Generate(request)).finished
        await balanced(served)
        assert end.usage.cost_nanousd == served.gemini.bill.total_nanousd
        assert [a.status for a in end.route.attempts][-1] == "OK"
        assert await outcomes(served) == Counter(before) + Counter({SETTLED_OK: 1})


async def test_the_model_that_really_answered_is_named_and_its_price_taken(tmp_path: Path, redis_url: str) -> None:
    config = default_config(reroutes={"gemini-3.8-flash": LITE})
    async with proxy(tmp_path, redis_url, config, members=VERTEX) as served:
        answer = await served.stub.Generate(question("12345678"))
        await balanced(served)
        [entry] = await served.entries()
    assert (entry.model, entry.answered_by) == ("gemini-3.8-flash", LITE)
    assert answer.finished.route.attempts[0].revision == LITE
    assert entry.sums.cost_nanousd == 2 * 300 + entry.sums.usage.answer * 2_500


@pytest.mark.parametrize("kind", ["cut", "error_event"])
async def test_an_answer_that_broke_off_is_asked_for_again_where_nothing_was_delivered(
    tmp_path: Path, redis_url: str, kind: str
) -> None:
    async with proxy(tmp_path, redis_url) as served:
        prompt = directed(answer_tokens=30, chunks=3, fault={"kind": kind, "after_chunks": 2, "times": 1})
        answer = await served.stub.Generate(question(prompt))
        await served.settled()
        assert len(answer.text) == 120
        assert [line.usage.answer for line in served.gemini.bill.lines] == [20, 30]
        assert answer.finished.usage.cost_nanousd == served.gemini.bill.total_nanousd == await served.cost()
        assert await outcomes(served) == {(Outcome.FAILED, EntryKind.ESTIMATED): 1, SETTLED_OK: 1}


@pytest.mark.parametrize("kind", ["cut", "error_event"])
async def test_a_stream_that_broke_off_costs_what_was_heard_of_it(tmp_path: Path, redis_url: str, kind: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        prompt = directed(answer_tokens=30, thinking_tokens=5, chunks=3, fault={"kind": kind, "after_chunks": 2})
        failure = await failure_of(served.stub.StreamGenerate(question(prompt)))
        await served.settled()
        assert (failure.code, failure.reason, len(failure.text)) == ("ABORTED", "ANSWER_BROKEN_OFF", 80)
        assert await served.cost() == served.gemini.bill.total_nanousd > 0
        assert await outcomes(served) == {(Outcome.FAILED, EntryKind.ESTIMATED): 1}


@pytest.mark.parametrize("kind", ["cut", "error_event"])
async def test_vertex_counts_at_the_end_so_what_broke_off_is_booked_at_its_worst_until_its_record_tells(
    tmp_path: Path, redis_url: str, kind: str
) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX) as served:
        prompt = directed(answer_tokens=30, chunks=3, fault={"kind": kind, "after_chunks": 2})
        failure = await failure_of(served.stub.StreamGenerate(question(prompt, max_tokens=100)))
        await served.settled()
        assert (failure.reason, len(failure.text)) == ("ANSWER_BROKEN_OFF", 80)
        [entry] = await served.entries()
        assert entry.kind is EntryKind.ESTIMATED
        assert served.gemini.bill.total_nanousd < 100 * 3_750 < entry.sums.cost_nanousd
        await served.reconcile()
        await balanced(served)


@pytest.mark.parametrize("fault", [{"kind": "malformed_event"}, {"kind": "cut", "after_chunks": 0}])
async def test_what_cannot_be_known_is_booked_at_its_worst_and_not_as_final(
    tmp_path: Path, redis_url: str, fault: dict
) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX) as served:
        prompt = directed(answer_tokens=30, chunks=3, fault=fault)
        await failure_of(served.stub.StreamGenerate(question(prompt, max_tokens=100)))
        await served.settled()
        entries = await served.entries()
        assert {entry.kind for entry in entries} == {EntryKind.ESTIMATED}
        assert served.bill().keys() <= {entry.attempt_id for entry in entries}
        for entry in entries:
            assert served.bill()[entry.attempt_id] <= 100 * 3_750 <= entry.sums.cost_nanousd


async def test_callers_that_leave_amid_the_answer_pay_for_the_whole(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX) as served:
        call = served.stub.StreamGenerate(question(directed(answer_tokens=40, chunks=8, chunk_s=0.03)))
        async for event in call:
            if event.HasField("delta"):
                break
        call.cancel()
        await balanced(served)
        [line] = served.gemini.bill.lines
        assert (line.ending, line.usage.answer) == ("complete", 40), "the attempt was read to its end"
        assert await outcomes(served) == {(Outcome.CANCELLED, EntryKind.SETTLED): 1}


@pytest.mark.parametrize("streamed", [False, True])
async def test_callers_that_leave_before_the_first_token_pay_for_the_whole(
    tmp_path: Path, redis_url: str, streamed: bool
) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX) as served:
        request = question(directed(answer_tokens=40, first_token_s=0.3))
        call = served.stub.StreamGenerate(request) if streamed else served.stub.Generate(request)
        reading = asyncio.ensure_future(call.read() if streamed else call)
        await arrived(served, 1)
        call.cancel()
        await asyncio.wait([reading])
        await balanced(served)
        assert await outcomes(served) == {(Outcome.CANCELLED, EntryKind.SETTLED): 1}


async def arrived(served: Proxy, calls: int) -> None:
    async with asyncio.timeout(30):
        while served.gemini.quotas.used["test"].get("gemini-3.8-flash", {}).get("admitted", 0) < calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_callers_whose_deadline_passes_pay_for_the_whole(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX) as served:
        prompt = directed(answer_tokens=40, chunks=2, chunk_s=0.6)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.stub.Generate(question(prompt), timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await balanced(served)
        assert await outcomes(served) == {(Outcome.CANCELLED, EntryKind.SETTLED): 1}


async def test_a_caller_that_reads_nothing_pays_for_the_whole(tmp_path: Path, redis_url: str) -> None:
    small_windows = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1_024)]
    async with (
        proxy(tmp_path, redis_url, members=VERTEX) as served,
        grpc.aio.insecure_channel(served.address, small_windows) as channel,
    ):
        prompt = directed(answer_tokens=60_000, chunks=1_000)
        call = generation_pb2_grpc.GenerationServiceStub(channel).StreamGenerate(
            question(prompt, max_tokens=65_000), timeout=1
        )
        await call.read()
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await balanced(served)
        assert served.gemini.bill.lines[0].usage.answer == 60_000
        assert await outcomes(served) == {(Outcome.CANCELLED, EntryKind.SETTLED): 1}


async def test_an_attempt_given_up_for_its_slowness_pays_for_the_whole(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX, first_token_timeout_s=0.3) as served:
        prompt = directed(answer="at last", fault={"kind": "slow", "delay_s": 0.8, "times": 1})
        text, end = await text_and_end(served.stub.StreamGenerate(question(prompt)))
        await balanced(served)
        assert text == "at last"
        assert [attempt.status for attempt in end.route.attempts] == ["DEADLINE_EXCEEDED", "OK"]
        assert len(served.gemini.bill.lines) == 2
        assert await outcomes(served) == {(Outcome.SUPERSEDED, EntryKind.SETTLED): 1, SETTLED_OK: 1}


async def test_each_tenant_and_each_request_has_what_it_used(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX) as served:
        costs: Counter[str] = Counter()
        for number, tenant in enumerate(("acme", "globex", "acme", "")):
            request = question(directed(answer_tokens=number + 1))
            request.request_id = f"request-{number}"
            metadata = (("chiasm-tenant", tenant),) if tenant else ()
            answer = await served.stub.Generate(request, metadata=metadata)
            costs[tenant or "default"] += answer.finished.usage.cost_nanousd
        bad = await failure_of(served.stub.Generate(question("x"), metadata=(("chiasm-tenant", "no name"),)))
        await balanced(served)
        today = datetime.now(UTC).date()
        rows = await served.ledger.usage(Filter(today, today), (Group.TENANT,))
        entries = await served.entries()
    assert {row.of[Group.TENANT]: row.sums.cost_nanousd for row in rows} == costs
    assert [entry.request_id for entry in entries] == [f"request-{number}" for number in range(4)]
    assert {entry.member for entry in entries} == {"main"}
    assert (bad.code, bad.field) == ("INVALID_ARGUMENT", "chiasm-tenant")


async def test_a_429_costs_nothing_and_another_key_answers(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, members={"a": {"vertex": True}, "b": {"vertex": True}}) as served:
        fault = {"kind": "error", "code": 429, "retry_delay_s": 30, "times": 1}
        answer = await served.stub.Generate(question(directed(fault=fault)))
        await balanced(served)
        assert [attempt.status for attempt in answer.finished.route.attempts] == ["RESOURCE_EXHAUSTED", "OK"]
        first, second = await served.entries()
    assert {first.member, second.member} == {"a", "b"}
    assert (first.outcome, first.sums.cost_nanousd) == (Outcome.FAILED, 0)


async def test_a_pool_of_keys_has_one_ledger(tmp_path: Path, redis_url: str) -> None:
    config = default_config(projects={"a": Project((TEST_KEY,)), "b": Project(("other-key",))}, models=MODELS)
    members = {"a": {"vertex": True}, "b": {"vertex": True, "api_key": "other-key"}}
    limits = {"*": {"requests_per_minute": 4}}
    members = {name: fields | {"limits": limits} for name, fields in members.items()}
    async with proxy(tmp_path, redis_url, config, members=members) as served:
        await asyncio.gather(*(served.stub.Generate(question(f"{n}")) for n in range(8)))
        await balanced(served)
        by_member = Counter(entry.member for entry in await served.entries())
        assert by_member == Counter(line.project for line in served.gemini.bill.lines) == {"a": 4, "b": 4}


async def test_the_developer_api_is_metered_alike(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        calls = [
            served.stub.Generate(question(directed(answer_tokens=n, chunks=2, fault=fault)))
            for n, fault in enumerate([None, {"kind": "cut", "times": 1}, {"kind": "error", "times": 1}] * 2, start=5)
        ]
        await asyncio.gather(*calls)
        await served.settled()
        assert await served.cost() == served.gemini.bill.total_nanousd
        bill = Counter(line.cost_nanousd for line in served.gemini.bill.lines)
        assert Counter((await served.costs()).values()) == bill
        assert len(served.gemini.bill.lines) == 8


async def test_a_shutdown_waits_for_attempts_whose_callers_left(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, members=VERTEX) as served:
        call = served.stub.StreamGenerate(question(directed(answer_tokens=40, chunks=4, chunk_s=0.2)))
        await call.read()
        call.cancel()
    # What was settled during the drain is read by another replica.
    [line] = served.gemini.bill.lines
    async with proxy(tmp_path, redis_url, members=VERTEX) as other:
        assert await other.costs() == {line.labels["chiasm_attempt"]: line.cost_nanousd}
        assert line.ending == "complete"
        assert await outcomes(other) == {(Outcome.CANCELLED, EntryKind.SETTLED): 1}


async def test_a_storm_of_faults_and_leaving_callers_leaves_no_nano_dollar_unbooked(
    tmp_path: Path, redis_url: str
) -> None:
    rules = (
        FaultRule(Fault("error", code=503), probability=0.1),
        FaultRule(Fault("cut", after_chunks=2), probability=0.1),
        FaultRule(Fault("error_event", code=500), probability=0.1),
        FaultRule(Fault("no_finish"), probability=0.1),
        FaultRule(Fault("slow", delay_s=0.4), probability=0.1),
    )
    config = default_config(faults=rules, seed=3, first_token_s=0.02, chunk_s=0.02)
    async with proxy(tmp_path, redis_url, config, members=VERTEX, first_token_timeout_s=0.25) as served:
        ends: Counter[str] = Counter()

        async def call(number: int) -> None:
            request = question(directed(answer_tokens=10 + number, thinking_tokens=number % 3, chunks=4))
            if number % 2:
                waiting = served.stub.Generate(request, timeout=30)
            else:
                waiting = served.stub.StreamGenerate(request, timeout=30)
            try:
                if number % 2:
                    await waiting
                else:
                    async for _ in waiting:
                        if number % 5 == 0:
                            waiting.cancel()
                ends["answered"] += 1
            except grpc.aio.AioRpcError as error:
                ends[error.code().name] += 1
            except asyncio.CancelledError:
                ends["left"] += 1

        await asyncio.gather(*(call(number) for number in range(80)))
        await served.settled()
        assert await served.cost() >= served.gemini.bill.total_nanousd
        await served.reconcile()
        await balanced(served)
        assert ends.total() == 80
        assert ends["answered"] > 20
        assert ends.keys() <= {"answered", "left", "ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
        assert sum(served.gemini.faults.struck.values()) > 20
