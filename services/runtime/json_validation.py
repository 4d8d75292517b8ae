"""Values checked by JSON schemas, both of them a stranger's, in bounded time and memory."""

import json
from typing import NoReturn

from jsonschema_rs import Draft202012Validator, RegexOptions

from services.runtime.json_schema import check_involved

MAX_STEPS = 5_000_000
"""To check one value: some 6 ns each, in which the interpreter is held up in every thread."""
# Compiled, and again of what is kept while it is matched; the largest that are usual, as `^.{1,200}$`, fit.
_MAX_PATTERN_BYTES = 256 * 2**10


class Validator:
    """Of a schema of draft 2020-12, whose patterns match in linear time.

    Args:
        schema: as JSON text.

    Raises:
        ValueError: it is none, or one that `check_involved` refuses, or has a look-around, a back-reference or a
            pattern that is too large.
    """

    def __init__(self, schema: str) -> None:
        try:
            parsed = json.loads(schema)
            self._steps = check_involved(parsed)
            self._validator = Draft202012Validator(
                parsed,
                retriever=_no_document,
                pattern_options=RegexOptions(size_limit=_MAX_PATTERN_BYTES, dfa_size_limit=_MAX_PATTERN_BYTES),
                mask="the value",
            )
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def check(self, value: object) -> None:
        """Raises ValueError where `value`, as it came from JSON, is not of the schema, or is too much to check by it:
        its first line says why, without the value's own words, which may be private."""
        if self._steps * _places(value) > MAX_STEPS:
            raise ValueError("too much to be checked by so involved a schema")
        try:
            self._validator.validate(value)
        except (ValueError, RecursionError) as error:
            place = "/".join(map(str, getattr(error, "instance_path", ())))
            raise ValueError(f"at /{place[:100]}: {error}") from error


def _places(value: object) -> int:
    """The value's and those of all within."""
    count, left = 0, [value]
    while left:
        count += 1
        part = left.pop()
        left += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return count


def _no_document(uri: str) -> NoReturn:
    raise ValueError("references to other documents are not followed")
