"""Files are uploaded once, found again, and replaced when they have gone."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.genai import types
from google.genai.client import AsyncClient
from pydantic import SecretStr

from services.gemini_proxy.config import MemberSettings
from services.runtime.errors import InvalidArgument, Unavailable
from tests.gemini.config import TEST_KEY, Fault, FaultRule, default_config
from tests.gemini.conftest import Clock, client_of
from tests.gemini.server import Emulator, emulator
from tests.gemini_proxy.lossy import Loss, lossy
from tests.gemini_proxy.placing import Replica, asked, padded_picture, replica
from tests.gemini_proxy.serving import proxy, question

MB = 10**6
PICTURE = padded_picture(9 * MB)


@pytest.fixture
async def gemini() -> AsyncIterator[Emulator]:
    async with emulator(default_config()) as running:
        yield running


@pytest.fixture
async def google(gemini: Emulator) -> AsyncIterator[AsyncClient]:
    """The provider's own client."""
    async with client_of(gemini.base_url) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def uploaded(google: AsyncClient) -> list[types.File]:
    """What lies at the provider."""
    return [file async for file in await google.files.list()]


def sha256_of(file: types.File) -> str:
    """As Google gives it: the base64 of the hexadecimal digits."""
    return base64.b64decode(file.sha256_hash).decode()


async def bill_is_kept(gemini: Emulator, of: Replica) -> bool:
    await gemini.idle()
    return await of.cost() == gemini.bill.total_nanousd > 0


async def test_a_large_picture_is_uploaded_once_for_all_calls_of_all_replicas(
    tmp_path: Path, redis_url: str, gemini: Emulator, google: AsyncClient
) -> None:
    async with (
        replica(tmp_path / "one", gemini, redis_url) as one,
        replica(tmp_path / "two", gemini, redis_url) as two,
    ):
        asking = await asked("What is it?", PICTURE)
        await asyncio.gather(*(each.answer(asking) for each in (one, two) for _ in range(10)))
        (file,) = await uploaded(google)
        assert (file.size_bytes, file.mime_type) == (9 * MB, "image/png")
        assert len(gemini.bill.lines) == 20
        assert all(line.usage.input["IMAGE"] == 1_120 for line in gemini.bill.lines)
        assert await bill_is_kept(gemini, one)


async def test_a_restarted_replica_finds_it_again(
    tmp_path: Path, redis_url: str, gemini: Emulator, google: AsyncClient
) -> None:
    for _ in range(2):
        async with replica(tmp_path, gemini, redis_url) as one:
            await one.answer(await asked("What is it?", PICTURE))
    assert len(await uploaded(google)) == 1


async def test_without_redis_each_process_uploads_it_once(
    tmp_path: Path, gemini: Emulator, google: AsyncClient
) -> None:
    async with replica(tmp_path, gemini) as one:
        asking = await asked("What is it?", PICTURE)
        await asyncio.gather(*(one.answer(asking) for _ in range(5)))
    assert len(await uploaded(google)) == 1


