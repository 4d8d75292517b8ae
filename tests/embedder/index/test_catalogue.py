"""Collections of tenants, and replicas that share them."""

import asyncio
import logging
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from chiasm.v1 import errors_pb2
from services.embedder.index.catalogue import Catalogue
from services.embedder.index.collection import Collection
from services.embedder.index.entries import Query
from services.embedder.index.fields import Field, FieldType
from services.embedder.index.schema import is_table_name, new_table_name, spec_from_json, spec_to_json
from services.embedder.index.settings import IndexSettings
from services.embedder.vectors.precision import Precision
from services.runtime.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from tests.embedder.index.making import LATE_SPEC, SPEC, catalogue, document

QUERY = Query(np.ones(SPEC.dimensions, np.float32), None, 10)


async def test_a_collection_is_made_once_and_found_by_every_replica(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as one, catalogue(tmp_path) as other:
        made = await one.create("tenant", SPEC)
        assert made.spec == SPEC
        assert (await one.get("tenant", SPEC.name)) is made
        assert (await other.get("tenant", SPEC.name)).spec == SPEC
        again = await other.create("tenant", replace(SPEC, created=datetime.now(UTC)))
        assert again.spec == SPEC
        for change in ({"revision": "r2"}, {"fields": SPEC.fields[:1]}, {"precision": Precision.FLOAT16}):
            with pytest.raises(AlreadyExists) as error:
                await other.create("tenant", replace(SPEC, **change))
            assert error.value.reason == errors_pb2.ERROR_REASON_COLLECTION_EXISTS
        await one.create("tenant", LATE_SPEC)
        assert await other.list("tenant") == [LATE_SPEC, SPEC]


async def test_of_many_that_make_it_at_once_all_have_the_same(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as one, catalogue(tmp_path) as two, catalogue(tmp_path) as three:
        for name in ("a", "b", "c"):

            async def make_and_put(replica: Catalogue, day: int, name: str = name) -> Collection:
                made = await replica.create(
                    "tenant", replace(SPEC, name=name, created=datetime(2026, 1, day, tzinfo=UTC))
                )
                await made.put([document(str(day), 1, "a")])
                return made

            made = await asyncio.gather(*(make_and_put((one, two, three)[day % 3], day) for day in range(1, 10)))
            assert len({collection.spec for collection in made}) == 1
            assert len(await made[0].digests([str(day) for day in range(1, 10)])) == 9


async def test_a_tenant_sees_its_own_alone(tmp_path: Path) -> None:
    tenants = ["a", "A", "a.b", "b", ".", "..", "x" * 64]
    async with catalogue(tmp_path) as replica:
        for tenant in tenants:
            collection = await replica.create(tenant, replace(SPEC, revision=tenant))
            await collection.put([document(tenant, 1, "1")])
        for tenant in tenants:
            assert [spec.revision for spec in await replica.list(tenant)] == [tenant]
            hits = await (await replica.get(tenant, SPEC.name)).search(QUERY)
            assert [hit.document_id for hit in hits] == [tenant]
        await replica.delete("a", SPEC.name)
        assert await replica.list("a") == []
        assert len(await replica.list("a.b")) == 1


@pytest.mark.parametrize(
    ("tenant", "name", "field"), [("a", "../b", "name"), ("a", "", "name"), ("a/b", "c", "tenant")]
)
async def test_what_is_no_name_is_refused(tmp_path: Path, tenant: str, name: str, field: str) -> None:
    async with catalogue(tmp_path) as replica:
        for call in (replica.get, replica.delete):
            with pytest.raises(InvalidArgument) as error:
                await call(tenant, name)
            assert error.value.field == field


def test_a_table_has_a_name_of_its_own() -> None:
    pairs = [("a.b", "c"), ("b", "a"), ("b", "a"), ("..", "a-b"), (".", "a_b"), ("x" * 64, "y" * 64)]
    names = [new_table_name(*pair) for pair in pairs]
    assert all(map(is_table_name, names))
    assert len(set(names)) == len(pairs)
    assert not any(map(is_table_name, ("leases", "collections", "pictures.tenant", "a.b.c", names[0] + "0")))


def test_a_spec_comes_back_from_json() -> None:
    for spec in (SPEC, replace(LATE_SPEC, precision=Precision.BINARY, fields=(Field("e", FieldType.TIMESTAMP),))):
        assert spec_from_json(spec_to_json(spec)) == spec


async def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as replica:
        for call in (replica.get, replica.delete):
            with pytest.raises(NotFound) as error:
                await call("tenant", "none")
            assert error.value.reason == errors_pb2.ERROR_REASON_COLLECTION_NOT_FOUND
        assert await replica.list("tenant") == []


async def test_others_see_what_one_puts_at_once_where_nothing_may_be_stale(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as one, catalogue(tmp_path, max_staleness_s=0) as other:
        mine, theirs = await one.create("tenant", SPEC), await other.create("tenant", SPEC)
        for count in range(1, 4):
            await mine.put([document(f"doc-{count}", 1, "a")])
            for reader in (mine, theirs):
                assert len(await reader.search(QUERY)) == count


async def test_others_see_what_one_puts_in_the_stated_time(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as one, catalogue(tmp_path, max_staleness_s=0.5) as other:
        mine, theirs = await one.create("tenant", SPEC), await other.create("tenant", SPEC)
        assert await theirs.search(QUERY) == []
        await mine.put([document("doc", 1, "a")])
        stored = time.monotonic()
        while not await theirs.search(QUERY):
            assert time.monotonic() < stored + 30  # of a busy machine; what is promised is the next test's
            await asyncio.sleep(0.05)
        assert await theirs.digests(["doc"]) == {"doc": ("a", 1)}


async def test_a_collection_that_another_replica_removes_or_makes_anew_is_not_mistaken(tmp_path: Path) -> None:
    async with catalogue(tmp_path) as one, catalogue(tmp_path, max_staleness_s=0) as other:
        old = await other.create("tenant", SPEC)
        for number in range(5):
            await old.put([document(str(number), 1, "a")])
        await one.delete("tenant", SPEC.name)
        with pytest.raises(NotFound):
            await other.get("tenant", SPEC.name)
        anew = replace(SPEC, revision="r2")
        await one.create("tenant", anew)
        with pytest.raises(NotFound):
            await old.put([document("late", 1, "a")])
        found = await other.get("tenant", SPEC.name)
        assert found.spec == anew
        assert await found.search(QUERY) == []


async def test_a_storage_that_fails_is_unavailable_and_names_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with catalogue(tmp_path) as replica:
        collection = await replica.create("tenant", SPEC)
        await collection.put([document("doc", 1, "a")])
        (tmp_path / f"{collection.table.name}.lance" / "_versions").rename(tmp_path / "gone")
        with caplog.at_level(logging.ERROR), pytest.raises(Unavailable) as error:
            await collection.put([document("other", 1, "a")])
    assert error.value.reason == errors_pb2.ERROR_REASON_INDEX_UNAVAILABLE
    assert str(tmp_path) not in error.value.message
    assert caplog.records


async def test_a_place_that_cannot_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable):
        await Catalogue.open(IndexSettings(index_uri=str(tmp_path / "file" / "index")))


def test_settings_keep_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CHIASM_EMBEDDER_INDEX_S3_SECRET_ACCESS_KEY", "hush")
    settings = IndexSettings.load()
    assert settings.index_s3_secret_access_key.get_secret_value() == "hush"
    assert "hush" not in repr(settings)
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        IndexSettings(index_uri="gs://bucket")


def test_what_may_be_read_is_kept() -> None:
    with pytest.raises(ValueError, match=r"index_keep_versions_s must be more than max_staleness_s"):
        IndexSettings(max_staleness_s=900, index_keep_versions_s=900)
    IndexSettings(max_staleness_s=899, index_keep_versions_s=900)
