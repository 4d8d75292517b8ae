"""SearchService over real sockets, before the tiny models and a real index."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2
from grpc_status import rpc_status

from chiasm.v1 import embedding_pb2, media_pb2, search_pb2
from models.world.tasks import caption
from tests.embedder.checkpoints import random_siglip
from tests.embedder.documents.files import cuts, film_of, pdf_saying
from tests.embedder.searching import Search, Value, condition, picture
from tests.embedder.streaming import field_of, status_of
from tests.pictures import scene_png

MODELS = Path(__file__).parents[2] / "models"
SIGLIP, COLPALI = MODELS / "tiny-siglip", MODELS / "tiny-colpali"
SCENES = {f"{seed}.png": scene_png(seed, 112, 112) for seed in range(12)}
PICTURES = {name: png for name, (_, png) in SCENES.items()}
CAPTIONS = {name: caption(scene) for name, (scene, _) in SCENES.items()}
Open = Callable[..., AbstractAsyncContextManager[Search]]


@pytest.fixture
def searching(serving, tmp_path: Path) -> Open:
    @asynccontextmanager
    async def searching(*models: Path, **settings: object) -> AsyncIterator[Search]:
        async with (
            serving(*(models or (SIGLIP,)), index_uri=str(tmp_path / "index"), **settings) as served,
            grpc.aio.insecure_channel(served.address) as channel,
        ):
            yield Search(channel)

    return searching


def documents(**metadata: Value) -> list[search_pb2.Document]:
    return [picture(name, png, CAPTIONS[name], **metadata) for name, png in PICTURES.items()]


def ids(response: search_pb2.SearchResponse) -> list[str]:
    return [hit.document_id for hit in response.hits]


async def test_pictures_are_found_by_text_by_picture_and_by_both(searching: Open) -> None:
    async with searching() as search:
        made = await search.create()
        assert [r.WhichOneof("outcome") for r in await search.index(documents())] == ["indexed"] * len(PICTURES)
        for name, png in PICTURES.items():
            by_image = await search.search(image=media_pb2.Media(data=png), limit=3)
            assert by_image.hits[0].document_id == name
            assert by_image.hits[0].score == pytest.approx(1, abs=1e-3)
        by_text = await search.search(CAPTIONS["3.png"], limit=12)
        both = await search.search(CAPTIONS["3.png"], image=media_pb2.Media(data=PICTURES["3.png"]), limit=1)
        state = await search.get()
    scores = [hit.score for hit in by_text.hits]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 12
    assert ids(both) == ["3.png"]
    assert (state.document_count, state.entry_count) == (12, 12)
    assert (made.model, by_text.model) == ("models/tiny-siglip", "models/tiny-siglip")
    assert made.revision == by_text.revision


async def test_scores_are_the_dot_products_of_what_embed_gives(searching: Open, serving) -> None:
    async with searching() as search:
        await search.create()
        await search.index(documents())
        found = await search.search("a red circle", limit=12)
    async with serving(SIGLIP) as served:
        embedded = await served.client.embed(["a red circle"], list(PICTURES.values()))
    text, *pictures = np.asarray(embedded)
    expected = dict(zip(PICTURES, np.stack(pictures) @ text, strict=True))
    assert {hit.document_id: hit.score for hit in found.hits} == pytest.approx(expected, abs=1e-5)


async def test_the_same_again_is_answered_at_once_and_a_change_replaces(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        await search.index(documents())
        again = await search.index(documents())
        changed = await search.index([picture("3.png", PICTURES["4.png"], "another")])
        found = await search.search(image=media_pb2.Media(data=PICTURES["4.png"]), limit=2)
        state = await search.get()
    assert all(response.indexed.unchanged for response in again)
    assert not changed[0].indexed.unchanged
    assert set(ids(found)) == {"3.png", "4.png"}
    assert (state.document_count, state.entry_count) == (12, 12)


async def test_of_one_id_in_a_stream_the_last_stays(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        await search.index([picture("one", png) for png in PICTURES.values()])
        found = await search.search(image=media_pb2.Media(data=PICTURES["11.png"]), limit=5)
    assert ids(found) == ["one"]
    assert found.hits[0].score == pytest.approx(1, abs=1e-3)


async def test_a_document_at_fault_is_told_and_the_others_go_on(searching: Open) -> None:
    broken = [
        picture("empty", b""),
        picture("cut", PICTURES["0.png"][:200]),
        picture("text", b"no picture at all"),
        search_pb2.Document(id="nothing"),
        picture("", PICTURES["0.png"]),
        picture("field", PICTURES["0.png"], colour=Value(string_value="red")),
        search_pb2.Document(id="blank", text=" "),
    ]
    async with searching() as search:
        await search.create()
        outcomes = await search.index([*broken, *documents()])
        state = await search.get()
    failed, fine = outcomes[: len(broken)], outcomes[len(broken) :]
    assert [outcome.document_id for outcome in failed] == [document.id for document in broken]
    for outcome in failed:
        status = status_of(outcome)
        assert status.code == code_pb2.INVALID_ARGUMENT, status
        assert field_of(status).startswith("document"), status
    assert all(outcome.HasField("indexed") for outcome in fine)
    assert state.document_count == len(PICTURES)


async def test_metadata_narrows_and_comes_back(searching: Open) -> None:
    fields = [
        search_pb2.Field(name="n", type=search_pb2.FIELD_TYPE_INTEGER),
        search_pb2.Field(name="word", type=search_pb2.FIELD_TYPE_STRING),
    ]
    marked = [
        picture(name, png, n=Value(integer_value=i), word=Value(string_value=f"it's {i % 3}"))
        for i, (name, png) in enumerate(PICTURES.items())
    ]
    async with searching() as search:
        await search.create(fields=fields)
        await search.index(marked)
        clauses = [
            condition("n", "AT_LEAST", Value(integer_value=6)),
            condition("word", "IN", Value(string_value="it's 0")),
        ]
        found = await search.search("a circle", clauses=clauses, limit=12)
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await search.search("a circle", clauses=[condition("colour", "IN", Value(string_value="red"))])
    assert sorted(ids(found)) == ["6.png", "9.png"]
    assert {hit.metadata["n"].integer_value for hit in found.hits} == {6, 9}
    assert unknown.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field_of(rpc_status.from_call(unknown.value)) == "filter.clauses[0].conditions[0].field"


async def test_words_and_hybrid_find_captions(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        await search.index(
            [picture("a", PICTURES["0.png"], "an aubergine"), picture("b", PICTURES["1.png"], "two pears")]
        )
        words = await search.search("aubergine", mode=search_pb2.SEARCH_MODE_WORDS)
        hybrid = await search.search("aubergine", mode=search_pb2.SEARCH_MODE_HYBRID)
        odd = await search.search('"(~aubergine* OR', mode=search_pb2.SEARCH_MODE_WORDS)
    assert ids(words) == ["a"]
    assert words.model == ""
    assert set(ids(hybrid)) == {"a", "b"}
    assert hybrid.hits[0].document_id == "a"
    assert ids(odd) == ["a"]


async def test_texts_are_found_by_a_picture(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        await search.index([search_pb2.Document(id=name, text=caption) for name, caption in CAPTIONS.items()])
        found = await search.search(image=media_pb2.Media(data=PICTURES["5.png"]), limit=12, with_picture=True)
    assert set(ids(found)) == set(CAPTIONS)
    assert not any(hit.HasField("picture") or hit.HasField("size") for hit in found.hits)
    assert next(hit.text for hit in found.hits if hit.document_id == "5.png") == CAPTIONS["5.png"]


async def test_a_page_is_explained_word_by_word(searching: Open) -> None:
    async with searching(COLPALI) as search:
        made = await search.create(pool_factor=2, precision=search_pb2.PRECISION_INT8)
        await search.index(documents())
        found = await search.search("red circle", limit=3, explain=True)
    assert (made.pool_factor, made.precision) == (2, search_pb2.PRECISION_INT8)
    for hit in found.hits:
        assert not hit.HasField("picture")
        assert "circle" in "".join(word.word for word in hit.explanation.words)
        for word in hit.explanation.words:
            assert word.heat.dtype == embedding_pb2.DATA_TYPE_FLOAT32
            heat = np.frombuffer(word.heat.data, "<f4").reshape(word.heat.shape)
            assert heat.ndim == 2
            assert float(heat.max()) == pytest.approx(word.score, abs=1e-5)
            assert np.abs(heat).max() <= 1 + 1e-5


async def test_late_interaction_scores_are_maxsim(searching: Open, serving) -> None:
    async with searching(COLPALI) as search:
        await search.create(precision=search_pb2.PRECISION_FLOAT32)
        await search.index(documents())
        found = await search.search("green star", limit=12)
    async with serving(COLPALI) as served:
        (query,) = await served.client.embed(["green star"])
        pages = await served.client.embed(images=list(PICTURES.values()))
    expected = {
        name: float((np.asarray(query) @ np.asarray(page).T).max(1).sum())
        for name, page in zip(PICTURES, pages, strict=True)
    }
    assert {hit.document_id: hit.score for hit in found.hits} == pytest.approx(expected, abs=1e-3)


async def test_what_is_indexed_outlives_the_service_and_another_revision_is_refused(
    searching: Open, tmp_path: Path
) -> None:
    async with searching() as search:
        await search.create()
        await search.index(documents())
    async with searching() as search:
        assert len(ids(await search.search("a circle", limit=12))) == 12
    async with searching(random_siglip(tmp_path / SIGLIP.name)) as search:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await search.search("a circle")
        by_words = await search.search("circle", mode=search_pb2.SEARCH_MODE_WORDS)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "revision" in refused.value.details()
    assert {hit.document_id for hit in by_words.hits} == {n for n, said in CAPTIONS.items() if "circle" in said}


async def test_tenants_see_their_own_collections(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        other = search.of("evil")
        assert (await search.names(), await other.names()) == (["collections/things"], [])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await other.search("a circle")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        await search.delete()
        assert await search.names() == []


async def test_a_collection_made_otherwise_is_refused(searching: Open) -> None:
    async with searching(SIGLIP, COLPALI) as search:
        await search.create(model="models/tiny-siglip")
        again = await search.create(model="models/tiny-siglip")
        assert again.model == "models/tiny-siglip"
        with pytest.raises(grpc.aio.AioRpcError) as exists:
            await search.create(model="models/tiny-colpali")
        with pytest.raises(grpc.aio.AioRpcError) as unnamed:
            await search.create()
    assert exists.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert unnamed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


BAD = {
    "image_weight": {"text": "a", "image_weight": 1.5},
    "limit": {"text": "a", "limit": 1_001},
    "limit ": {"text": "a", "limit": 101, "with_picture": True},
    "limit  ": {"text": "a", "limit": 101, "explain": True},
    "text": {},
    "text ": {"text": " \n"},
    "text  ": {"text": "a star " * 100},
    "mode": {"text": "a", "mode": 9},
    "explain": {"text": "a", "explain": True},
    "collection": {"text": "a", "collection": "things"},
    "image": {"text": "a", "mode": search_pb2.SEARCH_MODE_WORDS, "image": media_pb2.Media(data=b"x")},
    "image.data": {"text": "a", "image": media_pb2.Media(data=b"no picture")},
    "filter.clauses[0].conditions": {"text": "a", "filter": search_pb2.Filter(clauses=[search_pb2.AnyOf()])},
    "filter.clauses": {
        "text": "a",
        "filter": search_pb2.Filter(clauses=[condition("name", "IN", *[Value(string_value="a")] * 1_000)] * 5),
    },
}
"""By the field at fault; spaces tell cases of one field apart."""


async def test_a_bad_query_is_refused_naming_its_field(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        for field, request in BAD.items():
            asked = search_pb2.SearchRequest(**{"collection": search.name} | request)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await search.stub.Search(asked, metadata=(("chiasm-tenant", "acme"),))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, field
            assert field_of(rpc_status.from_call(refused.value)) == field.strip()


async def test_a_pdf_is_found_by_page(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        (outcome,) = await search.index([picture("book.pdf", pdf_saying(["first", "second"]), "a book")])
        found = await search.search("a circle", limit=5, with_picture=True)
        by_words = await search.search("second", mode=search_pb2.SEARCH_MODE_WORDS)
        state = await search.get()
    assert outcome.indexed.entry_count == 2
    assert sorted(hit.page for hit in found.hits) == [1, 2]
    assert all(hit.picture.data.startswith(b"\xff\xd8") and hit.size.height == 400 for hit in found.hits)
    assert [(hit.document_id, hit.page, hit.text) for hit in by_words.hits] == [("book.pdf", 2, "second\na book")]
    assert (state.document_count, state.entry_count) == (1, 2)


async def test_a_film_is_found_by_moment(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        (outcome,) = await search.index([picture("film.mp4", film_of(cuts(20, 30)))])
        found = await search.search("a circle")
    assert outcome.indexed.entry_count == 2
    spans = sorted((hit.moment.start.ToNanoseconds() / 1e9, hit.moment.end.ToNanoseconds() / 1e9) for hit in found.hits)
    assert spans == [(0, 2), (2, 5)]


async def test_a_stream_that_is_left_leaves_all_as_it_was(searching: Open) -> None:
    """Its place, the processes that take files apart, and what of it was acknowledged."""
    book = pdf_saying([f"page {number}" for number in range(40)])
    async with searching(max_index_streams=1, document_processes=1, documents_at_once=2) as search:
        await search.create()
        for turn in range(3):
            call = search.stub.Index(metadata=(("chiasm-tenant", "acme"),))
            await call.write(search_pb2.IndexRequest(collection=search.name))
            await call.write(search_pb2.IndexRequest(document=picture(f"{turn}", PICTURES[f"{turn}.png"])))
            assert (await call.read()).HasField("indexed")
            await call.write(search_pb2.IndexRequest(document=picture("book", book)))
            assert not await _has_place(search)
            call.cancel()
            await _place(search)
        (whole,) = await search.index([picture("book", book)])
        state = await search.get()
    assert whole.indexed.entry_count == 40
    assert state.document_count == 4


async def test_a_stream_ends_at_its_callers_deadline(searching: Open) -> None:
    async with searching(max_index_streams=1) as search:
        await search.create()
        call = search.stub.Index(metadata=(("chiasm-tenant", "acme"),), timeout=1)
        await call.write(search_pb2.IndexRequest(collection=search.name))
        await call.write(search_pb2.IndexRequest(document=picture("book", pdf_saying(["x"] * 2_000))))
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await _place(search)
        assert (await search.get()).document_count == 0


async def _place(search: Search) -> None:
    """Waits until the server has heard of a stream's end."""
    async with asyncio.timeout(30):
        while not await _has_place(search):
            pass


