"""EmbeddingService, SearchService and ClassificationService through a gateway."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from chiasm import AsyncClient
from chiasm.v1 import (
    classification_pb2,
    classification_pb2_grpc,
    embedding_pb2,
    embedding_pb2_grpc,
    media_pb2,
    media_service_pb2,
    media_service_pb2_grpc,
    models_pb2,
    search_pb2,
    search_pb2_grpc,
)
from services.gateway.tenants.keys import digest
from services.runtime.channel import open_channel
from tests.client.scripted import fail
from tests.client.scripted_embedder import Context, ScriptedEmbedder, hit, serving_embedder
from tests.gateway.embedders.scene import Scene, scene

DATA = b"\x89PNG\r\n\x1a\n and what follows"
NAME = f"media/sha256-{hashlib.sha256(DATA).hexdigest()}"
UNKNOWN = media_pb2.Media(name=f"media/sha256-{'0' * 64}")
COLLECTION = "collections/one"


def told(error: grpc.aio.AioRpcError) -> tuple[str, str, str]:
    """Code, reason and field."""
    info, bad = ErrorInfo(), BadRequest()
    for detail in rpc_status.from_call(error).details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return error.code().name, info.reason, bad.field_violations[0].field if bad.field_violations else ""


async def upload(given: Scene) -> None:
    async with AsyncClient(given.address) as client:
        assert (await client.upload(DATA)).name == NAME


def search(given: Scene) -> search_pb2_grpc.SearchServiceStub:
    return search_pb2_grpc.SearchServiceStub(given.channel)


async def test_calls_reach_the_embedder_with_bytes_names_tenant_and_what_is_left_of_their_time(tmp_path: Path) -> None:
    media = media_pb2.Media(name=NAME)
    terms = {"timeout": 7, "metadata": [("chiasm-tenant", "acme")]}
    async with scene(tmp_path) as given:
        media_service = media_service_pb2_grpc.MediaServiceStub(given.channel)
        await media_service.Upload(iter([media_service_pb2.UploadRequest(data=DATA)]), **terms)
        embed = embedding_pb2_grpc.EmbeddingServiceStub(given.channel).Embed
        classify = classification_pb2_grpc.ClassificationServiceStub(given.channel).Classify
        await embed(embedding_pb2.EmbedRequest(items=[embedding_pb2.EmbedItem(media=media)]), **terms)
        await classify(classification_pb2.ClassifyRequest(image=media, labels=["a cat"]), **terms)
        given.embedder.hits = [hit("a.png")]
        found = await search(given).Search(
            search_pb2.SearchRequest(collection=COLLECTION, image=media, request_id="mine"), **terms
        )
        embedded, classified, searched = given.embedder.requests
    assert [each.document_id for each in found.hits] == ["a.png"]
    assert embedded.items[0].media.data == classified.image.data == searched.image.data == DATA
    assert embedded.request_id
    assert searched.request_id == "mine"
    assert {metadata["chiasm-tenant"] for metadata in given.embedder.metadata} == {"acme"}
    assert all(0 < left <= 7.5 for left in given.embedder.remaining_s)  # gRPC rounds timeouts up as it writes them


async def test_the_embedders_models_are_listed(tmp_path: Path) -> None:
    async with scene(tmp_path) as given, AsyncClient(given.address) as client, asyncio.timeout(30):
        while len(models := await client.models()) < 2:  # noqa: ASYNC110 - the gateway looks now and then
            await asyncio.sleep(0.01)
        assert [model.name for model in models] == ["models/tiny", "models/tiny-siglip"]
        assert (await client.model("tiny-siglip")).name == "models/tiny-siglip"


async def test_collections_are_passed_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        stub = search(given)
        made = await stub.CreateCollection(
            search_pb2.CreateCollectionRequest(collection=search_pb2.Collection(name=COLLECTION))
        )
        assert made.collection.model == "models/tiny-siglip"
        assert (await stub.GetCollection(search_pb2.GetCollectionRequest(name=COLLECTION))).collection.name
        assert len((await stub.ListCollections(search_pb2.ListCollectionsRequest())).collections) == 1
        await stub.DeleteDocuments(search_pb2.DeleteDocumentsRequest(collection=COLLECTION, document_ids=["a"]))
        await stub.DeleteCollection(search_pb2.DeleteCollectionRequest(name=COLLECTION))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetCollection(search_pb2.GetCollectionRequest(name=COLLECTION))
    assert told(caught.value)[:2] == ("NOT_FOUND", "COLLECTION_NOT_FOUND")


@asynccontextmanager
async def two_replicas(folder: Path, **settings: object) -> AsyncIterator[tuple[Scene, list[ScriptedEmbedder]]]:
    """Once the gateway has seen both."""
    async with serving_embedder() as one, serving_embedder() as two:
        two.models = [models_pb2.Model(name="models/of-two", ready=True)]
        async with (
            scene(folder, embedder_targets=(one.address, two.address), **settings) as given,
            AsyncClient(given.address) as client,
            asyncio.timeout(30),
        ):
            while len(await client.models()) < 3:  # noqa: ASYNC110 - the gateway looks now and then
                await asyncio.sleep(0.01)
            yield given, [one, two]


async def test_replicas_take_turns_but_a_collection_is_always_of_the_same(tmp_path: Path) -> None:
    item = embedding_pb2.EmbedItem(text="x")
    async with two_replicas(tmp_path) as (given, replicas):
        for _ in range(6):
            await embedding_pb2_grpc.EmbeddingServiceStub(given.channel).Embed(embedding_pb2.EmbedRequest(items=[item]))
        assert [len(replica.requests) for replica in replicas] == [3, 3]
        numbers = itertools.count()
        while not all(replica.collections for replica in replicas):
            name = f"collections/{next(numbers)}"
            made = search_pb2.CreateCollectionRequest(collection=search_pb2.Collection(name=name))
            await search(given).CreateCollection(made)
            document = search_pb2.IndexRequest(collection=name, document=search_pb2.Document(id="a", text="a"))
            assert (await search(given).Index(iter([document])).read()).indexed.entry_count == 1
            await search(given).GetCollection(search_pb2.GetCollectionRequest(name=name))
            await search(given).Search(search_pb2.SearchRequest(collection=name, text="x"))
            gone = search_pb2.DeleteDocumentsRequest(collection=name, document_ids=["a"])
            assert (await search(given).DeleteDocuments(gone)).deleted_count == 1
    for replica in replicas:
        assert (len(replica.requests) - 3) == 5 * len(replica.collections)


async def names_of_each(given: Scene, replicas: list[ScriptedEmbedder]) -> list[str]:
    """Collections, of which each replica is asked for some; the replicas' requests are forgotten."""
    names = []
    while not all(replica.requests for replica in replicas):
        names.append(f"collections/{len(names)}")
        await search(given).Search(search_pb2.SearchRequest(collection=names[-1], text="x"))
    for replica in replicas:
        replica.requests.clear()
    return names