async def test_a_service_uploads_what_it_is_sent(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served, client_of(served.gemini.base_url) as google:
        for _ in range(2):
            answer = await served.stub.Generate(question("What is it?", PICTURE))
            assert answer.text == "You said: What is it?"
        assert len(await uploaded(google)) == 1


@pytest.mark.parametrize("shared", [True, False])
async def test_what_comes_again_is_uploaded_unless_it_is_small(
    tmp_path: Path, redis_url: str, gemini: Emulator, google: AsyncClient, shared: bool
) -> None:
    async with replica(tmp_path, gemini, redis_url if shared else None) as one:
        asking = await asked("Which?", padded_picture(2 * MB), padded_picture(200_000))
        await one.answer(asking)
        assert await uploaded(google) == []
        for _ in range(3):
            await one.answer(asking)
        assert [file.size_bytes for file in await uploaded(google)] == [2 * MB]


async def test_what_comes_again_late_is_not(
    tmp_path: Path, gemini: Emulator, google: AsyncClient, clock: Clock
) -> None:
    async with replica(tmp_path, gemini, clock=clock, files_reuse_s=60) as one:
        asking = await asked("What is it?", padded_picture(MB))
        for _ in range(2):
            await one.answer(asking)
            clock.now_s += 61
        assert await uploaded(google) == []


async def test_of_much_together_the_largest_is_uploaded(tmp_path: Path, gemini: Emulator, google: AsyncClient) -> None:
    async with replica(tmp_path, gemini) as one:
        sizes = 6 * MB, 7 * MB, 5 * MB, 4 * MB
        await one.answer(await asked("Which?", *(padded_picture(size, str(size)) for size in sizes)))
        assert [file.size_bytes for file in await uploaded(google)] == [7 * MB]


@pytest.mark.parametrize("shared", [True, False])
async def test_a_file_is_uploaded_anew_before_it_expires(
    tmp_path: Path, redis_url: str, clock: Clock, shared: bool
) -> None:
    async with (
        emulator(default_config(), clock=clock) as gemini,
        client_of(gemini.base_url) as google,
        replica(tmp_path, gemini, redis_url if shared else None, clock=clock) as one,
    ):
        asking = await asked("What is it?", PICTURE)
        await one.answer(asking)
        clock.now_s += 46 * 3600
        await one.answer(asking)
        (first,) = await uploaded(google)
        clock.now_s += 1.5 * 3600
        await one.answer(asking)
        assert len(await uploaded(google)) == 2
        clock.now_s += 3600
        await one.answer(asking)
        assert [file.name for file in await uploaded(google)] != [first.name]
        assert len(await uploaded(google)) == 1


async def test_a_file_that_the_provider_cannot_process_is_named(tmp_path: Path, redis_url: str, clock: Clock) -> None:
    config = default_config(faults=(FaultRule(Fault("file_failed", times=1), at="upload"),))
    async with (
        emulator(config) as gemini,
        client_of(gemini.base_url) as google,
        replica(tmp_path, gemini, redis_url, clock=clock) as one,
    ):
        asking = await asked("What is it?", padded_picture(1_000), PICTURE)
        failures = await asyncio.gather(*(one.answer(asking) for _ in range(3)), return_exceptions=True)
        for failure in failures:
            assert isinstance(failure, InvalidArgument)
            assert failure.field == "messages[0].parts[1].media.data"
            assert "the provider cannot process the file" in failure.message
        assert gemini.faults.struck["file_failed"] == 1, "it is not uploaded again at once"
        assert await uploaded(google) == []
        clock.now_s += 31
        await one.answer(asking)
        assert await bill_is_kept(gemini, one)


@pytest.mark.parametrize("shared", [True, False])
async def test_a_file_that_has_vanished_is_uploaded_anew(
    tmp_path: Path, redis_url: str, gemini: Emulator, google: AsyncClient, shared: bool
) -> None:
    async with replica(tmp_path, gemini, redis_url if shared else None) as one:
        asking = await asked("What is it?", PICTURE, padded_picture(9 * MB, "another"))
        await one.answer(asking)
        gone, stays = await uploaded(google)
        await google.files.delete(name=gone.name)
        ends = await asyncio.gather(*(one.answer(asking) for _ in range(5)))
        assert [len(end.attempts) for end in ends] == [1] * 5
        names = {file.name for file in await uploaded(google)}
        assert len(names) == 2
        assert stays.name in names
        assert not shared or await bill_is_kept(gemini, one)


async def test_a_refusal_for_another_reason_is_told_and_uploads_nothing(
    tmp_path: Path, gemini: Emulator, google: AsyncClient
) -> None:
    async with replica(tmp_path, gemini) as one:
        await one.answer(await asked("What is it?", PICTURE))
        with pytest.raises(InvalidArgument, match="refuses"):
            await one.answer(await asked('{"emulate": {"fault": {"kind": "error", "code": 400}}}', PICTURE))
        assert len(await uploaded(google)) == 1


async def test_an_upload_that_fails_costs_nothing_and_is_tried_again(tmp_path: Path, redis_url: str) -> None:
    config = default_config(faults=(FaultRule(Fault("error", times=1), at="upload"),))
    async with emulator(config) as gemini, replica(tmp_path, gemini, redis_url) as one:
        end = await one.answer(await asked("What is it?", PICTURE))
        assert [report.status for report in end.attempts] == ["UNAVAILABLE", "OK"]
        assert await bill_is_kept(gemini, one)


async def test_a_file_that_is_never_processed_ends_with_the_attempt(tmp_path: Path, redis_url: str) -> None:
    async with (
        emulator(default_config(file_polls=10_000)) as gemini,
        replica(tmp_path, gemini, redis_url, attempt_timeout_s=0.5, max_attempts=1) as one,
    ):
        with pytest.raises(Unavailable, match="not be uploaded in time"):
            await one.answer(await asked("What is it?", PICTURE))
        assert gemini.bill.lines == []
        assert await one.cost() == 0
        async with client_of(gemini.base_url) as google:
            assert await uploaded(google) == []


async def test_a_file_whose_processing_cannot_be_followed_is_not_left_there(tmp_path: Path, redis_url: str) -> None:
    loss = Loss("GET", "/files/", 500, done=False)
    async with (
        emulator(default_config(file_polls=2)) as gemini,
        lossy(gemini.base_url, loss) as between,
        client_of(gemini.base_url) as google,
        replica(tmp_path, gemini, redis_url, base_url=between.base_url) as one,
    ):
        end = await one.answer(await asked("What is it?", PICTURE))
        assert [report.status for report in end.attempts] == ["UNAVAILABLE", "OK"]
        assert between.struck == [loss]
        assert len(await uploaded(google)) == 1


async def test_the_oldest_files_make_room(
    tmp_path: Path, redis_url: str, gemini: Emulator, google: AsyncClient
) -> None:
    async with replica(tmp_path, gemini, redis_url, files_max_bytes=20 * MB) as one:
        pictures = [padded_picture(9 * MB, name) for name in "abc"]
        for each in pictures:
            await one.answer(await asked("What is it?", each))
        known = {hashlib.sha256(each).hexdigest() for each in pictures[1:]}
        assert {file.size_bytes for file in await uploaded(google)} == {9 * MB}
        assert {sha256_of(file) for file in await uploaded(google)} == known


async def test_a_file_is_deleted_on_request(
    tmp_path: Path, redis_url: str, gemini: Emulator, google: AsyncClient
) -> None:
    async with replica(tmp_path, gemini, redis_url) as one:
        asking = await asked("What is it?", PICTURE)
        await one.answer(asking)
        await one.files.delete(hashlib.sha256(PICTURE).hexdigest())
        assert await uploaded(google) == []
        await one.files.delete(hashlib.sha256(b"never seen").hexdigest())
        await one.answer(asking)
        assert len(await uploaded(google)) == 1


async def test_vertex_gets_everything_inline(tmp_path: Path, gemini: Emulator, google: AsyncClient) -> None:
    member = MemberSettings(name="one", vertex=True, api_key=SecretStr(TEST_KEY), base_url=gemini.base_url)
    async with replica(tmp_path, gemini, api_key=None, base_url=None, members=(member,)) as one:
        for _ in range(2):
            await one.answer(await asked("What is it?", PICTURE))
        assert await uploaded(google) == []
        assert [line.usage.input["IMAGE"] for line in gemini.bill.lines] == [1_120, 1_120]
