"""Streams of items through a gateway: their own errors, their numbers, and who waits for whom."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.rpc.status_pb2 import Status

from chiasm.v1 import embedding_pb2, embedding_pb2_grpc, media_pb2, search_pb2, search_pb2_grpc
from tests.client.scripted_embedder import Context
from tests.gateway.embedders.scene import Scene, scene

UNKNOWN = media_pb2.Media(name=f"media/sha256-{'0' * 64}")
COLLECTION = "collections/one"


def embed_stream(given: Scene, requests: AsyncIterator[object] | list[object]) -> grpc.aio.StreamStreamCall:
    return embedding_pb2_grpc.EmbeddingServiceStub(given.channel).EmbedStream(requests)


def index(given: Scene, requests: list[object]) -> grpc.aio.StreamStreamCall:
    return search_pb2_grpc.SearchServiceStub(given.channel).Index(requests)


def document(name: str, media: media_pb2.Media | None = None, text: str = "") -> search_pb2.IndexRequest:
    content = {"media": media} if media else {"text": text}
    return search_pb2.IndexRequest(document=search_pb2.Document(id=name, **content))


def message_of(response: object) -> str:
    status = Status()
    response.error.Unpack(status)
    return status.message


async def test_items_at_fault_here_and_there_are_answered_and_numbered_as_the_caller_counts(tmp_path: Path) -> None:
    first = search_pb2.IndexRequest(collection=COLLECTION)
    requests = [
        first,
        document("a", UNKNOWN),
        document("b", text="b"),
        document("c", text="bad"),
        document("d", UNKNOWN),
    ]
    requests.append(document("e", text="e"))
    async with scene(tmp_path) as given, asyncio.timeout(30):
        answers = {response.document_id: response async for response in index(given, requests)}
        assert list(given.embedder.documents[COLLECTION]) == ["b", "e"]
    assert {name: response.index for name, response in answers.items()} == dict(zip("abcde", range(5), strict=True))
    assert {name for name, response in answers.items() if response.HasField("indexed")} == {"b", "e"}
    assert "no such upload" in message_of(answers["a"])
    assert message_of(answers["c"]) == "cannot be read"


async def test_a_first_request_whose_item_is_at_fault_still_begins_the_stream(tmp_path: Path) -> None:
    item = embedding_pb2.EmbedItem(media=UNKNOWN)
    requests = [
        embedding_pb2.EmbedStreamRequest(model="models/tiny-siglip", item=item),
        embedding_pb2.EmbedStreamRequest(item=embedding_pb2.EmbedItem(text="x")),
    ]
    async with scene(tmp_path) as given, asyncio.timeout(30):
        answers = [response async for response in embed_stream(given, requests)]
        passed = given.embedder.requests
    assert [(response.index, response.WhichOneof("outcome")) for response in answers] == [
        (0, "error"),
        (1, "embedding"),
    ]
    assert answers[1].model == "models/tiny-siglip"
    assert [request.HasField("item") for request in passed] == [False, True]
    assert passed[0].model == "models/tiny-siglip"
    assert passed[0].request_id


async def test_a_first_request_of_the_wrong_form_ends_the_stream(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        call = embed_stream(given, [embedding_pb2.EmbedStreamRequest(model="tiny")])
        with pytest.raises(grpc.aio.AioRpcError, match="models/NAME"):
            await call.read()


async def test_who_does_not_read_is_not_read_from(tmp_path: Path) -> None:
    """Neither the gateway nor the embedder gathers what the caller leaves unread."""
    size, count = 100_000, 400
    sent = 0

    async def requests() -> AsyncIterator[embedding_pb2.EmbedStreamRequest]:
        nonlocal sent
        for _ in range(count):
            sent += 1
            media = media_pb2.Media(data=bytes(size))
            yield embedding_pb2.EmbedStreamRequest(item=embedding_pb2.EmbedItem(media=media))

    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(context: Context) -> None:
        begun.set()
        await go_on.wait()

    async with scene(tmp_path) as given, asyncio.timeout(60):
        given.embedder.before_each = wait
        call = embed_stream(given, requests())
        first = asyncio.ensure_future(call.read())
        await begun.wait()
        quiet = 0
        while quiet < 10:
            before = sent
            await asyncio.sleep(0.02)
            quiet = quiet + 1 if sent == before else 0
        assert sent < count / 2
        go_on.set()
        assert (await first).index == 0
        rest = [response.index async for response in _rest(call)]
    assert rest == list(range(1, count))


async def _rest(call: grpc.aio.StreamStreamCall) -> AsyncIterator[embedding_pb2.EmbedStreamResponse]:
    while (response := await call.read()) is not grpc.aio.EOF:
        yield response


async def test_an_embedder_that_breaks_off_ends_the_stream_with_its_status(tmp_path: Path) -> None:
    async def leave(context: Context) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "10.0.0.7 is gone")

    async def endless() -> AsyncIterator[embedding_pb2.EmbedStreamRequest]:
        yield embedding_pb2.EmbedStreamRequest(item=embedding_pb2.EmbedItem(text="x"))
        await asyncio.Event().wait()

    async with scene(tmp_path) as given, asyncio.timeout(30):
        given.embedder.before_each = leave
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed_stream(given, endless()).read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "10.0.0.7" not in caught.value.details()


async def test_a_deadline_ends_the_stream(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[embedding_pb2.EmbedStreamRequest]:
        yield embedding_pb2.EmbedStreamRequest(item=embedding_pb2.EmbedItem(text="x"))
        await asyncio.Event().wait()

    async with scene(tmp_path, default_timeout_s=0.5) as given, asyncio.timeout(30):
        call = embed_stream(given, endless())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            _ = [response async for response in _rest(call)]
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