def gone() -> tuple[Callable[[Context], Awaitable[None]], list[Context]]:
    """What a replica does that is lost, and the calls it had: of one that the channel tries again the first."""
    calls: list[Context] = []

    async def is_gone(context: Context) -> None:
        if "grpc-previous-rpc-attempts" not in dict(context.invocation_metadata()):
            calls.append(context)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    return is_gone, calls


async def search_all(given: Scene, names: list[str]) -> None:
    for name in names:
        await search(given).Search(search_pb2.SearchRequest(collection=name, text="x"))


async def test_one_that_is_lost_is_asked_no_more_until_it_is_seen_again(tmp_path: Path) -> None:
    is_gone, calls = gone()

    async with two_replicas(tmp_path, refresh_s=600) as (given, (first, second)):
        names = await names_of_each(given, [first, second])
        first.before = is_gone
        await search_all(given, names)
        assert len(calls) == 1
        assert len(second.requests) == len(names)
    (folder := tmp_path / "again").mkdir()
    async with two_replicas(folder) as (given, (first, second)):
        names = await names_of_each(given, [first, second])
        first.before = is_gone
        while len(calls) < 3:
            await search_all(given, names)


async def test_one_that_lacks_its_storage_for_a_while_is_not_lost(tmp_path: Path) -> None:
    async def no_storage(context: Context) -> None:
        await fail(context, grpc.StatusCode.UNAVAILABLE, "not now", "INDEX_UNAVAILABLE")

    async def as_ever(context: Context) -> None:
        return

    async with two_replicas(tmp_path, refresh_s=600) as (given, replicas):
        first = replicas[0]
        names = await names_of_each(given, replicas)
        await search_all(given, names)
        its_own = len(first.requests)
        first.before = no_storage
        await search_all(given, names)
        first.before = as_ever
        first.requests.clear()
        await search_all(given, names)
        assert len(first.requests) == its_own


