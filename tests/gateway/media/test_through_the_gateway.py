"""Uploads and addresses through a gateway process, before a model server that says what it got."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chiasm import AsyncClient, Client, InvalidArgument, NotFound
from tests.client import scripted
from tests.client.scripted import Scripted
from tests.gateway.media.web import OUTSIDE, PNG, outside
from tests.gateway.test_gateway import gateway

NAME = f"media/sha256-{hashlib.sha256(PNG).hexdigest()}"


@asynccontextmanager
async def stack(folder: Path, **settings: str) -> AsyncIterator[tuple[Scripted, AsyncClient]]:
    settings = {"CHIASM_GATEWAY_MEDIA_STORE": str(folder / "kept"), **settings}
    async with scripted.serving() as server, gateway(folder / "logs", server.address, **settings) as client:
        yield server, client


def seen(server: Scripted) -> list[bytes]:
    """The media that the model server got."""
    requests = [request for request in server.requests if request.DESCRIPTOR.name == "GenerateRequest"]
    return [part.media.data for part in requests[-1].messages[0].parts if part.HasField("media")]


@pytest.mark.parametrize("given", [PNG, Path], ids=["bytes", "path"])
async def test_a_file_travels_once_and_is_asked_about_by_name(tmp_path: Path, given: bytes | type[Path]) -> None:
    (tmp_path / "picture.png").write_bytes(PNG)
    file = PNG if given is PNG else tmp_path / "picture.png"
    async with stack(tmp_path) as (server, client):
        stored = await client.upload(file)
        assert (stored.name, stored.size_bytes, stored.mime_type) == (NAME, len(PNG), "image/png")
        assert (await client.ask(stored.name, "how many?")).text == "two circles"
        assert seen(server) == [PNG]
        assert (await client.media(NAME)).name == NAME
        await client.delete_media(NAME)
        with pytest.raises(NotFound, match="upload the file") as caught:
            await client.ask(NAME, "how many?")
    assert caught.value.field == "messages[0].parts[0].media.name"


async def test_the_client_for_threads_too(tmp_path: Path) -> None:
    def use(address: str) -> None:
        with Client(address) as client:
            assert client.upload(PNG).name == NAME
            assert client.media(NAME).size_bytes == len(PNG)
            assert client.ask(NAME, "how many?").text == "two circles"
            client.delete_media(NAME)
            with pytest.raises(NotFound):
                client.media(NAME)

    async with stack(tmp_path) as (server, client):
        await asyncio.to_thread(use, client.address)
        assert seen(server) == [PNG]


async def test_large_files_travel_in_pieces_and_too_large_ones_not_at_all(tmp_path: Path) -> None:
    large = bytes(5 * 2**20 + 1)
    async with stack(tmp_path, CHIASM_GATEWAY_MAX_UPLOAD_BYTES=str(len(large))) as (_, client):
        assert (await client.upload(large)).size_bytes == len(large)
        for upload in (client.upload, _in_thread(client.address)):
            with pytest.raises(InvalidArgument) as caught:
                await upload(large + b"x")
            assert (caught.value.reason, caught.value.field) == ("MEDIA_SIZE", "size_bytes")


def _in_thread(address: str) -> Callable[[bytes], object]:
    def upload(data: bytes) -> object:
        with contextlib.closing(Client(address)) as client:
            return client.upload(data)

    return lambda data: asyncio.to_thread(upload, data)


async def test_an_address_is_fetched_where_policy_allows(tmp_path: Path) -> None:
    async with outside() as web:
        allowing = {
            "CHIASM_GATEWAY_FETCH_ALLOWED_HOSTS": OUTSIDE,
            "CHIASM_GATEWAY_FETCH_PORTS": f"[{web.port}]",
            "CHIASM_GATEWAY_FETCH_PLAINTEXT": "true",
        }
        async with stack(tmp_path, **allowing) as (server, client):
            await client.ask(f"{web.url}/picture", "how many?")
            assert seen(server) == [PNG]
            with pytest.raises(InvalidArgument, match="none that is public") as caught:
                await client.ask(f"http://127.0.0.1:{web.port}/picture", "how many?")
    assert caught.value.field == "messages[0].parts[0].media.uri"


async def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    async with stack(tmp_path) as (_, client):
        with pytest.raises(FileNotFoundError):
            await client.upload(tmp_path / "absent")
        with pytest.raises(IsADirectoryError):
            await client.upload(tmp_path)
