"""Embedding through the sync and async clients against a scripted server."""

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest

import chiasm
from chiasm.v1 import embedding_pb2 as embedding

from . import scripted
from .scripted import Context, Scripted, fail


async def test_texts_and_pictures_go_in_order_and_vectors_come_back(
    server: Scripted, picture: Path, picture_bytes: bytes
) -> None:
    async with chiasm.AsyncClient(server.address) as client:
        embeddings = await client.embed(["a circle"], [picture], model="tiny", text_purpose=chiasm.TextPurpose.QUERY)
    (request,) = server.requests
    assert [item.WhichOneof("kind") for item in request.items] == ["text", "media"]
    assert (request.items[0].text, request.items[1].media.data) == ("a circle", picture_bytes)
    assert (request.model, request.text_purpose) == ("models/tiny", embedding.TEXT_PURPOSE_QUERY)
    assert (embeddings.model, embeddings.revision, embeddings.request_id) == ("models/tiny", "abc", "request-1")
    assert embeddings.usage == chiasm.Usage(20, media_input_tokens=4)
    single, several = embeddings
    assert (single.shape, single.tolist()) == ((2,), [1.0, 0.0])
    assert several.shape == (2, 2)
    assert several.tolist() == [[0.0, 1.0], pytest.approx([0.6, 0.8])]


async def test_the_sync_client_does_the_same(server: Scripted, picture: Path) -> None:
    def use() -> chiasm.Embeddings:
        with chiasm.Client(server.address) as client:
            return client.embed(images=[picture])

    embeddings = await asyncio.to_thread(use)
    assert len(embeddings) == 2
    assert [item.WhichOneof("kind") for item in server.requests[0].items] == ["media"]


def test_an_embedding_is_an_array_without_a_copy() -> None:
    one = chiasm.Embedding(np.array([0.6, 0.8], "<f4").tobytes(), (2,))
    array = np.asarray(one)
    assert (array.dtype, array.shape) == (np.float32, (2,))
    assert np.shares_memory(array, np.frombuffer(one.data, np.uint8))
    assert np.asarray([one, one]).shape == (2, 2)


async def test_all_embeddings_of_one_shape_are_one_array(server: Scripted) -> None:
    async def script(context: Context) -> embedding.EmbedResponse:
        return embedding.EmbedResponse(embeddings=[scripted.vectors([1.0, 0.0, 0.0], 3)] * 4)

    server.embed = script
    async with chiasm.AsyncClient(server.address) as client:
        embeddings = await client.embed(["a"] * 4)
    assert np.asarray(embeddings).shape == (4, 3)


async def test_what_the_client_cannot_read_is_an_error(server: Scripted) -> None:
    async def script(context: Context) -> embedding.EmbedResponse:
        return embedding.EmbedResponse(embeddings=[embedding.Embedding(tensor=embedding.Tensor(dtype=99))])

    server.embed = script
    async with chiasm.AsyncClient(server.address) as client:
        with pytest.raises(chiasm.Internal, match="newer than this client"):
            await client.embed(["a"])


async def test_wrong_arguments_are_refused_before_a_call(server: Scripted, picture: Path) -> None:
    async with chiasm.AsyncClient(server.address) as client:
        with pytest.raises(chiasm.InvalidArgument, match="put it into a list"):
            await client.embed("a circle")
        with pytest.raises(chiasm.InvalidArgument):
            await client.embed(["a \ud800"])
        with pytest.raises(FileNotFoundError):
            await client.embed(images=[picture.with_name("missing.png")])
    assert server.requests == []


async def test_an_unavailable_server_is_asked_again(server: Scripted) -> None:
    async def script(context: Context) -> embedding.EmbedResponse:
        if len(server.requests) < 3:
            await fail(context, grpc.StatusCode.UNAVAILABLE, "later", "MODEL_UNAVAILABLE")
        return await scripted.two_embeddings(context)

    server.embed = script
    async with chiasm.AsyncClient(server.address) as client:
        assert len(await client.embed(["a"])) == 2
    assert len(server.requests) == 3