async def test_what_was_tried_again_here_is_not_tried_again_by_the_callers_channel(tmp_path: Path) -> None:
    is_gone, calls = gone()

    async with (
        two_replicas(tmp_path, refresh_s=600) as (given, replicas),
        open_channel(given.address, max_message_bytes=2**20, service=None) as retrying,
    ):
        for replica in replicas:
            replica.before = is_gone
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search_pb2_grpc.SearchServiceStub(retrying).Search(
                search_pb2.SearchRequest(collection=COLLECTION, text="x")
            )
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(calls) == len(replicas)


async def test_what_changes_a_collection_is_not_tried_at_another(tmp_path: Path) -> None:
    async def is_gone(context: Context) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    async with two_replicas(tmp_path) as (given, replicas):
        for replica in replicas:
            replica.before = is_gone
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(given).DeleteCollection(search_pb2.DeleteCollectionRequest(name=COLLECTION))
        assert sum(len(replica.requests) for replica in replicas) == 1
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_gateway_that_has_an_embedder_alone_is_ready_as_long_as_it_has(tmp_path: Path) -> None:
    name = "chiasm.v1.SearchService"
    async with scene(tmp_path, ready=name, targets=("127.0.0.1:1",)) as given, asyncio.timeout(30):
        health = health_pb2_grpc.HealthStub(given.channel)
        generation = await health.Check(health_pb2.HealthCheckRequest(service="chiasm.v1.GenerationService"))
        assert generation.status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(service=name))
        while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        given.embedder.models.clear()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_without_an_embedder_every_call_says_what_to_set(tmp_path: Path) -> None:
    async with scene(tmp_path, embedder_targets=()) as given:
        embedding = embedding_pb2_grpc.EmbeddingServiceStub(given.channel)
        item = embedding_pb2.EmbedItem(text="x")
        calls = [
            embedding.Embed(embedding_pb2.EmbedRequest(items=[item])),
            embedding.EmbedStream(iter([embedding_pb2.EmbedStreamRequest(item=item)])).read(),
            search(given).Search(search_pb2.SearchRequest(collection=COLLECTION, text="x")),
            search(given).Ask(search_pb2.AskRequest(search=search_pb2.SearchRequest(text="x"))),
            search(given).ListCollections(search_pb2.ListCollectionsRequest()),
        ]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError, match="CHIASM_GATEWAY_EMBEDDER_TARGETS") as caught:
                await call
            assert told(caught.value)[:2] == ("FAILED_PRECONDITION", "SEARCH_NOT_CONFIGURED")


