"""Runs against a real gRPC server: what is asked, what is kept, what is tried again, and what ends a run."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from chiasm import Internal, InvalidArgument, NotFound, Overloaded, PermissionDenied
from evals.retries import TRIES
from evals.runner import MOST_FAULTS
from tests.client.scripted import Context, Scripted, fail, serving, whole_answer
from tests.evals.questions import run, suite


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with serving() as scripted:
        yield scripted


def asked(server: Scripted) -> Counter[str]:
    """How often each question came."""
    prompts = (request for request in server.requests if hasattr(request, "messages"))
    return Counter(request.messages[0].parts[-1].text for request in prompts)


async def test_every_item_is_asked_once_and_written_as_it_comes(server: Scripted, tmp_path: Path) -> None:
    report = await run(server.address, tmp_path)
    assert asked(server) == {f"question {number}": 1 for number in range(20)}
    assert server.requests[-1].messages[0].parts[0].media.data.startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines} == {f"item-{number}" for number in range(20)}
    assert lines[0]["replies"][0]["text"] == "two circles"
    assert report.measured[0].value == 0.5
    assert [str(figure) for figure in report.figures] == ["numbered_exact 0.5 >=0.5 ok"]
    assert {kind: found[0].value for kind, found in report.by_kind.items()} == {"even": 1.0, "odd": 0.0}
    assert (report.totals.items, report.totals.failed, report.totals.input_tokens) == (20, 0, 5200)
    assert report.totals.cost_nanousd == 20 * 1250


async def test_no_more_items_are_in_flight_than_asked_for(server: Scripted, tmp_path: Path) -> None:
    running, most = 0, 0
    full = asyncio.Event()

    async def script(context: Context) -> Message:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        running -= 1
        return await whole_answer(context)

    server.unary = script
    await run(server.address, tmp_path, concurrency=3)
    assert most == 3


async def test_a_limit_takes_the_first_items(server: Scripted, tmp_path: Path) -> None:
    report = await run(server.address, tmp_path, limit=4)
    assert report.totals.items == 4
    assert set(asked(server)) == {f"question {number}" for number in range(4)}


async def test_what_fails_by_itself_is_recorded_and_counts_as_wrong(server: Scripted, tmp_path: Path) -> None:
    async def script(context: Context) -> Message:
        if server.requests[-1].messages[0].parts[-1].text == "question 0":
            await fail(context, grpc.StatusCode.INVALID_ARGUMENT, "no such shape", "FIELD_INVALID")
        return await whole_answer(context)

    server.unary = script
    report = await run(server.address, tmp_path)
    assert (report.totals.failed, report.measured[0].value) == (1, 0.45)
    assert report.scored[0].record.error == "INVALID_ARGUMENT: no such shape"
    await run(server.address, tmp_path)
    assert asked(server)["question 0"] == 1


async def test_what_the_server_failed_at_is_asked_again_by_a_later_run(server: Scripted, tmp_path: Path) -> None:
    faults = {
        "question 0": (grpc.StatusCode.INTERNAL, "INTERNAL"),
        "question 2": (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        "question 4": (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
    }

    async def script(context: Context) -> Message:
        if fault := faults.get(server.requests[-1].messages[0].parts[-1].text):
            await fail(context, fault[0], "broken", fault[1])
        return await whole_answer(context)

    server.unary = script
    assert (await run(server.address, tmp_path, concurrency=1)).totals.failed == 3
    server.unary, server.requests = whole_answer, []
    report = await run(server.address, tmp_path)
    assert asked(server) == {"question 0": 1, "question 2": 1}
    assert (report.totals.failed, report.measured[0].value) == (1, 0.45)


async def test_many_faults_in_a_row_end_the_run_and_a_later_one_goes_on(server: Scripted, tmp_path: Path) -> None:
    async def script(context: Context) -> Message:
        if asked(server).total() > 3:
            await fail(context, grpc.StatusCode.INTERNAL, "broken", "INTERNAL")
        return await whole_answer(context)

    server.unary = script
    with pytest.raises(Internal, match=rf"{MOST_FAULTS} items in a row failed, the last with INTERNAL: broken"):
        await run(server.address, tmp_path, suite(40), concurrency=1)
    assert asked(server).total() == 3 + MOST_FAULTS
    server.unary, server.requests = whole_answer, []
    report = await run(server.address, tmp_path, suite(40))
    assert asked(server).total() == 37
    assert (report.totals.items, report.totals.failed, report.measured[0].value) == (40, 0, 0.5)


async def test_a_suites_cap_on_tokens_is_asked_for(server: Scripted, tmp_path: Path) -> None:
    await run(server.address, tmp_path, replace(suite(1), max_tokens=48))
    assert server.requests[-1].config.max_tokens == 48


async def test_overload_is_tried_again_and_counted(server: Scripted, tmp_path: Path) -> None:
    async def script(context: Context) -> Message:
        if asked(server)["question 3"] == 1 and server.requests[-1].messages[0].parts[-1].text == "question 3":
            await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls", "OVERLOADED")
        return await whole_answer(context)

    server.unary = script
    report = await run(server.address, tmp_path)
    assert (report.totals.failed, report.totals.retries) == (0, 1)
    assert asked(server)["question 3"] == 2


async def test_a_server_that_refuses_the_caller_ends_the_run_and_a_later_one_goes_on(
    server: Scripted, tmp_path: Path
) -> None:
    async def script(context: Context) -> Message:
        if asked(server).total() > 8:
            await fail(context, grpc.StatusCode.PERMISSION_DENIED, "quota ended", "PERMISSION_DENIED")
        return await whole_answer(context)

    server.unary = script
    with pytest.raises(PermissionDenied, match="quota ended"):
        await run(server.address, tmp_path, concurrency=1)
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 8
    server.unary, server.requests = whole_answer, []
    report = await run(server.address, tmp_path)
    assert set(asked(server)) == {f"question {number}" for number in range(8, 20)}
    assert (report.totals.items, report.measured[0].value) == (20, 0.5)


async def test_overload_without_end_ends_the_run(server: Scripted, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("evals.retries._PAUSE_S", 0.001)

    async def script(context: Context) -> Message:
        await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls", "OVERLOADED")

    server.unary = script
    with pytest.raises(Overloaded, match="too many calls"):
        await run(server.address, tmp_path, limit=1)
    assert asked(server)["question 0"] == TRIES


async def test_a_torn_line_is_cut_off_and_its_item_asked_again(server: Scripted, tmp_path: Path) -> None:
    await run(server.address, tmp_path)
    results = tmp_path / "results.jsonl"
    whole = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join(whole[:5]) + whole[5][:17])
    server.requests = []
    report = await run(server.address, tmp_path)
    assert asked(server).total() == 15
    assert report.totals.items == 20
    assert len(results.read_bytes().splitlines()) == 20


async def test_results_of_different_runs_are_never_mixed(server: Scripted, tmp_path: Path) -> None:
    await run(server.address, tmp_path)
    other = replace(suite(), items=suite().items[::-1])
    for change, words in (
        ({"questions": suite(19)}, r"number of items \(20, now 19\).*--fresh"),
        ({"questions": other}, "another questions"),
        ({"questions": replace(suite(), max_tokens=48)}, "another questions"),
        ({"model": "tiny"}, "another models"),
    ):
        with pytest.raises(InvalidArgument, match=words) as caught:
            await run(server.address, tmp_path, **change)
        assert caught.value.field == "out"
    report = await run(server.address, tmp_path, suite(6), fresh=True)
    assert report.totals.items == 6


async def test_results_without_a_word_of_what_was_run_are_kept_and_refused(server: Scripted, tmp_path: Path) -> None:
    await run(server.address, tmp_path, limit=2)
    results = tmp_path / "results.jsonl"
    kept = results.read_bytes()
    (tmp_path / "run.json").unlink()
    with pytest.raises(InvalidArgument, match=r"holds results, and no run\.json.*--fresh"):
        await run(server.address, tmp_path, limit=2)
    assert results.read_bytes() == kept
    assert (await run(server.address, tmp_path, limit=2, fresh=True)).totals.items == 2


async def test_lines_that_are_no_results_are_named(server: Scripted, tmp_path: Path) -> None:
    await run(server.address, tmp_path, limit=2)
    results = tmp_path / "results.jsonl"
    results.write_bytes(results.read_bytes() + b'{"id": 7}\n')
    with pytest.raises(InvalidArgument, match=r"results\.jsonl: line 3 is no result"):
        await run(server.address, tmp_path, limit=2)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(InvalidArgument, match="does not say what was run"):
        await run(server.address, tmp_path, limit=2)


async def test_a_picture_that_cannot_be_read_is_a_failed_item(server: Scripted, tmp_path: Path) -> None:
    questions = suite(2)
    gone = tmp_path / "gone.png"
    items = [questions.items[0], replace(questions.items[1], pictures=(gone.read_bytes,))]
    report = await run(server.address, tmp_path / "run", replace(questions, items=items))
    assert "the picture cannot be read" in report.scored[0].record.error


async def test_a_model_that_is_not_served_is_not_found(server: Scripted, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await run(server.address, tmp_path, model="unknown")
    assert os.listdir(tmp_path) == []


async def test_a_run_says_which_models_may_have_answered(server: Scripted, tmp_path: Path) -> None:
    await run(server.address, tmp_path, limit=1)
    assert json.loads((tmp_path / "run.json").read_text())["models"] == {"models/tiny": "abc", "models/second": ""}
