"""MediaService over a real socket."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from chiasm.errors import from_rpc_error
from chiasm.v1 import media_service_pb2 as pb
from chiasm.v1.media_service_pb2_grpc import MediaServiceStub
from tests.gateway.media.serving import MAX_BYTES, kept, serving
from tests.gateway.media.web import PNG

NAME = f"media/sha256-{hashlib.sha256(PNG).hexdigest()}"
OTHER_NAME = f"media/sha256-{'0' * 64}"


def first(**fields: object) -> pb.UploadRequest:
    return pb.UploadRequest(**fields)


def piece(data: bytes) -> pb.UploadRequest:
    return pb.UploadRequest(data=data)


def tenant(name: str) -> dict[str, object]:
    return {"metadata": [("chiasm-tenant", name)], "timeout": 20}


async def test_what_is_uploaded_is_known_and_can_be_removed(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, grpc.aio.insecure_channel(served.address) as channel:
        stub = MediaServiceStub(channel)
        requests = [first(name=NAME, size_bytes=len(PNG)), piece(PNG[:10]), piece(b""), piece(PNG[10:])]
        uploaded = (await stub.Upload(iter(requests), **tenant("one"))).media
        assert (uploaded.name, uploaded.size_bytes, uploaded.mime_type) == (NAME, len(PNG), "image/png")
        left = uploaded.expire_time.ToDatetime(UTC) - datetime.now(UTC)
        assert timedelta(minutes=59) < left <= timedelta(hours=1)
        found = (await stub.GetMedia(pb.GetMediaRequest(name=NAME), **tenant("one"))).media
        assert (found.name, found.size_bytes, found.mime_type) == (NAME, len(PNG), "image/png")
        for _ in range(2):  # what is gone may be removed again
            await stub.DeleteMedia(pb.DeleteMediaRequest(name=NAME), **tenant("one"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetMedia(pb.GetMediaRequest(name=NAME), **tenant("one"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert from_rpc_error(caught.value).field == "name"
    assert kept(tmp_path) == []


async def test_another_tenant_cannot_tell_that_it_is_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, grpc.aio.insecure_channel(served.address) as channel:
        stub = MediaServiceStub(channel)
        await stub.Upload(iter([piece(PNG)]), **tenant("one"))
        told = []
        for name in (NAME, OTHER_NAME):
            await stub.DeleteMedia(pb.DeleteMediaRequest(name=name), **tenant("two"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetMedia(pb.GetMediaRequest(name=name), **tenant("two"))
            told.append((caught.value.code(), caught.value.details()))
        assert told[0] == told[1]
        assert (await stub.GetMedia(pb.GetMediaRequest(name=NAME), **tenant("one"))).media.name == NAME


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], "data"),
        ([first(name=NAME)], "data"),
        ([first(name="media/x"), piece(PNG)], "name"),
        ([first(name=OTHER_NAME), piece(PNG)], "name"),
        ([first(size_bytes=len(PNG) + 1), piece(PNG)], "size_bytes"),
        ([first(size_bytes=-1), piece(PNG)], "size_bytes"),
        ([first(size_bytes=MAX_BYTES + 1)], "size_bytes"),
        ([piece(bytes(2**20 + 1))], "data"),
        ([piece(bytes(2**20))] * 5, "data"),
        ([piece(PNG), first(name=NAME)], "name"),
        ([piece(PNG), first(size_bytes=1)], "size_bytes"),
    ],
)
async def test_what_is_wrong_is_named_and_leaves_nothing(
    tmp_path: Path, requests: list[pb.UploadRequest], field: str
) -> None:
    async with serving(tmp_path) as served, grpc.aio.insecure_channel(served.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await MediaServiceStub(channel).Upload(iter(requests), **tenant("one"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc_error(caught.value).field == field
    assert kept(tmp_path) == []


async def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        async with grpc.aio.insecure_channel(served.address) as channel:
            call = MediaServiceStub(channel).Upload(**tenant("one"))
            await call.write(piece(PNG))
            call.cancel()
        async with grpc.aio.insecure_channel(served.address) as channel:
            call = MediaServiceStub(channel).Upload(**tenant("one"))
            await call.write(piece(PNG))
    assert kept(tmp_path) == []


async def test_a_slow_upload_ends_with_its_deadline(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, default_timeout_s=0.1) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        call = MediaServiceStub(channel).Upload()
        await call.write(piece(PNG))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert kept(tmp_path) == []


async def test_an_upload_that_pauses_is_ended_long_before_its_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path, max_pause_s=0.1) as served, grpc.aio.insecure_channel(served.address) as channel:
        call = MediaServiceStub(channel).Upload(**tenant("one"))
        await call.write(piece(PNG))
        with pytest.raises(grpc.aio.AioRpcError, match="no piece") as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert kept(tmp_path) == []


async def test_one_tenant_leaves_uploads_to_others(tmp_path: Path) -> None:
    async with serving(tmp_path, max_concurrent=4) as served, grpc.aio.insecure_channel(served.address) as channel:
        stub = MediaServiceStub(channel)
        running = stub.Upload(**tenant("one"))
        await running.write(piece(PNG))
        async with asyncio.timeout(20):
            while True:  # until the first has reached the server
                try:
                    await stub.Upload(iter([piece(PNG)]), **tenant("one"))
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    break
        assert (await stub.Upload(iter([piece(PNG)]), **tenant("two"))).media.name == NAME
        await running.done_writing()
        assert (await running).media.name == NAME


async def test_one_upload_too_many_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with serving(tmp_path, max_concurrent=1) as served, grpc.aio.insecure_channel(served.address) as channel:
        stub = MediaServiceStub(channel)
        go_on = asyncio.Event()
        begun = asyncio.Event()

        async def requests() -> AsyncIterator[pb.UploadRequest]:
            yield piece(PNG)
            begun.set()
            await go_on.wait()

        running = asyncio.ensure_future(stub.Upload(requests(), **tenant("one")))
        await begun.wait()
        async with asyncio.timeout(20):
            while True:  # until the first has reached the server
                try:
                    await stub.Upload(iter([piece(PNG)]), **tenant("one"))
                except grpc.aio.AioRpcError as error:
                    refused = from_rpc_error(error)
                    break
        assert refused.code == "RESOURCE_EXHAUSTED"
        assert refused.retry_after_s
        go_on.set()
        assert (await running).media.name == NAME
        await stub.Upload(iter([piece(PNG)]), **tenant("one"))
