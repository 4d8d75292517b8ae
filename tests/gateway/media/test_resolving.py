"""Requests with names and addresses become requests with bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from chiasm.v1.embedding_pb2 import EmbedItem, EmbedRequest
from chiasm.v1.generation_pb2 import GenerateRequest, Message, Part
from chiasm.v1.media_pb2 import Media
from services.gateway.media.incoming import incoming
from services.gateway.media.resolving import ResolveLimits, Resolver
from services.gateway.media.store import MediaStore
from services.gateway.policy import TenantPolicy
from services.runtime.errors import ChiasmError, DeadlineExceeded, InvalidArgument, NotFound, PermissionDenied
from tests.gateway.media.web import PNG, Outside, fetching, outside

UNKNOWN = f"media/sha256-{'0' * 64}"


@dataclass(frozen=True)
class Scene:
    """What a resolver has around it; one upload of the tenant `one` is kept."""

    resolver: Resolver
    web: Outside
    upload: str

    async def resolve(self, request: object, tenant: str = "one", timeout_s: float = 20, **options: object) -> object:
        deadline = asyncio.get_running_loop().time() + timeout_s
        return await self.resolver.resolve(request, tenant, deadline, **options)


@asynccontextmanager
async def scene(folder: Path, **limits: int) -> AsyncIterator[Scene]:
    store = MediaStore.open(str(folder), timedelta(hours=1))
    async with outside() as web, fetching(ports=[web.port]) as fetcher:
        async with incoming() as file:
            await file.write(PNG[::-1])
            upload = (await store.put("one", file)).name
        yield Scene(Resolver(store, fetcher, ResolveLimits(**limits)), web, upload)


def asking(*media: Media) -> GenerateRequest:
    """Two messages; the media are in the second, after a text."""
    parts = [Part(text="Which?"), *(Part(media=each) for each in media)]
    return GenerateRequest(model="models/tiny", messages=[Message(parts=[Part(text="Look.")]), Message(parts=parts)])


async def test_names_and_addresses_become_bytes_and_all_else_stays(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        request = asking(
            Media(name=given.upload, mime_type="image/png"),
            Media(data=b"inline"),
            Media(uri=f"{given.web.url}/picture", mime_type="image/png"),
            Media(uri="gs://bucket/film.mp4", mime_type="video/mp4"),
        )
        before = request.SerializeToString(deterministic=True)
        resolved = await given.resolve(request)
    assert request.SerializeToString(deterministic=True) == before
    expected = asking(
        Media(data=PNG[::-1], mime_type="image/png"),
        Media(data=b"inline"),
        Media(data=PNG, mime_type="image/png"),
        Media(uri="gs://bucket/film.mp4", mime_type="video/mp4"),
    )
    assert resolved == expected


async def test_items_to_embed_too(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        items = [EmbedItem(text="x"), EmbedItem(media=Media(name=given.upload))]
        resolved = await given.resolve(EmbedRequest(items=items))
        with pytest.raises(NotFound) as caught:
            await given.resolve(EmbedRequest(items=[items[0], EmbedItem(media=Media(name=UNKNOWN))]))
    assert resolved == EmbedRequest(items=[items[0], EmbedItem(media=Media(data=PNG[::-1]))])
    assert caught.value.field == "items[1].media.name"


async def test_where_nothing_is_to_be_loaded_the_request_is_not_copied(tmp_path: Path) -> None:
    request = asking(Media(data=b"inline"), Media(uri="gs://bucket/film.mp4"))
    async with scene(tmp_path) as given:
        assert await given.resolve(request) is request


async def test_what_is_named_twice_is_loaded_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        address = Media(uri=f"{given.web.url}/picture")
        resolved = await given.resolve(asking(address, address, Media(name=given.upload), Media(name=given.upload)))
    assert len(given.web.fetched) == 1
    assert [part.media.data for part in resolved.messages[1].parts[1:]] == [PNG, PNG, PNG[::-1], PNG[::-1]]


@pytest.mark.parametrize(
    ("media", "error", "field", "told"),
    [
        (Media(name=UNKNOWN), NotFound, "name", "upload the file"),
        (Media(name="media/x"), InvalidArgument, "name", "64 digits"),
        (Media(name=f"{UNKNOWN}/../x"), InvalidArgument, "name", "64 digits"),
        (Media(uri="s3://bucket/x"), InvalidArgument, "uri", "https://"),
        (Media(uri="file:///etc/passwd"), InvalidArgument, "uri", "https://"),
        (Media(uri="picture.png"), InvalidArgument, "uri", "https://"),
        (Media(uri="https://127.0.0.1/"), InvalidArgument, "uri", "none that is public"),
    ],
)
async def test_a_media_that_leads_nowhere_is_named(
    tmp_path: Path, media: Media, error: type[ChiasmError], field: str, told: str
) -> None:
    async with scene(tmp_path) as given:
        with pytest.raises(error, match=told) as caught:
            await given.resolve(asking(Media(name=given.upload), media))
    assert caught.value.field == f"messages[1].parts[2].media.{field}"


async def test_another_tenants_upload_is_no_upload(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        told = []
        for name in (given.upload, UNKNOWN):
            with pytest.raises(NotFound) as caught:
                await given.resolve(asking(Media(name=name)), tenant="two")
            told.append((caught.value.message, caught.value.field, caught.value.reason))
    assert told[0] == told[1]


async def test_one_media_and_the_whole_request_are_bounded(tmp_path: Path) -> None:
    async with scene(tmp_path, max_media_bytes=len(PNG) - 1) as given:
        for media, kind in ((Media(name=given.upload), "name"), (Media(uri=f"{given.web.url}/endless"), "uri")):
            with pytest.raises(InvalidArgument, match="the media has more") as caught:
                await given.resolve(asking(media))
            assert caught.value.field == f"messages[1].parts[1].media.{kind}"
    request = asking(Media(name=given.upload), Media(data=bytes(1_000)))
    most = len(PNG) + len(request.SerializeToString()) + 100
    async with scene(tmp_path, max_request_bytes=most) as given:
        resolved = await given.resolve(request)
        assert len(resolved.SerializeToString()) <= most
    async with scene(tmp_path, max_request_bytes=most - 200) as given:
        with pytest.raises(InvalidArgument, match="the request, with the media"):
            await given.resolve(request)


async def test_more_media_than_are_loaded_are_refused(tmp_path: Path) -> None:
    async with scene(tmp_path, max_media=2) as given:
        addresses = [Media(uri=f"{given.web.url}/picture?{i}") for i in range(3)]
        with pytest.raises(InvalidArgument, match="more than 2 media") as caught:
            await given.resolve(asking(*addresses))
    assert caught.value.field == "messages[1].parts[3].media.uri"
    assert given.web.fetched == []


async def test_every_reference_counts_even_to_the_same_media(tmp_path: Path) -> None:
    async with scene(tmp_path, max_media=2) as given:
        with pytest.raises(InvalidArgument, match="more than 2 media") as caught:
            await given.resolve(asking(*[Media(name=given.upload)] * 3))
    assert caught.value.field == "messages[1].parts[3].media.name"


@pytest.mark.parametrize("kind", ["name", "uri"])
async def test_a_media_takes_its_room_at_every_reference(tmp_path: Path, kind: str) -> None:
    async with scene(tmp_path, max_request_bytes=3 * len(PNG) + 1_000) as given:
        media = Media(name=given.upload) if kind == "name" else Media(uri=f"{given.web.url}/picture")
        resolved = await given.resolve(asking(*[media] * 3))
        assert [len(part.media.data) for part in resolved.messages[1].parts[1:]] == [len(PNG)] * 3
        with pytest.raises(InvalidArgument, match="the request, with the media") as caught:
            await given.resolve(asking(*[media] * 5))
    assert caught.value.field == f"messages[1].parts[4].media.{kind}"


async def test_the_deadline_ends_it_and_whatever_runs(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        slow = asking(Media(uri=f"{given.web.url}/slow"), Media(uri=f"{given.web.url}/silent"))
        with pytest.raises(DeadlineExceeded):
            await given.resolve(slow, timeout_s=0.2)
        await asyncio.wait_for(given.web.hung_up.wait(), 20)


async def test_the_first_failure_ends_the_others(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        with pytest.raises(NotFound):
            await given.resolve(asking(Media(uri=f"{given.web.url}/silent"), Media(name=UNKNOWN)))


async def test_a_request_waits_its_turn_until_its_deadline(tmp_path: Path) -> None:
    async with scene(tmp_path, max_requests=1) as given:
        picture = asking(Media(uri=f"{given.web.url}/picture"))
        async with stuck(given, 1):
            with pytest.raises(DeadlineExceeded):
                await given.resolve(picture, timeout_s=0.1)
        assert await given.resolve(picture) == asking(Media(data=PNG))


async def test_uploads_do_not_wait_for_the_web(tmp_path: Path) -> None:
    async with scene(tmp_path, max_requests=1) as given, stuck(given, 1):
        assert await given.resolve(asking(Media(name=given.upload))) == asking(Media(data=PNG[::-1]))


async def test_one_tenant_leaves_turns_to_others(tmp_path: Path) -> None:
    async with scene(tmp_path, max_requests=4) as given:
        picture = asking(Media(uri=f"{given.web.url}/picture"))
        async with stuck(given, 5, fetching=1):
            with pytest.raises(DeadlineExceeded):
                await given.resolve(picture, timeout_s=0.1)
            assert await given.resolve(picture, tenant="two", timeout_s=5) == asking(Media(data=PNG))


@asynccontextmanager
async def stuck(given: Scene, requests: int, *, fetching: int | None = None) -> AsyncIterator[None]:
    """So many requests of the tenant `one`, of which so many, or all, have reached a server that never answers."""
    silent = asking(Media(uri=f"{given.web.url}/silent"))
    running = [asyncio.create_task(given.resolve(silent)) for _ in range(requests)]
    try:
        async with asyncio.timeout(20):
            while len(given.web.fetched) < (fetching or requests):  # noqa: ASYNC110 - they have begun
                await asyncio.sleep(0.001)
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("item", ["generate", "embed"])
async def test_objects_of_the_provider_are_the_tenants_own(tmp_path: Path, item: str) -> None:
    media = Media(uri="gs://theirs/film.mp4")
    if item == "generate":
        request, field = asking(Media(data=b"inline"), media), "messages[1].parts[2].media.uri"
    else:
        request, field = EmbedRequest(items=[EmbedItem(media=media)]), "items[0].media.uri"
    tenant = TenantPolicy(name="one", buckets=("ours/*", "shared/one-*"))
    async with scene(tmp_path) as given:
        assert await given.resolve(request) is request  # any, where nobody says otherwise
        with pytest.raises(PermissionDenied, match="gs://") as caught:
            await given.resolve(request, may_read=tenant.may_read)
        assert caught.value.field == field
        for uri in ("gs://ours/a/film.mp4", "gs://shared/one-film.mp4"):
            own = asking(Media(uri=uri))
            assert await given.resolve(own, may_read=tenant.may_read) is own