async def test_while_it_is_not_known_what_is_served_no_model_is_chosen(tmp_path: Path) -> None:
    request = embedding_pb2.EmbedRequest(items=[embedding_pb2.EmbedItem(text="x")])
    async with scene(tmp_path) as given, AsyncClient(given.address) as client, asyncio.timeout(30):
        given.embedder.models.clear()
        while "models/tiny-siglip" in {model.name for model in await client.models()}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError, match="no embedder is ready yet") as caught:
            await embedding_pb2_grpc.EmbeddingServiceStub(given.channel).Embed(request)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_the_embedder_says_is_passed_on_and_its_faults_are_not(tmp_path: Path) -> None:
    async def refuse(context: Context) -> None:
        await fail(context, grpc.StatusCode.FAILED_PRECONDITION, "another model", "MODEL_MISMATCH", field="model")

    async def break_down(context: Context) -> None:
        raise RuntimeError("secret of the embedder")

    async with scene(tmp_path) as given:
        given.embedder.before = refuse
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(given).Search(search_pb2.SearchRequest(collection=COLLECTION, text="x"))
        assert told(caught.value) == ("FAILED_PRECONDITION", "MODEL_MISMATCH", "model")
        given.embedder.before = break_down
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(given).Search(search_pb2.SearchRequest(collection=COLLECTION, text="x"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (UNKNOWN, ("NOT_FOUND", "MEDIA_NOT_FOUND", "image.name")),
        (media_pb2.Media(uri="https://127.0.0.1/x"), ("INVALID_ARGUMENT", "MEDIA_NOT_FETCHED", "image.uri")),
    ],
)
async def test_a_media_that_leads_nowhere_is_named(
    tmp_path: Path, image: media_pb2.Media, says: tuple[str, str, str]
) -> None:
    async with scene(tmp_path) as given:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(given).Search(search_pb2.SearchRequest(collection=COLLECTION, image=image))
        assert given.embedder.requests == []
    assert told(caught.value) == says


async def test_an_upload_that_is_too_large_is_named_with_the_limit(tmp_path: Path) -> None:
    async with scene(tmp_path, max_media_bytes=len(DATA) - 1) as given:
        await upload(given)
        request = search_pb2.SearchRequest(collection=COLLECTION, image=media_pb2.Media(name=NAME))
        with pytest.raises(grpc.aio.AioRpcError, match=f"more than {len(DATA) - 1} bytes") as caught:
            await search(given).Search(request)
    assert told(caught.value) == ("INVALID_ARGUMENT", "MEDIA_SIZE", "image.name")


