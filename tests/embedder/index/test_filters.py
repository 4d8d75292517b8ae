"""Filters as SQL, held against Python's own comparisons over a real table."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lancedb.index import Bitmap, BTree

from services.embedder.index.collection import Collection
from services.embedder.index.entries import Query
from services.embedder.index.fields import FieldType, MetadataValue, from_stored, to_stored
from services.embedder.index.filters import Comparison, Condition, Filter, to_sql
from services.runtime.errors import InvalidArgument
from tests.embedder.index.making import FIELDS, SPEC, catalogue, clustered, entry

LEAST, MOST = -(2**63), 2**63 - 1
STRINGS = ["", "a", "it's", "' OR true --", "100%", "Ärger", "日本", "a\\", "\n", '"', "m_name", "\U0001f600", "z"]
INTEGERS = [LEAST, LEAST + 1, -1, 0, 1, 2**53 + 1, MOST]
NUMBERS = [-1.7976931348623157e308, -0.0, 0.0, 5e-324, 0.1, 1.0, 1e21, 1.7976931348623157e308]
TIMES = [datetime(1, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC)]
TIMES += [datetime.max.replace(tzinfo=UTC)]
POOLS = {"name": STRINGS, "year": INTEGERS, "price": NUMBERS, "sold": [True, False], "seen": TIMES}
ROWS = [{name: pool[i % len(pool)] for name, pool in POOLS.items() if i % (len(name) + 1)} for i in range(60)]
VECTORS = clustered(len(ROWS), SPEC.dimensions, 1)
HOLDS = {
    Comparison.IN: lambda value, values: value is not None and value in values,
    Comparison.NOT_IN: lambda value, values: value is None or value not in values,
    Comparison.LESS: lambda value, values: value is not None and value < values[0],
    Comparison.AT_MOST: lambda value, values: value is not None and value <= values[0],
    Comparison.GREATER: lambda value, values: value is not None and value > values[0],
    Comparison.AT_LEAST: lambda value, values: value is not None and value >= values[0],
}

_values = {
    "name": st.sampled_from(STRINGS) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "year": st.sampled_from(INTEGERS) | st.integers(LEAST, MOST),
    "price": st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(LEAST, MOST),
    "sold": st.booleans(),
    "seen": st.sampled_from(TIMES) | st.datetimes(timezones=st.just(UTC)),
}


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    field = draw(st.sampled_from(sorted(_values)))
    several = st.sampled_from([Comparison.IN, Comparison.NOT_IN])
    comparison = draw(several if field == "sold" else st.sampled_from(Comparison))
    most = 5 if comparison in (Comparison.IN, Comparison.NOT_IN) else 1
    return Condition(field, comparison, tuple(draw(st.lists(_values[field], min_size=1, max_size=most))))


filters = st.lists(st.lists(conditions(), min_size=1, max_size=3).map(tuple), max_size=3).map(tuple)


@pytest.fixture(params=[None, BTree, Bitmap])
async def collection(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Collection]:
    """Fields are compared with what is stored, or with an index of it."""
    async with catalogue(tmp_path) as replica:
        made = await replica.create("tenant", SPEC)
        await made.put([[entry(str(i), VECTORS[i], metadata=row)] for i, row in enumerate(ROWS)])
        for field in FIELDS if request.param else ():
            if request.param is BTree or field.type is not FieldType.NUMBER:
                await made.table.drop_index(f"{field.column}_idx")
                await made.table.create_index(field.column, config=request.param())
        yield made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filter=filters)
async def test_a_filter_lets_pass_what_python_would(collection: Collection, filter: Filter) -> None:
    hits = await collection.search(Query(VECTORS[0], None, len(ROWS), filter=filter))
    expected = {
        str(i)
        for i, row in enumerate(ROWS)
        if all(any(HOLDS[each.comparison](row.get(each.field), each.values) for each in clause) for clause in filter)
    }
    assert {hit.document_id for hit in hits} == expected


async def test_metadata_comes_back_as_it_was_put(collection: Collection) -> None:
    hits = await collection.search(Query(VECTORS[0], None, len(ROWS)))
    assert {hit.document_id: hit.metadata for hit in hits} == {str(i): row for i, row in enumerate(ROWS)}
    assert {type(hit.metadata["price"]) for hit in hits if "price" in hit.metadata} == {float}


@given(value=_values["seen"])
def test_a_time_is_kept_to_the_microsecond(value: datetime) -> None:
    assert from_stored(to_stored(value), FieldType.TIMESTAMP) == value


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        (Condition("other", Comparison.IN, ("a",)), "field"),
        (Condition("name); DROP", Comparison.IN, ("a",)), "field"),
        (Condition("name", Comparison.IN, ("a", 1)), "values[1]"),
        (Condition("year", Comparison.IN, (True,)), "values[0]"),
        (Condition("year", Comparison.LESS, (1.5,)), "values[0]"),
        (Condition("price", Comparison.LESS, (float("nan"),)), "values[0]"),
        (Condition("sold", Comparison.IN, (1,)), "values[0]"),
        (Condition("seen", Comparison.IN, ("2026-01-01",)), "values[0]"),
        (Condition("sold", Comparison.LESS, (True,)), "comparison"),
        (Condition("year", Comparison.LESS, (1, 2)), "values"),
    ],
)
def test_a_condition_that_makes_no_sense_is_named(condition: Condition, field: str) -> None:
    good = Condition("name", Comparison.IN, ("a",))
    with pytest.raises(InvalidArgument) as error:
        to_sql(((good,), (good, condition)), FIELDS)
    assert error.value.field == f"filter.clauses[1].conditions[1].{field}"


@given(text=_values["name"])
def test_no_string_leaves_its_quotes(text: str) -> None:
    value: MetadataValue = text
    sql = to_sql(((Condition("name", Comparison.IN, (value,)),),), FIELDS)
    inside = sql.removeprefix("(m_name IN ('").removesuffix("'))")
    assert inside.replace("''", "'") == text
    assert "'" not in inside.replace("''", "")
