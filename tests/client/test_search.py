"""Collections and search through the sync and async clients against a scripted embedder."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

import chiasm
from chiasm import Comparison, Condition, Document, FieldType, Hit, Indexed, Precision, SearchMode, item_streams
from chiasm.images import image_bytes
from chiasm.v1 import embedding_pb2, generation_pb2, search_pb2, usage_pb2
from tests.client.scripted import fail
from tests.client.scripted_embedder import Context, ScriptedEmbedder, hit, moment, serving_embedder

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
METADATA = {"colour": "red", "count": 3, "share": 0.5, "round": True, "seen": NOW}
FIELDS = dict(zip(METADATA, FieldType, strict=True))


@pytest.fixture
async def embedder() -> AsyncIterator[ScriptedEmbedder]:
    async with serving_embedder() as scripted:
        yield scripted


def documents(picture: Path) -> list[Document]:
    return [
        Document("a.png", media=picture, caption="a red circle", metadata=METADATA),
        Document("b.txt", text="a blue square"),
        Document("bad", text="bad"),
        Document("gone.png", media=picture.with_name("gone.png")),
        Document("c", media="https://example.com/c.png"),
    ]


def check_outcomes(outcomes: list[Indexed]) -> None:
    by_id = {outcome.document_id: outcome for outcome in outcomes}
    assert {name: outcome.index for name, outcome in by_id.items()} == {
        "a.png": 0,
        "b.txt": 1,
        "bad": 2,
        "gone.png": 3,
        "c": 4,
    }
    assert [name for name, outcome in by_id.items() if outcome.error is None] == ["a.png", "b.txt", "c"]
    assert isinstance(by_id["bad"].error, chiasm.InvalidArgument)
    assert by_id["bad"].error.reason == "MEDIA_CORRUPT"
    assert isinstance(by_id["gone.png"].error, FileNotFoundError)


def check_indexed(embedder: ScriptedEmbedder, picture: Path) -> None:
    kept = embedder.documents["collections/one"]
    assert kept["a.png"].media.data == picture.read_bytes()
    assert (kept["a.png"].caption, kept["b.txt"].text) == ("a red circle", "a blue square")
    assert kept["c"].media.uri == "https://example.com/c.png"
    value = kept["a.png"].metadata
    assert (value["colour"].string_value, value["count"].integer_value, value["share"].number_value) == ("red", 3, 0.5)
    assert value["round"].WhichOneof("kind") == "boolean_value"
    assert value["seen"].timestamp_value.ToDatetime(UTC) == NOW


async def test_a_collection_from_its_making_to_its_end(embedder: ScriptedEmbedder, picture: Path) -> None:
    async with chiasm.AsyncClient(embedder.address) as client:
        made = await client.create_collection(
            "one", model="tiny", precision=Precision.INT8, pool_factor=3, fields=FIELDS
        )
        assert (made.name, made.model, made.pool_factor, made.fields) == ("collections/one", "models/tiny", 3, FIELDS)
        outcomes = [outcome async for outcome in client.index("one", documents(picture))]
        again = [outcome async for outcome in client.index("collections/one", documents(picture)[:2])]
        counted = await client.get_collection("one")
        await client.create_collection("two")
        names = [collection.name for collection in await client.list_collections()]
        assert await client.delete_documents("one", ["a.png", "absent"]) == 1
        await client.delete_collection("one")
        with pytest.raises(chiasm.NotFound) as caught:
            await client.get_collection("one")
    request = embedder.requests[0].collection
    assert (request.precision, request.pool_factor) == (search_pb2.PRECISION_INT8, 3)
    assert [field.type for field in request.fields] == [1, 2, 3, 4, 5]
    check_outcomes(outcomes)
    assert [outcome.unchanged for outcome in again] == [True, True]
    assert (counted.documents, counted.entries, counted.max_staleness_s) == (3, 3, 5)
    assert counted.index == chiasm.IndexState(0, 3, None, None)
    assert names == ["collections/one", "collections/two"]
    assert caught.value.reason == "COLLECTION_NOT_FOUND"


async def test_the_sync_client_does_the_same(embedder: ScriptedEmbedder, picture: Path) -> None:
    def use() -> list[Indexed]:
        with chiasm.Client(embedder.address) as client:
            client.create_collection("one", fields=FIELDS)
            outcomes = list(client.index("one", documents(picture)))
            assert client.get_collection("one").documents == 3
            assert [collection.name for collection in client.list_collections()] == ["collections/one"]
            assert client.search("one", image=picture).hits == ()
            check_indexed(embedder, picture)
            assert client.delete_documents("one", ["c"]) == 1
            client.delete_collection("one")
        return outcomes

    check_outcomes(await asyncio.to_thread(use))


async def test_many_items_go_through_many_streams(embedder: ScriptedEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose time to be fed is over has taken an item, and another follows."""
    monkeypatch.setattr(item_streams, "FED_SHARE", 0.0)
    fed = [Document(str(number), text="x") for number in range(5)]

    def use() -> list[Indexed]:
        with chiasm.Client(embedder.address) as client:
            return list(client.index("one", fed))

    async with chiasm.AsyncClient(embedder.address) as client:
        outcomes = [outcome async for outcome in client.index("one", fed)]
    assert len(embedder.metadata) == 6
    for each in (outcomes, await asyncio.to_thread(use)):
        assert [(outcome.document_id, outcome.index) for outcome in each] == [(str(n), n) for n in range(5)]


