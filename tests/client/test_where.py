"""Conditions as they are typed, and metadata as they are written."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.command.folder import field_types, read_metadata
from chiasm.command.where import conditions
from chiasm.errors import InvalidArgument
from chiasm.search import Comparison, FieldType

FIELDS = {
    "colour": FieldType.STRING,
    "pages": FieldType.INTEGER,
    "share": FieldType.NUMBER,
    "round": FieldType.BOOLEAN,
    "seen": FieldType.TIMESTAMP,
}


@pytest.mark.parametrize(
    ("text", "comparison", "values"),
    [
        ("colour=red", Comparison.IN, ["red"]),
        ("colour = red | dark blue ", Comparison.IN, ["red", "dark blue"]),
        ("colour!=a=b", Comparison.NOT_IN, ["a=b"]),
        ("colour>=a|b", Comparison.AT_LEAST, ["a|b"]),
        ("pages<3", Comparison.LESS, [3]),
        ("share<=2", Comparison.AT_MOST, [2.0]),
        ("round=yes", Comparison.IN, [True]),
        ("seen>2026-01-02", Comparison.GREATER, [datetime(2026, 1, 2, tzinfo=UTC)]),
    ],
)
def test_conditions(text: str, comparison: Comparison, values: list[object]) -> None:
    (condition,) = conditions([text], FIELDS)
    assert (condition.comparison, condition.values) == (comparison, values)


@pytest.mark.parametrize("text", ["colour", "=red", "pages=x", "round=2", "seen=soon", "size=3", "Colour=red"])
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        conditions([text], FIELDS)
    assert caught.value.field == "where"


@given(st.text())
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        conditions([text], FIELDS)
    except InvalidArgument as error:
        assert error.field == "where"


def test_metadata_have_types(tmp_path: Path) -> None:
    file = tmp_path / "metadata.jsonl"
    file.write_text(
        '{"id": "a", "colour": "red", "pages": 3, "share": 1, "round": true, "seen": "2026-01-02T03:04:05Z"}\n'
        '{"id": "b", "share": 0.5, "colour": null, "day": "2026-01-02"}\n'
    )
    found = read_metadata(file)
    assert found["b"] == {"share": 0.5, "day": "2026-01-02"}
    assert field_types(found) == FIELDS | {"day": FieldType.STRING}


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", '{"colour": "red"}', '{"id": "a", "x": [1]}', "[" * 10_000, '{"id": "a"} {}']
)
def test_a_line_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "metadata.jsonl"
    file.write_text(f'{{"id": "first"}}\n{text}\n')
    with pytest.raises(InvalidArgument, match="line 2"):
        read_metadata(file)


def test_a_field_of_two_types_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="'x' is string in one line, and integer in another"):
        field_types({"a": {"x": "red"}, "b": {"x": 3}})
