"""Settlements that wait on disk until the shared books are back, one JSON object a line.

What was reserved without the shared books is written before it is used, so that it is booked as lost when the process
dies before it settles. Replaying is idempotent by attempt.
"""

import asyncio
import fcntl
import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from services.gemini_proxy.accounts.books import Books, Claim, Origin, Outcome, Settlement
from services.gemini_proxy.accounts.errors import BooksUnavailable
from services.gemini_proxy.usage import Modality, TokenUsage
from services.runtime.errors import ChiasmError, FailedPrecondition

logger = logging.getLogger(__name__)


class Spool:
    """Two files: the one written to, and, while it is replayed, the one before. Each write is on the disk on return.

    Args:
        path: of the one written to; its folder exists.
        max_bytes: of each. Beyond half of it nothing is reserved, beyond the whole nothing is settled.
    Raises FailedPrecondition when another process has the file.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._old_path = path.with_name(path.name + ".old")
        self._unread_path = path.with_name(path.name + ".unread")
        self._max_bytes = max_bytes
        self._lock_file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock_file)
            raise FailedPrecondition(f"another process has the spool {path.name}") from None
        self._open()
        self._alive: set[str] = set()
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._file_lock = asyncio.Lock()

    @property
    def size_bytes(self) -> int:
        """What waits to be replayed."""
        return self._size + (self._old_path.stat().st_size if self._old_path.exists() else 0)

    async def reserved(self, claim: Claim, member: str, began_at: float) -> None:
        """Raises BooksUnavailable when there is no room or the disk fails."""
        line = {
            "attempt_id": claim.attempt_id,
            "cost_nanousd": claim.cost_nanousd,
            "origin": asdict(origin_of(claim, member, began_at=began_at, ended_at=began_at)),
        }
        try:
            await self._queue({"reserved": line}, self._max_bytes // 2)
        except asyncio.CancelledError:  # the line is written all the same
            with suppress(BooksUnavailable):
                self._queue({"settled": asdict(given_back(claim, member, began_at=began_at))}, self._max_bytes).cancel()
            raise
        self._alive.add(claim.attempt_id)

    async def settled(self, settlement: Settlement) -> None:
        """Raises BooksUnavailable when there is no room or the disk fails."""
        try:
            await self._queue({"settled": asdict(settlement)}, self._max_bytes)
        finally:
            self._alive.discard(settlement.attempt_id)

    def has_open(self, attempt_id: str) -> bool:
        """Whether it was reserved here and not settled."""
        return attempt_id in self._alive

    async def replay(self, books: Books) -> int:
        """Settles in `books` what waits; how many there were. Raises BooksUnavailable, and goes on the next time."""
        replayed = 0
        while True:
            if not self._old_path.exists():
                if not self._size:
                    return replayed
                async with self._file_lock:
                    await asyncio.to_thread(self._rotate)
            alive, settlements = await asyncio.to_thread(self._read_old)
            for settlement in settlements:
                try:
                    await books.settle(settlement)
                except BooksUnavailable:
                    raise
                except ChiasmError as error:
                    logger.error("attempt %s cannot be booked: %s", settlement.attempt_id, error.message)
                replayed += 1
            # Attempts that this process has in flight: their lines are kept until they are settled.
            for line in alive:
                await self._queue(line, self._max_bytes)
            self._old_path.unlink()
            if alive:
                return replayed

    async def close(self) -> None:
        """Waits for what is being written."""
        if self._writer is not None:
            await self._writer
        os.close(self._file)
        os.close(self._lock_file)

    def _queue(self, line: Mapping[str, object], most_bytes: int) -> asyncio.Future[None]:
        """Done when the line is on the disk, or has failed to get there."""
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if self._size + sum(len(other) for other, _ in self._waiting) + len(data) > most_bytes:
            raise BooksUnavailable("the books cannot be reached, and too much waits for them")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((data, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        return written

    async def _write_all(self) -> None:
        """What came while a piece was written is the next piece."""
        while self._waiting:
            piece, self._waiting = self._waiting, []
            failed = None
            async with self._file_lock:
                try:
                    await asyncio.to_thread(self._write, b"".join(data for data, _ in piece))
                except OSError as error:
                    logger.error("the spool cannot be written: %s", error.strerror)
                    failed = BooksUnavailable("the books cannot be reached, and nothing can wait for them")
            for _, written in piece:
                if written.done():
                    continue
                if failed:
                    written.set_exception(failed)
                else:
                    written.set_result(None)

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _open(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # A process that died while it wrote left a piece of a line, which nobody was told of.
            whole = self._path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(file, whole)
            self._sync_folder()
        except OSError:
            os.close(file)
            raise
        self._file, self._size = file, whole

    def _rotate(self) -> None:
        before = self._file
        self._path.rename(self._old_path)
        try:
            self._open()
        except OSError:
            self._old_path.rename(self._path)
            raise
        os.close(before)

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read_old(self) -> tuple[list[dict[str, object]], list[Settlement]]:
        """The lines of attempts in flight, and the settlements: those written, and those of attempts that were lost."""
        reserved: dict[str, dict] = {}
        settled: dict[str, Settlement] = {}
        with self._old_path.open("rb") as lines:
            for text in lines:
                try:
                    line = json.loads(text)
                    if "reserved" in line:
                        _lost(line["reserved"])
                        reserved[line["reserved"]["attempt_id"]] = line
                    else:
                        settlement = _settlement(line["settled"])
                        settled[settlement.attempt_id] = settlement
                except (ValueError, TypeError, KeyError, AttributeError):  # another version's, or a damaged disk's
                    logger.exception("a line of the spool cannot be read; it is kept in %s", self._unread_path.name)
                    with self._unread_path.open("ab") as unread:
                        unread.write(text)
        open_ids = reserved.keys() - settled.keys()
        alive = [reserved[attempt_id] for attempt_id in open_ids & self._alive]
        lost = [_lost(reserved[attempt_id]["reserved"]) for attempt_id in open_ids - self._alive]
        return alive, [*settled.values(), *lost]


def origin_of(claim: Claim, member: str, *, began_at: float, ended_at: float | None = None) -> Origin:
    """Whose the attempt is; ended now unless told."""
    return Origin(
        request_id=claim.request_id,
        tenant=claim.tenant,
        model=claim.model,
        member=member,
        input_tokens=claim.input_tokens,
        began_at=began_at,
        ended_at=time.time() if ended_at is None else ended_at,
    )


def given_back(claim: Claim, member: str, *, began_at: float) -> Settlement:
    """Of an attempt that was never sent."""
    return Settlement(
        claim.attempt_id,
        Outcome.CANCELLED,
        TokenUsage(),
        cost_nanousd=0,
        answered_by="",
        sent=False,
        origin=origin_of(claim, member, began_at=began_at),
    )


def _settlement(fields: dict) -> Settlement:
    usage = fields["usage"]
    for kind in ("input", "cached"):
        usage[kind] = {Modality(modality): count for modality, count in usage[kind].items()}
    origin = fields["origin"]
    return Settlement(
        **fields
        | {
            "outcome": Outcome(fields["outcome"]),
            "usage": TokenUsage(**usage),
            "origin": Origin(**origin) if origin else None,
        }
    )


def _lost(reserved: dict) -> Settlement:
    return Settlement(
        attempt_id=reserved["attempt_id"],
        outcome=Outcome.LOST,
        usage=TokenUsage(),
        cost_nanousd=reserved["cost_nanousd"],
        answered_by="",
        final=False,
        origin=Origin(**reserved["origin"]),
    )
