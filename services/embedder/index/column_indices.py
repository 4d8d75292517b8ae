"""The indices of a table's columns, but that of its vectors: of ids, of words, of fields."""

import pyarrow.compute as pc
from lancedb import AsyncTable
from lancedb.index import FTS, Bitmap, BTree

from services.embedder.index.entries import CollectionSpec
from services.embedder.index.fields import FieldType
from services.embedder.index.sampling import sample

SAMPLE, FEW = 1_024, 8
"""Entries that are looked at, and how many times as many they are as a field's values where those are few."""
_COUNTED = (FieldType.STRING, FieldType.INTEGER, FieldType.TIMESTAMP)
"""That may have few values; LanceDB has no bitmaps of FieldType.NUMBER."""


async def index_columns(table: AsyncTable, spec: CollectionSpec) -> None:
    """Those that are there stay. Raises what LanceDB raises."""
    there = {each.columns[0] for each in await table.list_indices()}
    # Words are told apart in any language; stop words are kept, for names are made of them.
    wanted = {"document_id": BTree(), "text": FTS(base_tokenizer="icu", remove_stop_words=False)} | {
        field.column: Bitmap() if field.type is FieldType.BOOLEAN else BTree() for field in spec.fields
    }
    for column, config in wanted.items():
        if column not in there:
            await table.create_index(column, config=config)


async def suit_fields(table: AsyncTable, spec: CollectionSpec) -> None:
    """Fields of few values get bitmaps, others trees. A tree takes the longer the more fits: of 100,000 entries 2 ms
    where nine in ten do, a bitmap a fraction of that. Raises what LanceDB raises.
    """
    columns = [field.column for field in spec.fields if field.type in _COUNTED]
    rows = await table.count_rows()
    if not columns or not rows:
        return
    some = await sample(table, columns, rows, SAMPLE)
    indices = await table.list_indices()
    for column in columns:
        few = FEW * pc.count_distinct(some.column(column)).as_py() <= some.num_rows
        wanted = Bitmap() if few else BTree()
        there = {each.index_type: each.name for each in indices if each.columns == [column]}
        if there.pop(type(wanted).__name__, None) is None:
            await table.create_index(column, config=wanted)
        for name in there.values():  # one of another kind stays beside the new
            await table.drop_index(name)
