"""Values and schemas that would take more time or memory than there is."""

import json

import pytest

from services.runtime.json_validation import MAX_STEPS, Validator


@pytest.mark.parametrize("pattern", [r"\p{L}{100}", r"(.{1,300}){1,300}", "(?=a)", r"(a)\1", "("])
def test_a_pattern_that_is_large_or_cannot_match_in_linear_time_is_refused(pattern: str) -> None:
    """By default a hundred of the first would take 400 MB."""
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own
        Validator(json.dumps({"pattern": pattern}))


@pytest.mark.parametrize("pattern", [r"^.{1,200}$", r"^\d{4}-\d{2}-\d{2}$", r"^[^@\s]+@[\w-]+(\.[\w-]+)+$"])
def test_usual_patterns_are_taken(pattern: str) -> None:
    Validator(json.dumps({"pattern": pattern}))


@pytest.mark.parametrize("schema", ["{", "[" * 100_000, '{"type": 3}', '{"allOf": [{"pattern": "a"}, {"$ref": "x"}]}'])
def test_what_is_no_schema_is_a_value_error(schema: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own
        Validator(schema)


def test_steps_are_counted_over_all_places_of_a_value() -> None:
    kinds, places = 1_000, MAX_STEPS // 1_000
    involved = Validator(json.dumps({"items": {"anyOf": [{"const": kind} for kind in range(kinds)]}}))
    involved.check([1] * (places // 2))
    for value in ([1] * places, {str(number): number for number in range(places)}, [[1]] * (places // 2)):
        with pytest.raises(ValueError, match="too much to be checked"):
            involved.check(value)
    Validator('{"items": {"const": 1}}').check([1] * places)


def test_where_a_value_differs_is_told_and_not_what_it_says() -> None:
    with pytest.raises(ValueError, match=r'^at /a/1: the value is not of type "string"') as caught:
        Validator('{"properties": {"a": {"items": {"type": "string"}}}}').check({"a": ["x", 1234]})
    assert "1234" not in str(caught.value).partition("\n")[0]
