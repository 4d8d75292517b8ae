"""Schemas that would take more time than anyone has, and those that only look so."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from chiasm.v1 import generation_pb2
from services.runtime.errors import InvalidArgument
from services.runtime.json_schema import check_involved
from services.runtime.requests import check_generate


def to(name: object) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def doubling(times: int) -> dict[str, object]:
    """Two ways from each part to the next."""
    parts = {str(i): {"anyOf": [to(i + 1), to(i + 1)]} for i in range(times)}
    return {"$defs": {**parts, str(times): {"type": "integer"}}, **to(0)}


def unevaluated(times: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object"}
    for _ in range(times):
        schema = {"allOf": [schema], "unevaluatedProperties": {"type": "integer"}}
    return schema


def anchored(times: int) -> dict[str, object]:
    parts = [{"$anchor": f"a{i}", "anyOf": [{"$ref": f"#a{i + 1}"}] * 2} for i in range(times)]
    return {"$defs": {"all": {"allOf": [*parts, {"$anchor": f"a{times}"}]}}, "$ref": "#a0"}


VALUE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#"}}]}
TREE = {"$defs": {"node": {"type": "object", "properties": {"left": to("node"), "right": to("node")}}}, **to("node")}
GRAMMAR = {"$defs": {str(i): {"properties": {str(j): to(j) for j in range(8)}} for i in range(8)}, **to(0)}
WIDE = {"properties": {f"property_{i}": {"type": "integer", "minimum": 0} for i in range(1_000)}}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        VALUE,
        TREE,
        GRAMMAR,
        WIDE,
        doubling(8),
        unevaluated(4),
        {"$id": "https://example.com/whole", "properties": {"$ref": {}, "$id": {"type": "string"}}},
        {"$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"},
        {"$dynamicRef": "#node", "$dynamicAnchor": "node"},
        {"$defs": {"a/b~%": {}}, "anyOf": [{"$ref": "#/$defs/a~1b~0%25"}, {"$ref": "#/anyOf/0"}]},
    ],
)
def test_what_is_soon_checked_passes(schema: dict[str, object]) -> None:
    check_involved(schema)


_AGAIN = {"allOf": [{"$ref": "#/$defs/a"}], "unevaluatedProperties": False}
LOOPING = {
    "$defs": {"a": {"properties": {"x": {"allOf": [{"$ref": "#/$defs/b"}] * 2}}}, "b": {"anyOf": [_AGAIN, _AGAIN]}},
    "$ref": "#/$defs/a",
}
"""A value 15 deep would take hours."""


@pytest.mark.parametrize("schema", [doubling(40), doubling(500), unevaluated(40), anchored(40), LOOPING])
def test_what_would_take_for_ever_is_refused_at_once(schema: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="too involved"):
        check_involved(schema)


def patterns(count: int, pattern: str = "^a") -> dict[str, object]:
    return {
        "allOf": [{"pattern": pattern}] * (count // 2),
        "patternProperties": {f"^{i}": {} for i in range(count // 2)},
    }


HARD = {"pattern": "^a"}
MANY_TIMES = {**doubling(6), "$defs": {**doubling(6)["$defs"], "6": HARD}}
"""One pattern to which 64 ways lead."""


@pytest.mark.parametrize("schema", [patterns(34), patterns(2, "a" * 4_096), MANY_TIMES])
def test_patterns_are_few_and_short_and_weigh_more(schema: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="too involved"):
        check_involved(schema)


def test_patterns_that_are_few_and_short_pass_and_names_are_none() -> None:
    check_involved(patterns(32))
    check_involved({"properties": {"pattern": {"type": "string"}, "patternProperties": {"enum": ["a"] * 100}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/none"},
        {"$ref": "#anchor"},
        {"$defs": {"a": {"$anchor": "a"}, "b": {"const": {"$anchor": "a"}}}, "$ref": "#a"},
        {"$ref": "https://example.com/other"},
        {"$id": "https://example.com/whole", "$ref": "whole#/$defs/a", "$defs": {"a": {}}},
        {"$defs": {"a": {"$id": "part", "$ref": "#/$defs/b"}, "b": {}}},
        {"$ref": "#/type/0", "type": "object"},
    ],
)
def test_references_whose_ways_do_not_show_are_refused(schema: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"reference|anchor|\$id"):
        check_involved(schema)


def test_the_field_is_named() -> None:
    part = generation_pb2.Part(text="how many?")
    request = generation_pb2.GenerateRequest(
        messages=[generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=[part])],
        config=generation_pb2.GenerationConfig(json_schema=json.dumps(doubling(40))),
    )
    with pytest.raises(InvalidArgument, match="too involved") as caught:
        check_generate(request)
    assert caught.value.field == "config.json_schema"


references = st.sampled_from([to(i) for i in range(6)] + [{"type": "integer"}, {"unevaluatedProperties": False}])
parts = st.recursive(
    references,
    lambda inner: st.one_of(
        st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda some: {"allOf": some, "unevaluatedProperties": False}, st.lists(inner, min_size=1, max_size=2)
        ),
        st.builds(lambda one: {"properties": {"x": one}}, inner),
    ),
    max_leaves=8,
)


@given(st.lists(parts, min_size=6, max_size=6), st.integers(0, 20))
def test_what_passes_is_soon_checked(defined: list[dict[str, object]], depth: int) -> None:
    """Whatever refers to whatever, and however deep the value."""
    schema = {"$defs": {str(i): part for i, part in enumerate(defined)}, **to(0)}
    value: object = 1
    for _ in range(depth):
        value = {"x": value, "y": 1}
    try:
        check_involved(schema)
        validator = Draft202012Validator(schema)
    except ValueError:
        return
    began = time.process_time()
    validator.is_valid(value)
    assert time.process_time() - began < 1
