"""The audit log: a JSON object a line for every call, who made it and what became of it; never what was asked or shown.

Lines are appended by a thread of their own, from a bounded queue; where the disk cannot follow or is full, lines are
left out, and a later one says how many (`lost`). The file is rotated by size, and so many old ones are kept.
"""

import json
import logging
import os
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import QueueListener, RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from chiasm.v1.errors_pb2 import ErrorReason
from services.gateway.tenants.identity import Identity
from services.runtime.errors import ChiasmError

logger = logging.getLogger(__name__)

QUEUED = 10_000
"""Lines that may wait for the disk."""


@dataclass
class Entry:
    """What is told of a call. Its handler fills in what it knows."""

    method: str
    """`package.Service/Method`."""
    certificate_names: tuple[str, ...] = ()
    identity: Identity | None = None
    """None where the caller proved none."""
    model: str = ""
    """As asked for; empty where the policy decides."""
    request_id: str = ""
    cost_nanousd: int | None = None
    status: str = "OK"
    reason: str = ""

    def record(self) -> dict[str, Any]:
        told = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": self.method,
            "status": self.status,
            "reason": self.reason,
            "tenant": self.identity and self.identity.tenant,
            "caller": self.identity and self.identity.caller,
            "via": self.identity and self.identity.via,
            "certificate": list(self.certificate_names),
            "model": self.model,
            "request_id": self.request_id,
            "cost_nanousd": self.cost_nanousd,
        }
        return {name: value for name, value in told.items() if value not in (None, "", [])}


class AuditLog:
    """Args:
    path: the file; kept nowhere when None.
    max_bytes: of a file; then it is renamed to `PATH.1`, and the one before to `PATH.2`.
    files: of the old ones that are kept, 1 or more.
    """

    def __init__(self, path: Path | None, *, max_bytes: int = 100 * 2**20, files: int = 10) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._files = files
        self._lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUED)
        self._file: _File | None = None
        self._writer: _Writer | None = None
        self._left_out = 0
        self._told_lost = 0

    def open(self) -> None:
        """To be called before the first call. Raises OSError when the file cannot be written."""
        if self._path is None:
            return
        self._file = _File(
            self._path, maxBytes=self._max_bytes, backupCount=self._files, encoding="utf-8", errors="backslashreplace"
        )
        self._writer = _Writer(self._lines, self._file)
        self._writer.start()

    def close(self) -> None:
        """Writes what is left. Blocks for as long as the disk takes."""
        if self._writer is not None:
            self._writer.stop()
            self._file.close()

    @contextmanager
    def call(self, entry: Entry) -> Iterator[None]:
        """Tells of a call at its end, whatever that is."""
        try:
            yield
        except ChiasmError as error:
            entry.status = error.code.name
            entry.reason = ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
            raise
        except NotImplementedError:
            entry.status = "UNIMPLEMENTED"
            raise
        except BaseException as error:
            entry.status = "INTERNAL" if isinstance(error, Exception) else "CANCELLED"
            raise
        finally:
            self._append(entry.record())

    def _append(self, record: dict[str, Any]) -> None:
        if self._writer is None:
            return
        lost = self._left_out + self._file.failed - self._told_lost
        if lost:
            record["lost"] = lost
        line = logging.makeLogRecord({"msg": json.dumps(record, ensure_ascii=False), "lost": lost})
        try:
            self._lines.put_nowait(line)
            self._told_lost += lost
        except queue.Full:
            self._left_out += 1


class _File(RotatingFileHandler):
    """Its owner's alone; opened anew after a failure, so that nothing half written stays in its buffers."""

    failed = 0
    """Lines that the disk did not take, those included whose loss they would have told of."""

    def _open(self) -> TextIO:
        cut_short = _is_cut_short(Path(self.baseFilename))
        stream = open(  # noqa: SIM115 - the handler closes it
            self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=_open_owned
        )
        if cut_short:
            stream.write("\n")
        return stream

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            logger.error("the audit log cannot be written", extra={"why": str(sys.exc_info()[1])})
        self.failed += 1 + record.lost
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _open_owned(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _is_cut_short(file: Path) -> bool:
    """Whether a full disk or a crash has left half a line at its end."""
    if not file.is_file() or file.stat().st_size == 0:
        return False
    with file.open("rb") as content:
        content.seek(-1, os.SEEK_END)
        return content.read() != b"\n"


class _Writer(QueueListener):
    def enqueue_sentinel(self) -> None:
        self.queue.put(self._sentinel)  # the default gives up where the queue is full
