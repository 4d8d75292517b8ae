"""What a flight has said so far, for any number of readers."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from chiasm.v1 import generation_pb2

Event = generation_pb2.StreamGenerateResponse


@dataclass(frozen=True)
class Break:
    """The answer so far is void: somebody else answers from the start."""

    reason: generation_pb2.SupersededReason


Item = Event | Break


class Log:
    """Grows until it ends, well or with an error.

    Up to `max_bytes` everything is kept. Beyond, what all readers have taken is dropped, and the writer waits for the
    slowest of them.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._items: list[Item] = []
        self._sizes: list[int] = []
        self._bytes = 0
        self._dropped = 0
        self._readers: set[Reader] = set()
        self.changed = asyncio.Event()
        """Set at the next item, the end, or a nudge; then there is another. Get hold of it before you look."""
        self._taken = asyncio.Event()
        self.finished = False
        """Whether the answer is complete."""
        self.ended = False
        self.error: Exception | None = None
        """What it ended with, if with an error."""

    @property
    def whole(self) -> bool:
        """Whether a reader that comes now gets everything from the start."""
        return not self._dropped and self._bytes <= self._max_bytes

    async def append(self, item: Item) -> None:
        """Waits while the readers have too much before them."""
        size = 0 if isinstance(item, Break) else item.ByteSize()
        self._items.append(item)
        self._sizes.append(size)
        self._bytes += size
        self.finished = not isinstance(item, Break) and item.HasField("finished")
        self.nudge()
        while self._bytes > self._max_bytes and not self._drop():
            self._taken.clear()
            await self._taken.wait()

    def end(self, error: Exception | None = None) -> None:
        """Does nothing when it has ended before."""
        if not self.ended:
            self.ended, self.error = True, error
            self.nudge()

    def nudge(self) -> None:
        """Wakes whoever waits for a change."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def reader(self, *, from_here: bool = False) -> "Reader":
        """Reads from the start, or what comes from now on; the caller closes it."""
        reader = Reader(self, self._dropped + len(self._items) if from_here else 0)
        self._readers.add(reader)
        return reader

    def take(self, reader: "Reader") -> list[Item]:
        """What `reader` has not had yet."""
        items = self._items[reader.position - self._dropped :]
        reader.position += len(items)
        self._taken.set()
        return items

    def leave(self, reader: "Reader") -> None:
        self._readers.discard(reader)
        self._taken.set()

    def _drop(self) -> bool:
        """Drops what every reader has taken; says whether that made room."""
        end = self._dropped + len(self._items)
        count = min((reader.position for reader in self._readers), default=end) - self._dropped
        self._bytes -= sum(self._sizes[:count])
        del self._items[:count], self._sizes[:count]
        self._dropped += count
        return self._bytes <= self._max_bytes


class Reader:
    """A place in a log."""

    def __init__(self, log: Log, position: int) -> None:
        self._log = log
        self.position = position

    def take(self) -> list[Item]:
        """What came since the last time."""
        return self._log.take(self)

    async def items(self) -> AsyncGenerator[Item, None]:
        """Each item as it comes, to the end. Raises what the log ended with."""
        while True:
            while items := self.take():
                for item in items:
                    yield item
            if self._log.ended:
                break
            await self._log.changed.wait()
        if self._log.error is not None:
            raise self._log.error.with_traceback(None)

    def close(self) -> None:
        self._log.leave(self)
