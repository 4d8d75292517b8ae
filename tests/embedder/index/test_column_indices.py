"""Which index a column has."""

from pathlib import Path

from services.embedder.index.collection import Collection
from services.embedder.index.column_indices import SAMPLE, index_columns, suit_fields
from tests.embedder.index.making import SPEC, catalogue, clustered, entry

ENTRIES = SAMPLE


async def kinds(collection: Collection) -> dict[str, str]:
    indices = await collection.table.list_indices()
    assert len({each.columns[0] for each in indices}) == len(indices)
    return {each.columns[0]: each.index_type for each in indices}


async def test_fields_of_few_values_have_bitmaps(tmp_path: Path) -> None:
    vectors = clustered(ENTRIES, SPEC.dimensions, 1)
    fields = [{"name": f"name {i}", "year": i % 100, "price": i / 7} for i in range(ENTRIES)]
    async with catalogue(tmp_path) as replica:
        collection = await replica.create("tenant", SPEC)
        trees = {"document_id": "BTree", "text": "FTS", "m_sold": "Bitmap"}
        trees |= dict.fromkeys(("m_name", "m_year", "m_price", "m_seen"), "BTree")
        assert await kinds(collection) == trees
        await suit_fields(collection.table, SPEC)  # of nothing
        assert await kinds(collection) == trees
        await collection.put([[entry(str(i), vectors[i], metadata=fields[i])] for i in range(ENTRIES)])
        await suit_fields(collection.table, SPEC)
        # `seen` says nothing at all.
        suited = trees | {"m_year": "Bitmap", "m_seen": "Bitmap"}
        assert await kinds(collection) == suited
        await index_columns(collection.table, SPEC)
        assert await kinds(collection) == suited
        # Years that became many have a tree again.
        await collection.put(
            [[entry(str(i), vectors[i], digest="2", metadata={"year": i})] for i in range(ENTRIES // 2)]
        )
        await suit_fields(collection.table, SPEC)
        assert (await kinds(collection))["m_year"] == "BTree"
