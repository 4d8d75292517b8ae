"""Has a folder's files indexed: in rounds, until each is stored or refused for good."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from chiasm.client import Client
from chiasm.command.folder import Folder, Found
from chiasm.errors import (
    Cancelled,
    ChiasmError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    Overloaded,
    Unavailable,
)
from chiasm.item_streams import STREAM_S
from chiasm.search import Document, Indexed

MAX_FILE_BYTES = 30 * 2**20
"""Of a file with its caption: a message has 32 MiB, unless the server grants less, and the rest is the metadata."""
MOST_ROUNDS = 30
"""Rounds in a row that bring nothing: then the server is given up."""
MOST_TRIES = 5
"""Offers of a file that the server answers with what may pass: then the file is given up."""
ALONE_S = 600.0
"""Seconds for a file that is offered alone, the most that servers grant a stream: then the file is given up."""
MOST_GIVEN_UP = 5
"""Files in a row that are given up so: then the server is."""
MOST_UNREAD = 1_000
"""Files that cannot be read, in memory at once."""
PAUSE_S = 1.0

_PASSING = (Overloaded, Unavailable, DeadlineExceeded, Cancelled)


@dataclass
class Tally:
    """What has become of the files so far."""

    total: int
    stored: int = 0
    """Those that were there already among them."""
    unchanged: int = 0
    entries: int = 0
    failures: dict[str, ChiasmError | OSError] = field(default_factory=dict)

    @property
    def done(self) -> int:
        return self.stored + len(self.failures)


class Indexing:
    """Of one folder into one collection.

    What is unanswered when a stream ends early goes behind the rest. Where a whole stream brings no answer, files are
    offered alone until one is answered: so it is known which of them does not come to an end, or is too large.
    """

    def __init__(self, client: Client, collection: str, found: Folder, told: Callable[[], None]) -> None:
        """`told` is called whenever `tally` has changed."""
        self.tally = Tally(len(found.files) + len(found.unread), failures=dict(found.unread))
        self._client = client
        self._collection = collection
        self._left = {file.id: file for file in found.files}
        self._tries: Counter[str] = Counter()
        self._told = told
        self._unread: deque[tuple[Found, ChiasmError | OSError]] = deque()
        self._alone = False
        self._given_up = 0  # in a row

    def run(self) -> None:
        """Raises a ChiasmError where the server fails for good: what is stored stays, and may be begun again."""
        idle = 0
        while self._left:
            before = len(self._left)
            error = self._round()
            idle = idle + 1 if len(self._left) == before else 0
            if error and (idle >= MOST_ROUNDS or not isinstance(error, _PASSING)):
                raise error
            if error:
                time.sleep(PAUSE_S)

    def _round(self) -> ChiasmError | None:
        """Offers all that is left, or the first of it alone; what to wait for before the next round, if anything."""
        files = list(self._left.values())
        alone = self._alone or len(files) == 1
        try:
            error = self._offer(files[:1], ALONE_S) if alone else self._offer(files, STREAM_S)
        except ChiasmError as failure:
            if not _is_of_one_file(failure):
                return failure
            if alone:
                return self._give_up(files[0], failure)
            self._alone = len(self._left) == len(files)
            return failure if isinstance(failure, _PASSING) else None
        self._alone, self._given_up = False, 0
        return error

    def _offer(self, files: Sequence[Found], stream_s: float) -> ChiasmError | None:
        """Why not all that the server read is done, None where it is. Raises ChiasmError where a stream fails."""
        passing, offered = None, list[Found]()
        try:
            documents = self._documents(files, offered)
            for outcome in self._client.index(self._collection, documents, stream_s=stream_s):
                passing = self._take(outcome) or passing
                self._take_unread()
        finally:
            self._take_unread()
            unanswered = [file for file in offered if self._left.pop(file.id, None)]
            self._left |= {file.id: file for file in unanswered}
        return passing or (Internal("the server left documents unanswered") if unanswered else None)

    def _take(self, outcome: Indexed) -> ChiasmError | None:
        """Why the file is to be offered again; None where it is done."""
        if isinstance(outcome.error, _PASSING):
            self._tries[outcome.document_id] += 1
            if self._tries[outcome.document_id] < MOST_TRIES:
                return outcome.error
        if self._left.pop(outcome.document_id, None) is not None:
            if outcome.error:
                self.tally.failures[outcome.document_id] = outcome.error
            else:
                self.tally.stored += 1
                self.tally.unchanged += outcome.unchanged
                self.tally.entries += outcome.entries
            self._told()
        return None

    def _give_up(self, file: Found, failure: ChiasmError) -> None:
        """Raises `failure` where it is the server that brings no answers."""
        self._alone = True
        if isinstance(failure, DeadlineExceeded):
            self._given_up += 1
            if self._given_up == MOST_GIVEN_UP:
                raise failure
            failure = DeadlineExceeded(f"not done within {ALONE_S:g} s, alone in its stream")
        if self._left.pop(file.id, None):
            self.tally.failures[file.id] = failure
            self._told()

    def _take_unread(self) -> None:
        while self._unread:
            file, error = self._unread.popleft()
            self._take(Indexed(file.id, 0, error=error))

    def _documents(self, files: Sequence[Found], offered: list[Found]) -> Iterator[Document]:
        """Read in another thread, each when it is its turn; ends early where too many cannot be."""
        for file in files:
            try:
                document = _document(file)
            except (OSError, InvalidArgument) as error:
                self._unread.append((file, error))
                if len(self._unread) >= MOST_UNREAD:
                    return
            else:
                offered.append(file)
                yield document


def _is_of_one_file(failure: ChiasmError) -> bool:
    """Whether a stream may have failed for one of its files: it takes too long, or is larger than the server takes."""
    return isinstance(failure, DeadlineExceeded) or failure.reason == "MESSAGE_SIZE"


def _document(file: Found) -> Document:
    """Raises OSError, and InvalidArgument where its size or its text is at fault."""
    size = sum(path.stat().st_size for path in (file.path, file.caption_path) if path)
    if size > MAX_FILE_BYTES:
        message = f"{size:,} bytes with its caption, and at most {MAX_FILE_BYTES:,} can be sent"
        raise InvalidArgument(message, reason="MEDIA_SIZE")
    if file.is_text:
        return Document(file.id, text=_text(file.path.read_bytes(), file), metadata=file.metadata)
    caption = _text(file.caption_path.read_bytes(), file).strip() if file.caption_path else ""
    return Document(file.id, media=file.path, caption=caption, metadata=file.metadata)


def _text(data: bytes, file: Found) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{file.path.name} has a text that is not UTF-8", reason="FIELD_INVALID") from error
