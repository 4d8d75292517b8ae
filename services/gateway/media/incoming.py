"""Files on their way in: in a temporary file until they are whole, and hashed as they come."""

import asyncio
import hashlib
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

HEAD_BYTES = 1_024
"""What of a file tells its type."""


class Incoming:
    """A file on its way in. The temporary file has no name, and is gone with the process."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.head = b""
        """The first bytes."""
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._closed = False
        # Threads cannot be cancelled: one may still write when its upload has broken off.
        self._lock = threading.Lock()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def write(self, data: bytes) -> None:
        await asyncio.to_thread(self._write, data)
        self.size_bytes += len(data)

    async def read(self) -> IO[bytes]:
        """All that was written, from its start."""
        await asyncio.to_thread(self._file.seek, 0)
        return self._file

    async def close(self) -> None:
        await asyncio.shield(asyncio.to_thread(self._close))

    def _write(self, data: bytes) -> None:
        with self._lock:
            if self._closed:
                return
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            self._file.write(data)
            self._hash.update(data)
            self.head += data[: HEAD_BYTES - len(self.head)]

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()


@asynccontextmanager
async def incoming() -> AsyncIterator[Incoming]:
    """To be written, and then given to `MediaStore.put`. Leaves nothing behind."""
    file = Incoming()
    try:
        yield file
    finally:
        await file.close()
