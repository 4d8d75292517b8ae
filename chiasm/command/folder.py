"""A folder's files as documents: which are taken, what they are called, and what is said of them."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath

from chiasm.errors import InvalidArgument
from chiasm.search import FieldType, MetadataValue

TEXTS = frozenset({".txt", ".md"})
PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"))
FILMS = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv"))
FILES = PICTURES | FILMS | {".pdf"}
"""By their names; the server looks into them."""


@dataclass(frozen=True)
class Found:
    """A file to be indexed."""

    id: str
    """Its path below the folder, with `/`."""
    path: Path
    caption_path: Path | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)

    @property
    def is_text(self) -> bool:
        return self.path.suffix.lower() in TEXTS


@dataclass(frozen=True)
class Folder:
    """What is in a folder and below it."""

    files: tuple[Found, ...]
    """By their names."""
    skipped: int
    """Files that are neither texts, pictures, PDFs nor films, and links that lead out of the folder or nowhere."""
    unread: Mapping[str, InvalidArgument | OSError]
    """Why files, and folders with all that is in them, cannot be taken, by their paths below the folder."""


def look_into(folder: Path, *, captions: bool, metadata: Mapping[str, Mapping[str, MetadataValue]]) -> Folder:
    """Every file that is not hidden. With `captions`, `NAME.txt` beside another file `NAME.*` is its caption.

    Raises InvalidArgument where the folder cannot be read or has none, or the metadata name a file that is not in it.
    """
    taken, skipped, unread = [], 0, {}
    for path in _files(folder, unread):
        try:
            if path.suffix.lower() not in TEXTS | FILES or not _is_inside(path, folder):
                skipped += 1
            elif path.relative_to(folder).as_posix() == _id(path, folder):
                taken.append(path)
            else:
                unread[_id(path, folder)] = InvalidArgument("its name is not UTF-8", reason="FIELD_INVALID")
        except OSError as error:
            unread[_id(path, folder)] = error
    beside = {path.with_suffix("") for path in taken if path.suffix.lower() in FILES} if captions else set()
    said = {path.with_suffix(""): path for path in taken if path.suffix.lower() == ".txt"} if captions else {}
    files = []
    for path in taken:
        name = path.with_suffix("")
        if said.get(name) == path and name in beside:
            continue
        own = _id(path, folder)
        caption = said.get(name) if path.suffix.lower() in FILES else None
        files.append(Found(own, path, caption, metadata.get(own, {})))
    if strangers := sorted(metadata.keys() - {file.id for file in files}):
        raise InvalidArgument(
            f"the metadata are of {strangers[0]!r}, which is not indexed", reason="FIELD_INVALID", field="metadata"
        )
    if not taken and not unread:
        message = f"there is no picture, PDF, film or text in {folder}"
        raise InvalidArgument(message, reason="FIELD_INVALID", field="folder")
    return Folder(tuple(files), skipped, unread)


def _files(folder: Path, unread: dict[str, InvalidArgument | OSError]) -> Iterator[Path]:
    """All below it that is not hidden. Folders that cannot be read go into `unread`. Raises InvalidArgument."""
    if not folder.is_dir():
        raise InvalidArgument(f"{folder} is no folder", reason="FIELD_INVALID", field="folder")

    def note(error: OSError) -> None:
        path = Path(error.filename)
        if path == folder:
            message = f"cannot read {folder}: {error.strerror}"
            raise InvalidArgument(message, reason="FIELD_INVALID", field="folder") from error
        unread[_id(path, folder)] = error

    for here, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether it is a file, or a link to one in the folder."""
    return path.is_file() and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _id(path: Path, folder: Path) -> str:
    """With what is not UTF-8 escaped."""
    own = PurePath(path.relative_to(folder)).as_posix()
    return own.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_metadata(file: Path) -> dict[str, dict[str, MetadataValue]]:
    """By document, from JSON lines: each an object whose `id` is the file's path below the folder.

    Texts in the form of ISO 8601 with a time zone are moments. Raises InvalidArgument naming the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # JSON may hold what `splitlines` splits at
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"cannot read {file}: {error}", reason="FIELD_INVALID", field="metadata") from error
    found: dict[str, dict[str, MetadataValue]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name = entry.pop("id")
            found[str(name)] = {field: _value(value) for field, value in entry.items() if value is not None}
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
            message = f"line {number} of {file} is no object with an `id` and plain values"
            raise InvalidArgument(message, reason="FIELD_INVALID", field="metadata") from error
    return found


def field_types(metadata: Mapping[str, Mapping[str, MetadataValue]]) -> dict[str, FieldType]:
    """The fields of a collection that takes them all. Raises InvalidArgument where a field has values of two types."""
    types: dict[str, FieldType] = {}
    for values in metadata.values():
        for name, value in values.items():
            kind, before = _type(value), types.get(name)
            if {kind, before} == {FieldType.INTEGER, FieldType.NUMBER}:
                kind = FieldType.NUMBER
            elif before not in (None, kind):
                message = f"{name!r} is {before} in one line, and {kind} in another"
                raise InvalidArgument(message, reason="FIELD_INVALID", field="metadata")
            types[name] = kind
    return types


def _value(value: object) -> MetadataValue:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        return moment if moment.tzinfo else value
    if isinstance(value, bool | int | float):
        return value
    raise TypeError("neither a text, a number nor a truth value")


def _type(value: MetadataValue) -> FieldType:
    match value:
        case bool():
            return FieldType.BOOLEAN
        case int():
            return FieldType.INTEGER
        case float():
            return FieldType.NUMBER
        case datetime():
            return FieldType.TIMESTAMP
    return FieldType.STRING
