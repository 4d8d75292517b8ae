"""One collection: what is put is found, replaced as a whole, and ranked as exact comparison ranks it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.embedder.index.catalogue import Catalogue
from services.embedder.index.collection import Collection
from services.embedder.index.entries import EntryKind, Query
from services.embedder.index.filters import Comparison, Condition
from services.embedder.index.rows import pack, unpack
from services.embedder.vectors.precision import Precision, quantize, restore
from services.runtime.errors import Internal, InvalidArgument
from tests.embedder.index.making import LATE_SPEC, SPEC, catalogue, clustered, document, entry, unit

D = SPEC.dimensions


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Catalogue]:
    async with catalogue(tmp_path) as opened:
        yield opened


@pytest.fixture
async def collection(replica: Catalogue) -> Collection:
    return await replica.create("tenant", SPEC)


async def parts(collection: Collection, document_id: str) -> list[tuple[int, str]]:
    """What a search finds of a document: each part, and its text."""
    hits = await collection.search(Query(np.ones(D, np.float32), None, 1_000))
    return sorted((hit.part, hit.text) for hit in hits if hit.document_id == document_id)


async def test_all_that_an_entry_says_comes_back(collection: Collection) -> None:
    vectors = clustered(3, D, 1)
    page = entry("film", vectors[0], kind=EntryKind.MOMENT, text="käse", metadata={"year": -5}, picture=b"jpeg")
    await collection.put([[page, entry("film", vectors[1], part=1, kind=EntryKind.MOMENT)], [entry("b", vectors[2])]])
    first, *_ = await collection.search(Query(vectors[0], None, 3, with_picture=True))
    assert (first.document_id, first.part, first.kind, first.text) == ("film", 0, EntryKind.MOMENT, "käse")
    assert (first.metadata, first.picture) == ({"year": -5}, b"jpeg")
    assert (first.page, first.start_s, first.end_s, first.width, first.height) == (None, 0.0, 2.5, 640, 480)
    assert first.score == pytest.approx(1)
    assert [hit.picture for hit in await collection.search(Query(vectors[0], None, 3))] == [None] * 3


async def test_a_document_takes_the_place_of_its_former_self_as_a_whole(collection: Collection) -> None:
    for count, digest in [(3, "a"), (5, "b"), (2, "c"), (2, "d"), (4, "e")]:
        await collection.put([document("doc", count, digest), document("other", 1, "x")])
        assert await parts(collection, "doc") == [(part, f"page {part} of {digest}") for part in range(count)]
        assert await collection.digests(["doc", "none"]) == {"doc": (digest, count)}
        words = await collection.search(Query(None, "page", 100))
        assert {hit.text for hit in words if hit.document_id == "doc"} == {
            f"page {p} of {digest}" for p in range(count)
        }
    state = await collection.state()
    assert (state.documents, state.entries, state.indexed, state.unindexed) == (2, 5, 0, 5)


async def test_of_a_document_put_twice_at_once_one_version_stands(collection: Collection) -> None:
    versions = [document("doc", 1 + i % 4, str(i)) for i in range(20)]
    await asyncio.gather(*(collection.put([version]) for version in versions))
    digest, count = (await collection.digests(["doc"]))["doc"]
    assert count == len(versions[int(digest)])
    assert await parts(collection, "doc") == [(part, f"page {part} of {digest}") for part in range(count)]


async def test_many_documents_share_a_commit(collection: Collection) -> None:
    before = await collection.table.version()
    await asyncio.gather(*(collection.put([document(str(i), 1, "a")]) for i in range(100)))
    assert (await collection.state()).documents == 100
    assert await collection.table.version() - before <= 20


async def test_a_caller_that_leaves_disturbs_no_other(collection: Collection) -> None:
    leaving = [asyncio.create_task(collection.put([document(f"left-{i}", 1, "a")])) for i in range(8)]
    staying = [asyncio.create_task(collection.put([document(f"stays-{i}", 1, "a")])) for i in range(8)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*staying)
    assert len(await collection.digests([f"stays-{i}" for i in range(8)])) == 8


async def test_removed_documents_are_gone(collection: Collection) -> None:
    await collection.put([document("a", 3, "1"), document("b", 1, "1")])
    assert await collection.remove(["a", "none"]) == 1
    assert await collection.remove(["a"]) == 0
    assert await parts(collection, "a") == []
    assert await collection.digests(["a", "b"]) == {"b": ("1", 1)}


async def test_vectors_of_another_shape_are_refused_and_harm_no_other(collection: Collection) -> None:
    wrong = entry("wrong", np.ones(D + 1, np.float32))
    broken = entry("broken", np.full(D, np.nan, np.float32))
    right = asyncio.create_task(collection.put([document("right", 1, "a")]))
    for each in (wrong, broken):
        with pytest.raises(Internal):
            await collection.put([[each]])
    await right
    for vectors in (np.ones(D + 1), np.ones((1, D)), np.full(D, np.inf), np.zeros((0, D))):
        with pytest.raises(InvalidArgument) as error:
            await collection.search(Query(vectors.astype(np.float32), None, 1))
        assert error.value.field == "vectors"
    assert await collection.digests(["right", "wrong", "broken"]) == {"right": ("a", 1)}


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.FLOAT16])
async def test_single_vectors_are_ranked_by_dot_product(replica: Catalogue, precision: Precision) -> None:
    collection = await replica.create("tenant", replace(SPEC, precision=precision))
    vectors = clustered(300, D, 1)
    await collection.put([[entry(str(i), vector)] for i, vector in enumerate(vectors)])
    kept = quantize(vectors, precision).numbers.astype(np.float32)
    for query in clustered(5, D, 2) * 0.7:
        scores = kept @ query
        for exact in (False, True):
            hits = await collection.search(Query(query, None, 10, exact=exact))
            assert [hit.document_id for hit in hits] == [str(i) for i in np.argsort(-scores)[:10]]
            assert [hit.score for hit in hits] == pytest.approx(np.sort(scores)[::-1][:10], abs=2e-3)


@pytest.mark.parametrize("precision", list(Precision))
async def test_several_vectors_are_ranked_by_maxsim(replica: Catalogue, precision: Precision) -> None:
    spec = replace(LATE_SPEC, precision=precision)
    collection = await replica.create("tenant", spec)
    chosen = np.random.default_rng(1)
    pages = [clustered(int(chosen.integers(1, 9)), D, seed) for seed in range(120)]
    sold = [seed % 3 == 0 for seed in range(120)]
    await collection.put(
        [[entry(str(i), page, metadata={"sold": sold[i]}, picture=b"p")] for i, page in enumerate(pages)]
    )
    kept = [restore(quantize(page, precision), precision, D) for page in pages]
    for seed in range(5):
        query = clustered(4, D, 1_000 + seed)
        scores = np.array([(page @ query.T).max(axis=0).sum() for page in kept])
        for filter, fits in ((None, [True] * 120), (((Condition("sold", Comparison.IN, (True,)),),), sold)):
            order = [i for i in np.argsort(-scores) if fits[i]][:10]
            for exact in (False, True):
                hits = await collection.search(Query(query, None, 10, filter=filter, exact=exact, with_picture=True))
                assert [hit.document_id for hit in hits] == [str(i) for i in order]
                assert [hit.score for hit in hits] == pytest.approx(scores[order], abs=1e-4)
                assert {hit.picture for hit in hits} == {b"p"}


async def test_a_page_is_found_by_a_page_and_by_vectors_without_weight(replica: Catalogue) -> None:
    collection = await replica.create("tenant", LATE_SPEC)
    pages = [clustered(100, D, seed) for seed in range(20)]
    await collection.put([[entry(str(i), page)] for i, page in enumerate(pages)])
    for query in (pages[7], np.concatenate([pages[7][:3], np.zeros((5, D), np.float32)])):
        assert (await collection.search(Query(query, None, 1)))[0].document_id == "7"


@pytest.mark.parametrize("precision", list(Precision))
def test_packed_vectors_unpack_to_what_their_precision_keeps(precision: Precision) -> None:
    pages = [clustered(count, D, count) for count in (1, 5, 3)]
    vectors, begins = unpack([pack(page, precision) for page in pages], replace(LATE_SPEC, precision=precision))
    assert begins.tolist() == [0, 1, 6]
    expected = np.concatenate([restore(quantize(page, precision), precision, D) for page in pages])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


async def test_words_are_found_stop_words_accents_and_other_scripts_too(collection: Collection) -> None:
    texts = ["The Who live in Leeds", "Crème brûlée", "東京都の天気", "running shoes", "", "nothing alike"]
    vectors = clustered(len(texts), D, 1)
    await collection.put([[entry(str(i), vectors[i], text=text)] for i, text in enumerate(texts)])
    for words, found in [("the who", "0"), ("creme BRULEE", "1"), ("天気", "2"), ("run shoe", "3")]:
        hits = await collection.search(Query(None, words, 10))
        assert [hit.document_id for hit in hits] == [found], words
        assert hits[0].score > 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.text(max_size=40) | st.sampled_from(["a AND (b", '"open', "text:x^9~2", "*", "+-&|!", "\\", "a" * 5_000])
)
async def test_words_are_never_a_query_language(collection: Collection, words: str) -> None:
    if not (await collection.state()).entries:
        await collection.put([[entry("a", clustered(1, D, 1)[0], text="red and blue AND green")]])
    await collection.search(Query(None, words, 5))


async def test_both_are_fused_by_rank(collection: Collection) -> None:
    query = unit(np.ones(D))
    away = unit(np.concatenate([np.ones(D // 2), -np.ones(D // 2)]))
    near, nearer = unit(query + 0.5 * away), query
    await collection.put(
        [
            [entry("meaning", nearer, text="nothing")],
            [entry("both", near, text="green apple")],
            [entry("words", away, text="green apple green apple", metadata={"sold": True})],
        ]
    )
    hits = await collection.search(Query(query, "apple", 3))
    assert [hit.document_id for hit in hits] == ["words", "both", "meaning"]
    ranks = {"meaning": [1], "both": [2, 2], "words": [3, 1]}
    expected = {name: sum(1 / (60 + rank) for rank in each) for name, each in ranks.items()}
    assert {hit.document_id: hit.score for hit in hits} == pytest.approx(expected)
    sold = ((Condition("sold", Comparison.IN, (True,)),),)
    assert [hit.document_id for hit in await collection.search(Query(query, "apple", 3, filter=sold))] == ["words"]


async def test_an_empty_collection_finds_nothing(replica: Catalogue, collection: Collection) -> None:
    late = await replica.create("tenant", LATE_SPEC)
    vectors = clustered(4, D, 1)
    assert await collection.search(Query(vectors[0], None, 5)) == []
    assert await late.search(Query(vectors, None, 5)) == []
    assert await late.search(Query(vectors, None, 5, exact=True)) == []
    assert await collection.search(Query(vectors[0], "red", 5)) == []