async def test_items_without_a_request_are_told_of_before_they_pile_up(
    embedder: ScriptedEmbedder, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_streams, "MOST_REFUSALS", 2)
    fed = [Document(str(number), media=picture.with_name("gone.png")) for number in range(10)]

    def use() -> list[Indexed]:
        with chiasm.Client(embedder.address) as client:
            return list(client.index("one", fed))

    async with chiasm.AsyncClient(embedder.address) as client:
        outcomes = [outcome async for outcome in client.index("one", fed)]
    assert len(embedder.metadata) == 6
    for each in (outcomes, await asyncio.to_thread(use)):
        assert [outcome.index for outcome in each] == list(range(10))


async def test_what_documents_raise_is_raised(embedder: ScriptedEmbedder) -> None:
    def broken() -> Iterator[Document]:
        yield Document("a", text="x")
        raise LookupError("no more")

    def use() -> None:
        with chiasm.Client(embedder.address) as client:
            outcomes = client.index("one", broken())
            assert next(outcomes).document_id == "a"
            with pytest.raises(LookupError, match="no more"):
                next(outcomes)

    await asyncio.to_thread(use)
    async with chiasm.AsyncClient(embedder.address) as client:
        outcomes = client.index("one", broken())
        assert (await anext(outcomes)).unchanged
        with pytest.raises(LookupError, match="no more"):
            await anext(outcomes)


async def test_a_stream_that_fails_is_an_error(embedder: ScriptedEmbedder) -> None:
    async def refuse(context: Context) -> None:
        await fail(context, grpc.StatusCode.NOT_FOUND, "there is none", "COLLECTION_NOT_FOUND")

    embedder.before_each = refuse
    async with chiasm.AsyncClient(embedder.address) as client:
        with pytest.raises(chiasm.NotFound):
            await anext(client.index("one", [Document("a", text="x")]))


async def test_a_search_and_what_it_finds(embedder: ScriptedEmbedder, picture: Path) -> None:
    page = hit("report.pdf", 7.5, text="first", picture=b"jpeg", page=3)
    page.metadata["count"].integer_value = 4
    page.metadata["seen"].timestamp_value.FromDatetime(NOW)
    heat = embedding_pb2.Tensor(data=b"\0\0\0\0\0\0\x80?" * 2, dtype=embedding_pb2.DATA_TYPE_FLOAT32, shape=[2, 2])
    page.explanation.words.add(word="red", score=0.5, heat=heat)
    embedder.hits = [page, moment(hit("film.mp4", 7.0), 12, 15)]
    where = [
        Condition("colour", Comparison.NOT_IN, ["red", "blue"]),
        [Condition("count", Comparison.AT_LEAST, [2]), Condition("round", Comparison.IN, [True])],
    ]
    data = image_bytes(picture)
    async with chiasm.AsyncClient(embedder.address) as client:
        found = await client.search(
            "one",
            "a red circle",
            picture,
            image_weight=0.25,
            mode=SearchMode.HYBRID,
            limit=2,
            where=where,
            exact=True,
            with_picture=True,
            explain=True,
            model="tiny",
            request_id="mine",
        )
    (request,) = embedder.requests
    assert (request.collection, request.text, request.image.data) == (
        "collections/one",
        "a red circle",
        data,
    )
    assert (request.mode, request.limit, request.image_weight) == (search_pb2.SEARCH_MODE_HYBRID, 2, 0.25)
    assert (request.exact, request.with_picture, request.explain, request.model) == (True, True, True, "models/tiny")
    clauses = request.filter.clauses
    assert [len(clause.conditions) for clause in clauses] == [1, 2]
    assert [value.string_value for value in clauses[0].conditions[0].values] == ["red", "blue"]
    assert clauses[1].conditions[0].comparison == search_pb2.COMPARISON_AT_LEAST
    first, second = found
    assert (found.model, found.revision, found.request_id) == ("models/tiny-siglip", "abc", "mine")
    assert (first.page, first.start_s, first.picture, first.width) == (3, None, b"jpeg", 224)
    assert first.metadata == {"count": 4, "seen": NOW}
    assert first.words[0].heat == ((0.0, 1.0), (0.0, 1.0))
    assert (second.page, second.start_s, second.end_s, second.picture) == (None, 12.0, 15.0, None)
    assert isinstance(found[0], Hit)


