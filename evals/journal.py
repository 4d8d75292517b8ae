"""A run's folder: what was run, and each item's result as it came, so that a killed run goes on where it was."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from chiasm import InvalidArgument
from evals.suite import Reply


@dataclass(frozen=True)
class Record:
    """What became of an item."""

    id: str
    replies: tuple[Reply, ...]
    """One a prompt; none where it failed."""
    retries: int = 0
    error: str = ""
    """Status and message, where it failed."""
    again: bool = False
    """Whether a later run asks again: it failed, and not because of what was asked."""


@dataclass(frozen=True)
class RunOf:
    """What a run is of. Results of two runs mix only where all of it is the same."""

    suite: str
    items: int
    digest: str
    """Of what is asked and what is right, as `evals.digest` makes it."""
    models: Mapping[str, str]
    """Names to revisions of the models that may answer."""


_RECORD, _RUN_OF = TypeAdapter(Record), TypeAdapter(RunOf)


class Journal:
    """Appends records to `results.jsonl` in its folder, a line each. Use it in a `with` block."""

    def __init__(self, folder: Path, run_of: RunOf, *, fresh: bool = False) -> None:
        """Opens `folder`, made when missing; `fresh` drops what it holds of an earlier run. Blocks.

        Raises InvalidArgument when the folder holds a run of something else or results that do not say of what, OSError
        when it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        about, self._path = folder / "run.json", folder / "results.jsonl"
        if not fresh and not about.exists() and self._path.exists():
            raise _unusable(f"{folder} holds results, and no run.json that says of what")
        if fresh or not about.exists():
            self._path.unlink(missing_ok=True)
            about.write_text(json.dumps(_RUN_OF.dump_python(run_of), indent=1) + "\n", encoding="utf-8")
        else:
            _check_same(_read_about(about), run_of, folder)
        self.records = {record.id: record for record in _read(self._path).values() if not record.again}
        """Those of earlier sessions that stand, by item id."""
        self._file = self._path.open("ab", buffering=0)

    def append(self, record: Record) -> None:
        """Writes a record in one system call, so that threads do not mix and a killed process leaves whole lines."""
        self._file.write(_RECORD.dump_json(record) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _read(path: Path) -> dict[str, Record]:
    """The whole lines by item id, a later one in place of an earlier; cuts off a last one that a kill left torn."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    records = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            record = _RECORD.validate_json(line)
        except ValidationError as error:
            raise _unusable(f"{path}: line {number} is no result: {error.errors()[0]['msg']}") from error
        records[record.id] = record
    return records


def _read_about(path: Path) -> RunOf:
    try:
        return _RUN_OF.validate_json(path.read_bytes())
    except ValidationError as error:
        raise _unusable(f"{path} does not say what was run: {error.errors()[0]['msg']}") from error


def _check_same(earlier: RunOf, now: RunOf, folder: Path) -> None:
    for name, words in (
        ("suite", "suite"),
        ("models", "models"),
        ("items", "number of items"),
        ("digest", "questions"),
    ):
        was, is_now = getattr(earlier, name), getattr(now, name)
        if was != is_now:
            raise _unusable(f"{folder} holds a run of another {words} ({was}, now {is_now})")


def _unusable(message: str) -> InvalidArgument:
    return InvalidArgument(
        f"{message}: start anew with --fresh, or name another folder", reason="FIELD_INVALID", field="out"
    )
