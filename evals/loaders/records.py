"""Reads a data set's files, and says what is wrong with them: file, line or key, and what was expected."""

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, TypeAdapter, ValidationError

from chiasm import InvalidArgument
from evals.suite import Picture

T = TypeVar("T")


def _inside(name: str) -> str:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError("Input should be a path inside the data set")
    return name


PicturePath = Annotated[str, AfterValidator(_inside)]
"""Names a file below the data set's folder: data must not make us send another one to a server."""


def bad_data(message: str) -> InvalidArgument:
    """The error for data that is not as its format says."""
    return InvalidArgument(message, reason="FIELD_INVALID", field="data")


def one_of(folder: Path, names: Sequence[str]) -> Path:
    """The first of `names` in `folder`; each may hold wildcards, and then stands for the first in order of name."""
    for name in names:
        if found := sorted(folder.glob(name)):
            return found[0]
    raise bad_data(f"{folder} holds none of: {', '.join(names)}")


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON file as `kind`."""
    return checked(_parsed(_text(path), str(path)), kind, str(path))


def read_json_lines(path: Path, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Each line of a JSON Lines file as `kind`, with where it stands; empty lines are passed over."""
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            where = f"{path}: line {number}"
            yield where, checked(_parsed(line, where), kind, where)


def checked(value: Any, kind: type[T], where: str) -> T:
    """`value` as `kind`, a pydantic type; `where` names it in the error."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        raise bad_data(f"{where}: {key or 'it'}: {first['msg']}, found {_shown(first['input'])}") from error


def picture(where: str, *paths: Path) -> Picture:
    """Reads the first of `paths` that there is when it is needed. Raises InvalidArgument now when there is none."""
    for path in paths:
        if path.is_file():
            return path.read_bytes
    raise bad_data(f"{where}: there is no picture {' or '.join(map(str, paths))}")


@functools.cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise bad_data(f"{path}: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise bad_data(f"cannot read {path}: {error.strerror or error}") from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise bad_data(f"{where}: it is no JSON: {error}") from error


def _shown(value: object, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
