"""Documents on their way into a table: whole or not at all, many a commit."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
from lancedb import AsyncTable

from services.embedder.index.entries import CollectionSpec, Entry
from services.embedder.index.failures import STORAGE_ERRORS, first_line, index_unavailable, is_conflict
from services.embedder.index.filters import any_of
from services.embedder.index.observation import observed
from services.embedder.index.rows import absent_rows, rows_of

logger = logging.getLogger(__name__)

MAX_DOCUMENTS = 1_024
"""That wait for a commit or are in one, whether their callers do or have left; others wait outside."""
ATTEMPTS = 8
MERGE_TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True)
class Stored:
    """What a table has of a document: each part's digest and number of parts, None of a part that is gone."""

    parts: Mapping[int, tuple[str, int] | None]

    @property
    def whole(self) -> tuple[str, int] | None:
        """The digest and the number of parts; None where there is no document, or pieces of several versions."""
        live = [part for part in self.parts.values() if part is not None]
        return live[0] if live and set(live) == {(live[0][0], len(live))} else None


@dataclass(frozen=True, eq=False)
class _Waiting:
    document_id: str
    rows: pa.Table
    done: asyncio.Future[None]


class Writer:
    """Puts documents into one table; concurrent calls share commits. Any number of processes may write the same."""

    def __init__(self, table: AsyncTable, spec: CollectionSpec, check: Callable[[], Awaitable[None]]) -> None:
        """`check` raises NotFound where the table is no collection's any more: nothing in it will be found."""
        self._table = table
        self._spec = spec
        self._check = check
        self._room = asyncio.Semaphore(MAX_DOCUMENTS)
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    async def put(self, documents: Sequence[Sequence[Entry]]) -> None:
        """Returns once all are durable. Raises Unavailable: each is then as it was, or as it was to be.

        Raises Internal where vectors are not as the spec has them, NotFound where the collection has gone.
        """
        stored: list[asyncio.Future[None]] = []
        try:
            for entries in documents:
                stored.append(await self._enqueue(entries))
            outcomes = await asyncio.gather(*stored, return_exceptions=True)
        finally:
            for each in stored:
                each.cancel()
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def close(self) -> None:
        """Waits for what is being committed."""
        if self._committing is not None:
            await self._committing

    async def stored(self, document_ids: Iterable[str]) -> tuple[dict[str, Stored], int]:
        """What there is of the documents at this moment, whoever wrote it, and a version that it is not older than.

        Raises what LanceDB raises.
        """
        await self._table.checkout_latest()
        version = await self._table.version()
        query = self._table.query().where(any_of("document_id", list(document_ids)))
        found: dict[str, dict[int, tuple[str, int] | None]] = {}
        for row in (await query.select(["document_id", "part", "digest", "parts"]).to_arrow()).to_pylist():
            part = None if row["digest"] is None else (row["digest"], row["parts"])
            found.setdefault(row["document_id"], {})[row["part"]] = part
        return {document_id: Stored(parts) for document_id, parts in found.items()}, version

    async def _enqueue(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        await self._room.acquire()
        try:
            rows = await asyncio.to_thread(rows_of, entries, self._spec)
        except BaseException:
            self._room.release()
            raise
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(entries[0].document_id, rows, done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_waiting())
        return done

    async def _commit_waiting(self) -> None:
        """Ends when nobody waits. Who waits for a commit is told what it fails with."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                error: Exception | None = index_unavailable()
                try:
                    # Whose caller has left is not stored. Of one document put twice the later stands.
                    await self._commit({each.document_id: each.rows for each in batch if not each.done.done()})
                    error = None
                except Exception as failure:  # noqa: BLE001 - each of them raises it
                    error = failure
                finally:
                    self._end(batch, error)
        finally:
            self._committing = None

    def _end(self, batch: Sequence[_Waiting], error: Exception | None) -> None:
        for each in batch:
            self._room.release()
            if each.done.done():  # its caller has left
                continue
            if error is None:
                each.done.set_result(None)
            else:
                each.done.set_exception(error)

    async def _commit(self, documents: dict[str, pa.Table]) -> None:
        """One commit, unless another process writes the same documents in the same moment.

        Raises NotFound where the collection was deleted before: all is lost with its table.
        """
        if not documents:
            return
        with observed("put", documents=len(documents)):
            for attempt in range(ATTEMPTS):
                try:
                    documents = await self._merge(documents)
                except STORAGE_ERRORS as error:
                    if not is_conflict(error):
                        logger.error("documents were not stored: %s", first_line(error))
                        raise index_unavailable() from error
                if not documents:
                    await self._check()
                    return
                await asyncio.sleep(random.uniform(0, 0.05 * 2**attempt))
            raise index_unavailable()

    async def _merge(self, documents: dict[str, pa.Table]) -> dict[str, pa.Table]:
        """Those that have to be put again, because a version of another process has got mixed into them.

        A merge replaces parts one by one, and adds those that are new; parts that the document has lost are emptied in
        the same commit. When another process has committed since they were looked up, Lance repeats the merge with the
        parts as they are then, of which the lost ones may be more.
        """
        before, version = await self.stored(documents)
        absent = [
            (document_id, part)
            for document_id, rows in documents.items()
            if document_id in before
            for part in before[document_id].parts.keys() - set(rows.column("part").to_pylist())
        ]
        rows = pa.concat_tables([*documents.values(), absent_rows(absent, self._spec)])
        merge = self._table.merge_insert(["document_id", "part"]).when_matched_update_all()
        # By way of a scalar index Lance does not note which keys are inserted, and two writers may insert the same.
        merge = merge.when_not_matched_insert_all().use_index(False)
        result = await merge.execute(rows, on_bad_vectors="null", timeout=MERGE_TIMEOUT)
        if result.version == version + 1:
            return {}
        after, _ = await self.stored(documents)
        return {each: rows for each, rows in documents.items() if each in after and after[each].whole is None}
