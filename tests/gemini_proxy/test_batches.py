"""Batches over real sockets, by replicas that come and go, before an emulated Gemini whose bill is the judge."""

from collections import Counter
from pathlib import Path

import pytest
from google.rpc import code_pb2

from chiasm.v1 import batch_pb2 as pb
from chiasm.v1 import generation_pb2
from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.config import BudgetSettings
from tests.gemini.config import Fault, FaultRule, default_config
from tests.gemini_proxy.batching import SLOW, serving, status_of
from tests.gemini_proxy.serving import directed, failure_of, question
from tests.media_files import picture


async def test_requests_are_answered_in_their_order_at_half_the_price(tmp_path: Path, redis_url: str) -> None:
    prompts = [directed(answer_tokens=10), directed(fault={"kind": "error", "code": 500}), "12345"]
    async with serving(tmp_path, redis_url) as proxy:
        batch = await proxy.start(*map(question, prompts), request_id="nightly")
        assert (batch.state, batch.request_count, batch.request_id) == (pb.BATCH_STATE_RUNNING, 3, "nightly")
        batch = await proxy.ended(batch)
        results = await proxy.results(batch)
        await proxy.balanced()
        entries = await proxy.books.entries()
        total = proxy.books.gemini.bill.total_nanousd
    assert (batch.state, batch.succeeded_count, batch.failed_count) == (pb.BATCH_STATE_SUCCEEDED, 2, 1)
    assert batch.expire_time.seconds - batch.end_time.seconds == 48 * 3600
    assert [result.index for result in results] == [0, 1, 2]
    first, second, third = results
    tokens = -(-len(prompts[0]) // 4)
    assert first.response.finished.usage.cost_nanousd == -(-(tokens * 750 + 10 * 3_750) // 2)
    assert status_of(second).code == code_pb2.UNAVAILABLE
    assert third.response.text == "You said: 12345"
    assert third.response.finished.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert batch.usage.cost_nanousd == total > 0
    assert all(entry.batch and entry.request_id == "nightly" for entry in entries)
    assert Counter(entry.outcome for entry in entries) == {Outcome.OK: 2, Outcome.FAILED: 1}


async def test_answers_have_the_form_asked_for_or_a_status(tmp_path: Path, redis_url: str) -> None:
    schema = '{"type": "object", "properties": {"dogs": {"type": "integer"}}, "required": ["dogs"]}'
    boxes = '[{"box_2d": [0, 250, 500, 1000], "label": "dog"}]'
    requests = [
        question(directed("dog", answer=boxes), picture(width=200, height=100), task=generation_pb2.TASK_DETECT),
        question(directed(answer='{"dogs": 3}'), json_schema=schema),
        question(directed(answer="three"), json_schema=schema),
        question(directed(answer_tokens=30), max_tokens=20),
        question(directed(finish="SAFETY")),
    ]
    async with serving(tmp_path, redis_url) as proxy:
        results = await proxy.results(await proxy.ended(await proxy.start(*requests)))
        await proxy.balanced()
    [found] = results[0].response.finished.detections
    assert (found.label, found.box.x_min, found.box.y_max) == ("dog", 50, 50)
    assert results[1].response.text == '{"dogs": 3}'
    assert status_of(results[2]).code == code_pb2.ABORTED
    reasons = [result.response.finished.finish_reason for result in results[3:]]
    assert reasons == [generation_pb2.FINISH_REASON_MAX_TOKENS, generation_pb2.FINISH_REASON_BLOCKED]


async def test_a_batch_cancelled_in_time_costs_nothing(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url, SLOW) as proxy:
        batch = await proxy.start(question("dogs"), question("cats"))
        assert await proxy.results(batch) == []
        held = await proxy.books.ledger.holdings()
        await proxy.stub.CancelBatch(pb.CancelBatchRequest(name=batch.name))
        batch = await proxy.ended(batch)
        results = await proxy.results(batch)
        await proxy.balanced()
        assert await proxy.books.cost() == 0
        assert {entry.outcome for entry in await proxy.books.entries()} == {Outcome.CANCELLED}
        same = await proxy.stub.CancelBatch(pb.CancelBatchRequest(name=batch.name))
    assert len(held) == 2
    assert (batch.state, batch.succeeded_count, batch.failed_count) == (pb.BATCH_STATE_CANCELLED, 0, 2)
    assert [status_of(result).code for result in results] == [code_pb2.CANCELLED] * 2
    assert same.batch == batch


@pytest.mark.parametrize(("code", "status"), [(400, "INVALID_ARGUMENT"), (403, "FAILED_PRECONDITION")])
async def test_what_the_provider_does_not_take_is_not_held_and_can_be_started_again(
    tmp_path: Path, redis_url: str, code: int, status: str
) -> None:
    config = default_config(faults=(FaultRule(Fault("error", code=code, times=1), at="batch"),))
    async with serving(tmp_path, redis_url, config) as proxy:
        request = pb.StartBatchRequest(requests=[question("dogs")], request_id="nightly")
        failure = await failure_of(proxy.stub.StartBatch(request))
        assert not await proxy.books.ledger.holdings()
        assert not (await proxy.stub.ListBatches(pb.ListBatchesRequest())).batches
        await proxy.ended((await proxy.stub.StartBatch(request)).batch)
        await proxy.balanced()
        assert [entry.outcome for entry in await proxy.books.entries()] == [Outcome.OK]
    assert failure.code == status


async def test_a_batch_started_twice_under_one_name_is_one(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url) as proxy:
        one = await proxy.start(question("dogs"), request_id="nightly")
        other = await proxy.start(question("dogs"), request_id="nightly")
        assert one.name == other.name
        await proxy.ended(one)
        await proxy.balanced()
        assert len(proxy.books.gemini.bill.lines) == 1


async def test_a_hard_budget_has_room_for_the_whole_batch_or_nothing_is_held(tmp_path: Path, redis_url: str) -> None:
    budget = BudgetSettings(tenant="default", day_nanousd=4_000_000)
    requests = [question("dogs", max_tokens=1_000) for _ in range(3)]
    async with serving(tmp_path, redis_url, SLOW, budgets=(budget,)) as proxy:
        failure = await failure_of(proxy.stub.StartBatch(pb.StartBatchRequest(requests=requests)))
        assert not await proxy.books.ledger.holdings()
        await proxy.start(*requests[:2])
        held = await proxy.books.ledger.holdings()
    assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "BUDGET_EXHAUSTED")
    assert len(held) == 2
    assert all(1_000 * 3_750 / 2 < holding.cost_nanousd < 2_000_000 for holding in held)


async def test_batches_are_listed_newest_first_and_are_their_tenants_alone(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url) as proxy:
        names = [(await proxy.start(question(f"dogs {number}"))).name for number in range(3)]
        page = await proxy.stub.ListBatches(pb.ListBatchesRequest(page_size=2))
        rest = await proxy.stub.ListBatches(pb.ListBatchesRequest(page_size=2, page_token=page.next_page_token))
        other = (("chiasm-tenant", "other"),)
        assert not (await proxy.stub.ListBatches(pb.ListBatchesRequest(), metadata=other)).batches
        failures = [
            await failure_of(call)
            for call in (
                proxy.stub.GetBatch(pb.GetBatchRequest(name=names[0]), metadata=other),
                proxy.stub.CancelBatch(pb.CancelBatchRequest(name=names[0]), metadata=other),
                proxy.stub.ListBatchResults(pb.ListBatchResultsRequest(name=names[0]), metadata=other),
            )
        ]
    assert [batch.name for batch in (*page.batches, *rest.batches)] == names[::-1]
    assert not rest.next_page_token
    assert {failure.code for failure in failures} == {"NOT_FOUND"}


async def test_results_come_in_pages(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url) as proxy:
        batch = await proxy.ended(await proxy.start(*(question(f"dogs {number}") for number in range(5))))
        found, token = [], ""
        for size in (2, 2, 1):
            request = pb.ListBatchResultsRequest(name=batch.name, page_size=2, page_token=token)
            page = await proxy.stub.ListBatchResults(request)
            assert len(page.results) == size
            found += [result.response.text for result in page.results]
            token = page.next_page_token
    assert not token
    assert found == [f"You said: dogs {number}" for number in range(5)]


@pytest.mark.parametrize(
    ("requests", "fields", "at"),
    [
        ([], {}, "requests"),
        ([question("x")] * 1_001, {}, "requests"),
        ([question("x"), question("x", temperature=3)], {}, "requests[1].config.temperature"),
        ([question("x"), question("x", b"nothing known")], {}, "requests[1].messages[0].parts[0].media.data"),
        ([question("x"), question("x")], {"model": "models/gemini-4-argon"}, "requests[1].model"),
        ([question("x")], {"request_id": "a b"}, "request_id"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_held(
    tmp_path: Path, redis_url: str, requests: list, fields: dict, at: str
) -> None:
    async with serving(tmp_path, redis_url) as proxy:
        request = pb.StartBatchRequest(requests=requests, request_id=fields.get("request_id", ""))
        if "model" in fields:
            request.requests[-1].model = fields["model"]
        failure = await failure_of(proxy.stub.StartBatch(request))
        assert not await proxy.books.ledger.holdings()
        assert not await proxy.books.entries()
    assert (failure.code, failure.field) == ("INVALID_ARGUMENT", at)


async def test_names_and_tokens_that_are_none_are_refused(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url) as proxy:
        assert (await failure_of(proxy.stub.GetBatch(pb.GetBatchRequest(name="x")))).field == "name"
        unknown = await failure_of(proxy.stub.GetBatch(pb.GetBatchRequest(name="batches/x")))
        assert (unknown.code, unknown.field) == ("NOT_FOUND", "name")
        listed = await failure_of(proxy.stub.ListBatches(pb.ListBatchesRequest(page_token="%")))
        assert listed.field == "page_token"


async def test_without_redis_there_are_no_batches(tmp_path: Path) -> None:
    async with serving(tmp_path, None) as proxy:
        failure = await failure_of(proxy.stub.StartBatch(pb.StartBatchRequest(requests=[question("x")])))
    assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "PROVIDER_NOT_CONFIGURED")