class Answering(ScriptedEmbedder):
    """Answers questions, as a gateway does."""

    async def Ask(self, request: search_pb2.AskRequest, context: Context) -> search_pb2.AskResponse:
        self.requests.append(request)
        return search_pb2.AskResponse(
            text="It is red. [1]",
            citations=[search_pb2.Citation(number=1, hit=hit("a.png"), quote="red")],
            dropped=[
                search_pb2.DroppedCitation(
                    number=9, reason=search_pb2.DROPPED_REASON_NO_SUCH_SOURCE, detail="4 sources were given"
                )
            ],
            confidence=0.75,
            usage=usage_pb2.Usage(input_tokens=9, cost_nanousd=1_250),
            route=generation_pb2.Route(attempts=[generation_pb2.Attempt(model="models/tiny", status="OK")]),
            request_id="request-1",
        )


async def test_an_answer_with_its_sources() -> None:
    async with serving_embedder(Answering()) as server, chiasm.AsyncClient(server.address) as client:
        answered = await client.ask_collection(
            "one", "what colour?", query="circle", search={"limit": 3}, model="tiny", max_tokens=20
        )
        (request,) = server.requests
        sync = await asyncio.to_thread(_ask, server.address)
    assert (request.search.collection, request.search.text, request.search.limit) == ("collections/one", "circle", 3)
    assert (request.question, request.model, request.config.max_tokens) == ("what colour?", "models/tiny", 20)
    assert sync == answered
    assert (answered.text, answered.confidence) == ("It is red. [1]", 0.75)
    (citation,), (dropped,) = answered.citations, answered.dropped
    assert (citation.number, citation.hit.document_id, citation.quote) == (1, "a.png", "red")
    assert (dropped.number, dropped.hit, dropped.reason) == (9, None, "no_such_source")
    assert answered.route.attempts[0].model == "models/tiny"
    assert answered.usage.cost_nanousd == 1_250


def _ask(address: str) -> chiasm.CitedAnswer:
    with chiasm.Client(address) as client:
        return client.ask_collection("one", "what colour?")


async def test_labels_of_a_picture(embedder: ScriptedEmbedder, picture: Path) -> None:
    async with chiasm.AsyncClient(embedder.address) as client:
        data = image_bytes(picture)
        found = await client.classify(picture, ["a cat", "a dog"], model="tiny", template="A photo of {}.")
        with pytest.raises(chiasm.InvalidArgument, match="put it into a list"):
            await client.classify(picture, "a cat")
    (request,) = embedder.requests
    assert (request.image.data, request.template, request.model) == (
        data,
        "A photo of {}.",
        "models/tiny",
    )
    assert [score.label for score in found.scores] == ["a cat", "a dog"]
    assert found.scores[0].probability == pytest.approx(0.9)
    assert found.mode is chiasm.LabelMode.INDEPENDENT


async def test_items_are_embedded_in_streams(embedder: ScriptedEmbedder, picture: Path) -> None:
    items = [
        chiasm.EmbedItem("a circle"),
        chiasm.EmbedItem(image=picture),
        chiasm.EmbedItem("bad"),
        chiasm.EmbedItem(image=picture.with_name("gone.png")),
    ]

    def use() -> list[chiasm.Embedded]:
        with chiasm.Client(embedder.address) as client:
            return list(client.embed_stream(items, model="tiny", pool_factor=2))

    async with chiasm.AsyncClient(embedder.address) as client:
        outcomes = [outcome async for outcome in client.embed_stream(items, model="tiny", pool_factor=2)]
    assert (embedder.requests[0].model, embedder.requests[0].vectors.pool_factor) == ("models/tiny", 2)
    for each in (outcomes, await asyncio.to_thread(use)):
        found = {outcome.index: outcome for outcome in each}
        assert found[0].embedding.tolist() == [1.0, 0.0]
        assert found[1].error is None
        assert isinstance(found[2].error, chiasm.InvalidArgument)
        assert isinstance(found[3].error, FileNotFoundError)
