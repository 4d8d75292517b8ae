"""The store over a folder and over a real S3 server."""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import from_url

from services.gateway.media import folder
from services.gateway.media.incoming import incoming
from services.gateway.media.room import Room
from services.gateway.media.store import MediaStore, StoredMedia, digest_of
from services.runtime.errors import InvalidArgument, Unavailable
from tests.gateway.media.web import PNG
from tests.s3_server import BUCKET, s3_server

HOUR = timedelta(hours=1)
AT_ONCE = timedelta()
"""With this time to live everything that is kept has expired."""
LARGE = os.urandom(2**20) * 20


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as variables:
        yield variables


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a store is, with nothing in it."""
    if request.param == "folder":
        return str(tmp_path / "kept" / "media")
    for name, value in request.getfixturevalue("s3").items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


async def put(store: MediaStore, data: bytes, tenant: str = "one") -> StoredMedia:
    async with incoming() as file:
        for start in range(0, len(data), 2**20):
            await file.write(data[start : start + 2**20])
        return await store.put(tenant, file)


async def get(store: MediaStore, digest: str, tenant: str = "one") -> bytes | None:
    return await store.get(tenant, digest, Room(2**30, 2**30), field="name")


@pytest.mark.parametrize("data", [b"x", PNG, LARGE], ids=["byte", "picture", "large"])
async def test_what_is_put_is_found_and_got(place: str, data: bytes) -> None:
    store = MediaStore.open(place, HOUR)
    before = datetime.now(UTC)
    stored = await put(store, data)
    digest = hashlib.sha256(data).hexdigest()
    assert stored.name == f"media/sha256-{digest}"
    assert digest_of(stored.name) == digest
    assert (stored.size_bytes, stored.mime_type) == (len(data), "image/png" if data is PNG else "")
    found = await store.find("one", digest)
    assert (found.name, found.size_bytes, found.mime_type) == (stored.name, stored.size_bytes, stored.mime_type)
    assert abs(found.expires - before - HOUR) < timedelta(minutes=1)
    assert await get(store, digest) == data


@pytest.mark.parametrize("other", ["two", "on", "one.", ".", ".."])
async def test_a_tenant_finds_its_own_alone(place: str, other: str) -> None:
    store = MediaStore.open(place, HOUR)
    digest = (await put(store, PNG)).digest
    assert await store.find(other, digest) is None
    assert await get(store, digest, other) is None
    await store.delete(other, digest)
    await put(store, PNG, other)
    await store.delete("one", digest)
    assert await get(store, digest) is None
    assert await get(store, digest, other) == PNG


async def test_what_has_expired_is_not_there_and_is_swept(place: str) -> None:
    store, late = MediaStore.open(place, HOUR), MediaStore.open(place, AT_ONCE)
    digests = [(await put(store, bytes([i]) * 10)).digest for i in range(5)]
    assert await store.sweep() == 0
    assert await late.find("one", digests[0]) is None
    assert await get(late, digests[0]) is None
    assert await get(store, digests[0]) is not None
    assert await late.sweep() == 5
    assert [await get(store, digest) for digest in digests] == [None] * 5
    assert await late.sweep() == 0


async def test_what_is_no_upload_is_never_swept(place: str) -> None:
    store = MediaStore.open(place, AT_ONCE)
    objects = from_url(place if "://" in place else f"file://{place}")
    digest = (await put(store, PNG)).digest
    others = (
        *("report.pdf", digest, f"other/{digest}", f"tenant-/{digest}", f"tenant-a b/{digest}"),
        *("tenant-one/notes", f"tenant-one/{digest}.bak", f"tenant-one/deeper/{digest}", f"deeper/tenant-one/{digest}"),
    )
    for other in others:
        await objects.put_async(other, b"somebody's")
    assert await store.sweep() == 1
    for other in others:
        assert bytes(await (await objects.get_async(other)).bytes_async()) == b"somebody's"


async def test_what_a_crash_left_of_an_upload_is_swept(tmp_path: Path) -> None:
    store = MediaStore.open(str(tmp_path), HOUR)
    digest = (await put(store, PNG)).digest
    old, young, other = (tmp_path / "tenant-one" / name for name in (f"{digest}#1", f"{digest}#12", "notes#1"))
    for file in (old, young, other):
        file.write_bytes(PNG[:9])
    day_ago = time.time() - 86_400
    for file in (old, other):
        os.utime(file, (day_ago, day_ago))
    assert await store.sweep() == 1
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)
    assert await MediaStore.open(str(tmp_path), AT_ONCE).sweep() == 1  # the upload alone: one may still be written
    assert young.exists()


async def test_a_full_disk_takes_no_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MediaStore.open(str(tmp_path), HOUR)
    monkeypatch.setattr(folder, "RESERVE_BYTES", 2**62)
    with pytest.raises(Unavailable, match="no room") as caught:
        await put(store, PNG)
    assert caught.value.retry_after_s
    assert os.listdir(tmp_path) == []


async def test_replicas_may_sweep_at_once(place: str) -> None:
    store = MediaStore.open(place, AT_ONCE)
    for i in range(5):
        await put(store, bytes([i]) * 10)
    removed = await asyncio.gather(*(MediaStore.open(place, AT_ONCE).sweep() for _ in range(4)))
    assert sum(removed) >= 5
    assert await store.sweep() == 0


async def test_a_second_upload_renews(tmp_path: Path) -> None:
    store = MediaStore.open(str(tmp_path), HOUR)
    digest = (await put(store, PNG)).digest
    file = tmp_path / "tenant-one" / digest
    old = time.time() - 3_601
    os.utime(file, (old, old))
    assert await store.find("one", digest) is None
    await put(store, PNG)
    assert await get(store, digest) == PNG
    assert await store.sweep() == 0


async def test_a_damaged_file_is_never_given_and_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = MediaStore.open(str(tmp_path), HOUR)
    digest = (await put(store, PNG)).digest
    file = tmp_path / "tenant-one" / digest
    file.write_bytes(PNG[:-1] + b"x")
    with caplog.at_level(logging.ERROR):
        assert await get(store, digest) is None
    assert "damaged" in caplog.text
    assert not file.exists()


async def test_a_file_beyond_the_room_is_not_read(place: str) -> None:
    store = MediaStore.open(place, HOUR)
    digest = (await put(store, PNG)).digest
    room = Room(len(PNG) - 1, 2**30)
    with pytest.raises(InvalidArgument, match="more than") as caught:
        await store.get("one", digest, room, field="messages[0].parts[0].media.name")
    assert caught.value.field == "messages[0].parts[0].media.name"


async def test_writers_of_one_file_do_not_disturb_each_other(place: str) -> None:
    store = MediaStore.open(place, HOUR)
    stored = await asyncio.gather(*(put(store, LARGE[: 2**21]) for _ in range(3)))
    assert len({each.digest for each in stored}) == 1
    assert await get(store, stored[0].digest) == LARGE[: 2**21]


async def test_a_store_that_refuses_is_unavailable_and_tells_callers_nothing(
    s3: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    store = MediaStore.open(f"s3://{BUCKET}", HOUR)
    for call in (put(store, PNG), get(store, "0" * 64), store.find("one", "0" * 64), store.delete("one", "0" * 64)):
        with pytest.raises(Unavailable) as caught:
            await call
        assert s3["AWS_ENDPOINT_URL"].removeprefix("http://") not in caught.value.message
    assert "the media store failed" in caplog.text
    assert "a-wrong-secret" not in caplog.text


@pytest.mark.parametrize("place", ["ftp://host/x", "http://host/x", "s3://", "://", "memory:///"])
def test_what_is_no_store_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match=r"a folder, or a URL|URL"):
        MediaStore.open(place, HOUR)


@pytest.mark.parametrize(
    "name", ["", "media/", "media/sha256-", f"media/sha256-{'A' * 64}", f"media/sha256-{'0' * 63}"]
)
def test_what_is_no_name(name: str) -> None:
    assert digest_of(name) is None
    assert digest_of(f"media/sha256-{'0' * 64}\n") is None


async def test_what_expires_is_swept_while_the_gateway_runs(tmp_path: Path) -> None:
    store = MediaStore.open(str(tmp_path), AT_ONCE)
    digest = (await put(store, PNG)).digest
    sweeping = asyncio.create_task(store.keep_swept())
    async with asyncio.timeout(20):
        while await get(MediaStore.open(str(tmp_path), HOUR), digest) is not None:  # noqa: ASYNC110 - swept
            await asyncio.sleep(0.001)
    assert not sweeping.done()
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
