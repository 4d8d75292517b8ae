"""EmbedStream over real sockets, and what it holds of a caller who does not read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_status import rpc_status

import chiasm
from chiasm.v1 import embedding_pb2
from chiasm.v1.embedding_pb2_grpc import EmbeddingServiceStub
from services.embedder.embedding_stream_service import EmbeddingStream
from services.embedder.shaping import Shaping
from tests.embedder.checkpoints import MAX_TEXT, WIDTH
from tests.embedder.standing import standing
from tests.embedder.streaming import field_of, item, numbers, status_of, streamed
from tests.pictures import scene_png

PICTURES = [scene_png(seed, 60 + seed, 50)[1] for seed in range(64)]
THINGS = ["a red circle", *PICTURES[:3], "how many stars?", "a red circle"]
BROKEN = PICTURES[0][:200]


async def test_each_item_gets_what_it_gets_alone(serving, siglip: Path) -> None:
    async with serving(siglip) as served, grpc.aio.insecure_channel(served.address) as channel:
        responses = await streamed(channel, THINGS, request_id="mine")
        for index, thing in enumerate(THINGS):
            texts, images = ([thing], []) if isinstance(thing, str) else ([], [thing])
            alone = await served.client.embed(texts, images)
            given = responses[index]
            np.testing.assert_allclose(numbers(given.embedding.tensor), alone[0], atol=2e-5)
            assert given.usage.input_tokens == alone.usage.input_tokens
            assert given.usage.media_input_tokens == alone.usage.media_input_tokens
    heads = [(each.model, each.revision, each.request_id) for each in responses.values() if each.model]
    assert heads == [("models/siglip", alone.revision, "mine")]


async def test_of_64_pictures_a_bad_one_fails_alone(serving, siglip: Path) -> None:
    """In a stream, and of as many calls at once."""
    things = [*PICTURES[:40], BROKEN, *PICTURES[41:]]
    async with serving(siglip) as served, grpc.aio.insecure_channel(served.address) as channel:
        responses = await streamed(channel, things)
        calls = (served.client.embed(images=[thing]) for thing in things)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert (await served.client.models())[0].ready
    assert [i for i, answer in enumerate(answers) if not isinstance(answer, chiasm.Embeddings)] == [40]
    assert isinstance(answers[40], chiasm.InvalidArgument)
    assert [index for index, response in sorted(responses.items()) if response.HasField("error")] == [40]
    assert len(responses) == 64
    status = status_of(responses[40])
    assert (status.code, field_of(status)) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "item.media.data")


@pytest.mark.parametrize(
    ("thing", "field"),
    [
        (embedding_pb2.EmbedItem(), "item"),
        (item(" "), "item.text"),
        (item("star " * 20_000), "item.text"),
        (item(b""), "item.media.data"),
        (embedding_pb2.EmbedItem(media={"uri": "https://example.com/a.png"}), "item.media.uri"),
    ],
)
async def test_a_bad_item_is_answered_by_its_error(one, thing: embedding_pb2.EmbedItem, field: str) -> None:
    requests = [embedding_pb2.EmbedStreamRequest(item=each) for each in (item("star"), thing, item("star"))]
    responses = {response.index: response async for response in one.EmbedStream(iter(requests), timeout=60)}
    assert [responses[i].WhichOneof("outcome") for i in range(3)] == ["embedding", "error", "embedding"]
    assert field_of(status_of(responses[1])) == field


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([{"model": "models/absent"}], "model"),
        ([{"text_purpose": 9}], "text_purpose"),
        ([{"request_id": "a b"}], "request_id"),
        ([{"vectors": {"dtype": 9}}], "vectors.dtype"),
        ([{"vectors": {"pool_factor": 17}}], "vectors.pool_factor"),
        ([{"vectors": {"pool_factor": 2}}], "vectors.pool_factor"),
        ([{}, {}], "item"),
        ([{}, {"item": item("star"), "model": "models/siglip"}], "item"),
    ],
)
async def test_a_stream_that_is_none_is_refused(one, requests: list[dict], field: str) -> None:
    call = one.EmbedStream(iter([embedding_pb2.EmbedStreamRequest(**request) for request in requests]), timeout=60)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    info = rpc_status.from_call(caught.value)
    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    assert field_of(info) == field


@pytest.fixture
async def one(serving, siglip: Path):
    async with serving(siglip) as served, grpc.aio.insecure_channel(served.address) as channel:
        yield EmbeddingServiceStub(channel)


async def test_a_stream_that_does_not_go_on_ends_at_its_deadline(serving, siglip: Path) -> None:
    async with (
        serving(siglip, default_timeout_s=0.3) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        call = EmbeddingServiceStub(channel).EmbedStream()
        await call.write(embedding_pb2.EmbedStreamRequest(item=item("star")))
        assert (await call.read()).HasField("embedding")
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_caller_who_leaves_takes_the_items_along(serving, siglip: Path) -> None:
    """One text is a batch, and while it is at work those behind it wait."""
    async with (
        serving(siglip, max_batch_tokens=MAX_TEXT, max_items=1_000) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        left = asyncio.create_task(streamed(channel, [f"{i}" for i in range(1_000)]))
        async with asyncio.timeout(60):
            while not (await served.client.model("siglip")).waiting:
                pass
            left.cancel()
            while (await served.client.model("siglip")).waiting:
                pass
        assert len(await served.client.embed(["star"])) == 1


@asynccontextmanager
async def streaming(folder: Path, **options: object) -> AsyncIterator[EmbeddingStream]:
    """Without a socket, whose buffers would blur what is held."""
    first, deadline = embedding_pb2.EmbedStreamRequest(), asyncio.get_running_loop().time() + 60
    async with standing(folder, **options) as at:
        yield EmbeddingStream(at.embedder, at.served, first, Shaping(), deadline, at.settings)


class Sender:
    """One item without an end, and how often it was taken."""

    def __init__(self, thing: str | bytes) -> None:
        self.request = embedding_pb2.EmbedStreamRequest(item=item(thing))
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[embedding_pb2.EmbedStreamRequest]:
        while True:
            self.taken += 1
            yield self.request


async def test_responses_that_are_not_read_hold_up_the_requests(siglip: Path) -> None:
    sender = Sender(PICTURES[0])
    async with streaming(siglip, max_items=4) as stream, aclosing(stream.responses(aiter(sender))) as responses:
        for answered in range(1, 20):
            assert (await anext(responses)).HasField("embedding")
            assert sender.taken <= answered + 4
    assert sender.taken >= 19


async def test_items_at_work_are_bounded_in_bytes(siglip: Path) -> None:
    """Two fit into a message; a third has been read and waits for room."""
    sender = Sender(PICTURES[0] + bytes(30_000))
    async with (
        streaming(siglip, running=False, max_message_bytes=2**16) as stream,
        aclosing(stream.responses(aiter(sender))) as responses,
    ):
        waiting = asyncio.create_task(anext(responses))
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert sender.taken == 3
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_what_is_answered_and_not_read_is_bounded_in_bytes(siglip: Path) -> None:
    """One has been read; as many as fit into a message with their answers are held, and one more waits for room."""
    sender = Sender("star")
    each = sender.request.item.ByteSize() + 4 * WIDTH
    async with (
        streaming(siglip, max_message_bytes=2_000) as stream,
        aclosing(stream.responses(aiter(sender))) as responses,
    ):
        assert (await anext(responses)).HasField("embedding")
        async with asyncio.timeout(30):
            while sender.taken < 2_000 // each + 1:
                await asyncio.to_thread(int)
        for _ in range(200):
            await asyncio.to_thread(int)
        assert sender.taken == 2_000 // each + 1


async def test_an_embedding_larger_than_a_message_is_an_error(siglip: Path) -> None:
    """Its numbers take 128 bytes, and 1 KiB is for what the first response has beside."""
    sender = Sender(PICTURES[0])
    for most, outcome in ((1_200, "embedding"), (1_100, "error")):
        async with (
            streaming(siglip, max_message_bytes=most) as stream,
            aclosing(stream.responses(aiter(sender))) as responses,
        ):
            assert (await anext(responses)).WhichOneof("outcome") == outcome