async def _has_place(search: Search) -> bool:
    """Whether a stream is let in, to be refused because it names no collection."""
    call = search.stub.Index()
    await call.done_writing()
    code = await call.code()
    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_document_that_is_refused_midway_frees_its_process(searching: Open) -> None:
    """More pages than the window holds, of which one is refused by the model's limits."""
    book = pdf_saying([f"page {number}" for number in range(20)])
    async with searching(document_processes=1, documents_at_once=2, max_image_pixels=1_000) as search:
        await search.create()
        for _ in range(2):
            (outcome,) = await search.index([picture("book", book)])
            assert status_of(outcome).code == code_pb2.INVALID_ARGUMENT


async def test_documents_are_removed(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        await search.index(documents())
        assert await search.remove("1.png", "2.png", "nothing") == 2
        assert {"1.png", "2.png"}.isdisjoint(ids(await search.search("a circle", limit=12)))
        assert (await search.get()).document_count == 10


async def test_a_message_that_is_no_document_ends_the_stream(searching: Open) -> None:
    async with searching() as search:
        await search.create()
        call = search.stub.Index(metadata=(("chiasm-tenant", "acme"),))
        await call.write(search_pb2.IndexRequest(collection=search.name))
        await call.write(search_pb2.IndexRequest(collection=search.name, document=documents()[0]))
        with pytest.raises(grpc.aio.AioRpcError, match="nothing else"):
            await call.read()


async def test_questions_are_the_gateways(searching: Open) -> None:
    async with searching() as search:
        with pytest.raises(grpc.aio.AioRpcError, match="gateway") as refused:
            await search.stub.Ask(search_pb2.AskRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