async def test_bytes_in_flight_are_bounded(tmp_path: Path) -> None:
    """Of a single call more than ever fits is refused for good, naming its field."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("admission: {max_bytes: 100}")
    async with scene(tmp_path, policy_file=policy) as given:
        image = media_pb2.Media(data=bytes(200))
        with pytest.raises(grpc.aio.AioRpcError, match="takes on 100 at once") as caught:
            await search(given).Search(search_pb2.SearchRequest(collection=COLLECTION, image=image))
    assert told(caught.value) == ("INVALID_ARGUMENT", "MEDIA_SIZE", "image")


async def test_items_of_streams_wait_for_room_and_single_calls_do_not(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("admission: {max_bytes: 1000}")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(context: Context) -> None:
        begun.set()
        await go_on.wait()

    image = media_pb2.Media(data=bytes(700))
    async with scene(tmp_path, policy_file=policy) as given, asyncio.timeout(30):
        given.embedder.before = wait
        first = asyncio.ensure_future(
            search(given).Search(search_pb2.SearchRequest(collection=COLLECTION, image=image))
        )
        await begun.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(given).Search(search_pb2.SearchRequest(collection=COLLECTION, image=image))
        assert told(caught.value)[:2] == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        stream = search(given).Index(
            iter(
                [
                    search_pb2.IndexRequest(collection=COLLECTION, document=search_pb2.Document(id="a", media=media))
                    for media in (UNKNOWN, image)
                ]
            )
        )
        waiting = asyncio.ensure_future(stream.read())
        while not given.room.waiting:  # noqa: ASYNC110 - it says nothing as it comes
            await asyncio.sleep(0.01)
        assert not waiting.done()
        go_on.set()
        await first
        assert (await waiting).HasField("error")  # what is not there is not even looked for before there is room
        assert (await stream.read()).indexed.entry_count == 1


async def test_a_caller_that_leaves_ends_the_call_behind_the_gateway(tmp_path: Path) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def never(context: Context) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with scene(tmp_path) as given, asyncio.timeout(30):
        given.embedder.before = never
        call = search(given).Search(search_pb2.SearchRequest(collection=COLLECTION, text="x"))
        await begun.wait()
        call.cancel()
        await ended.wait()
        begun.clear()
        ended.clear()
        stream = search(given).Index(_endless())
        await begun.wait()
        stream.cancel()
        await ended.wait()


async def _endless() -> AsyncIterator[search_pb2.IndexRequest]:
    yield search_pb2.IndexRequest(collection=COLLECTION)
    await asyncio.Event().wait()


async def test_a_tenants_models_hold(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "tenants:\n"
        f"  - {{name: one, models: [models/tiny-siglip], api_keys: ['{digest('chk_one')}']}}\n"
        f"  - {{name: none, models: [], api_keys: ['{digest('chk_none')}']}}\n"
        f"  - {{name: all, api_keys: ['{digest('chk_all')}']}}\n"
    )
    request = embedding_pb2.EmbedRequest(items=[embedding_pb2.EmbedItem(text="x")])
    named = embedding_pb2.EmbedRequest(items=request.items, model="models/tiny-colpali")
    async with scene(tmp_path, policy_file=policy) as given, asyncio.timeout(30):
        given.embedder.models.append(models_pb2.Model(name="models/tiny-colpali", ready=True))
        embed = embedding_pb2_grpc.EmbeddingServiceStub(given.channel).Embed

        def by(tenant: str) -> list[tuple[str, str]]:
            return [("authorization", f"Bearer chk_{tenant}")]

        async with AsyncClient(given.address, api_key="chk_all") as client:
            while "models/tiny-colpali" not in {model.name for model in await client.models()}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await embed(request, metadata=by("one"))
        assert given.embedder.requests[-1].model == "models/tiny-siglip"
        await embed(request, metadata=by("all"))
        assert given.embedder.requests[-1].model == ""
        assert given.embedder.metadata[-1]["chiasm-tenant"] == "all"
        assert "authorization" not in given.embedder.metadata[-1]
        for tenant, asked, code in (("one", named, "NOT_FOUND"), ("none", request, "PERMISSION_DENIED")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await embed(asked, metadata=by(tenant))
            assert told(caught.value)[0] == code
        collection = search_pb2.Collection(name=COLLECTION, model="models/tiny-colpali")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(given).CreateCollection(
                search_pb2.CreateCollectionRequest(collection=collection), metadata=by("one")
            )
    assert told(caught.value) == ("NOT_FOUND", "MODEL_NOT_FOUND", "collection.model")


async def test_a_tenants_models_hold_for_its_collections_too(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        f"tenants:\n  - {{name: one, models: [models/tiny-siglip], api_keys: ['{digest('chk_one')}']}}\n"
        f"  - {{name: all, api_keys: ['{digest('chk_all')}']}}\n"
    )
    document = search_pb2.Document(id="a", text="a")
    async with scene(tmp_path, policy_file=policy) as given:
        for name, model in (("its", "models/tiny-siglip"), ("other", "models/tiny-colpali")):
            of_model = search_pb2.Collection(name=f"collections/{name}", model=model)
            given.embedder.collections[of_model.name] = of_model

        async def searched(name: str, tenant: str) -> None:
            request = search_pb2.SearchRequest(collection=name, text="x")
            await search(given).Search(request, metadata=[("authorization", f"Bearer chk_{tenant}")])

        async def indexed(name: str, tenant: str) -> None:
            requests = iter([search_pb2.IndexRequest(collection=name, document=document)])
            await search(given).Index(requests, metadata=[("authorization", f"Bearer chk_{tenant}")]).read()

        for method in (searched, indexed):
            await method("collections/its", "one")
            await method("collections/other", "all")
            asked = len(given.embedder.requests)
            for name, reason, field in (
                ("collections/other", "MODEL_NOT_FOUND", "collection"),
                ("collections/none", "COLLECTION_NOT_FOUND", ""),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await method(name, "one")
                assert told(caught.value) == ("NOT_FOUND", reason, field)
            assert {type(request) for request in given.embedder.requests[asked:]} == {search_pb2.GetCollectionRequest}
