"""What happens before a question is sent, and while nobody reads its answer."""

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from chiasm.v1 import generation_pb2_grpc
from services.gemini_proxy import attempt
from services.gemini_proxy.accounts.books import Outcome
from services.runtime import interception
from tests.gemini.config import default_config
from tests.gemini.conftest import client_of
from tests.gemini_proxy.placing import padded_picture
from tests.gemini_proxy.serving import WAIT_S, directed, proxy, question

PICTURE = padded_picture(10_000)
UPLOADED = {"files_threshold_bytes": 5_000}
# Looks at the file after 0.1, 0.3 and 0.7 s, and finds it ready at the last.
PROCESSED_LATE = default_config(file_polls=3)


async def test_a_question_whose_caller_left_during_the_upload_is_not_sent(tmp_path: Path, redis_url: str) -> None:
    async with (
        proxy(tmp_path, redis_url, PROCESSED_LATE, **UPLOADED) as served,
        client_of(served.gemini.base_url) as google,
    ):
        call = served.stub.Generate(question("What is it?", PICTURE))
        waiting = asyncio.ensure_future(call)
        async with asyncio.timeout(WAIT_S):
            while not [file async for file in await google.files.list()]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait([waiting])
        await served.settled()
        assert served.gemini.bill.lines == []
        assert await served.entries() == []


async def test_an_upload_is_no_slowness_of_the_answer(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url, PROCESSED_LATE, first_token_timeout_s=0.5, **UPLOADED) as served:
        answer = await served.stub.Generate(question("What is it?", PICTURE))
        assert [made.status for made in answer.finished.route.attempts] == ["OK"]
        await served.settled()
        assert len(served.gemini.bill.lines) == 1


SMALL_WINDOWS = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1_024)]
LONG = directed(answer_tokens=60_000, chunks=300)


async def end_of(call: grpc.aio.UnaryStreamCall) -> grpc.StatusCode:
    """Reads the rest of a stream."""
    with suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code()


async def test_a_caller_that_reads_nothing_and_has_no_deadline_is_left(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interception, "WRITE_S", 0.5)
    async with (
        proxy(tmp_path, redis_url) as served,
        grpc.aio.insecure_channel(served.address, SMALL_WINDOWS) as channel,
    ):
        call = generation_pb2_grpc.GenerationServiceStub(channel).StreamGenerate(question(LONG, max_tokens=65_000))
        await call.read()
        await served.settled()
        [entry] = await served.entries()
        assert (entry.outcome, entry.final) == (Outcome.CANCELLED, True)
        assert entry.sums.cost_nanousd == served.gemini.bill.total_nanousd > 60_000 * 3_750
        assert await end_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_an_answer_is_read_to_its_end_though_the_caller_has_stopped(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "_UNREAD_S", 0.3)
    async with (
        proxy(tmp_path, redis_url) as served,
        grpc.aio.insecure_channel(served.address, SMALL_WINDOWS) as channel,
    ):
        call = generation_pb2_grpc.GenerationServiceStub(channel).StreamGenerate(question(LONG, max_tokens=65_000))
        await call.read()
        await served.settled()
        assert await served.cost() == served.gemini.bill.total_nanousd
        assert await end_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED, "what is not whole is not called finished"
