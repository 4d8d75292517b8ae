"""Text read off pictures by an OCR engine, in processes of its own: as many at once as there are, each in its time."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from opentelemetry import metrics

from services.runtime.child_calls import ChildCalls
from services.runtime.children import CallFailed

logger = logging.getLogger(__name__)

IN_HAND = 4
"""Most questions for each process: it works at one, and the others wait."""
# The engine takes 0.3 GiB, and 1.2 GiB for the largest pictures; of addresses, which are bounded, it takes more.
_MEMORY_BYTES = 3 * 2**30
# The first picture's includes the engine's start.
_PICTURE_TIMEOUT_S = 30.0

_readings = metrics.get_meter("chiasm.gateway").create_counter(
    "chiasm.gateway.ocr.readings",
    unit="{question}",
    description="Questions whose pictures were to be read to compare answers with; by outcome.",
)


@dataclass(frozen=True)
class Line:
    """A line of text on a picture."""

    text: str
    score: float
    """How sure the engine is of it, 0 to 1."""


class Outcome(StrEnum):
    """What became of a reading; all but the first leave the check out."""

    READ = "read"
    BUSY = "busy"
    """Too many were in hand."""
    LATE = "late"
    """It was not done in the time given."""
    UNREADABLE = "unreadable"
    """A file is damaged, too large, or no picture that is read here."""
    FAILED = "failed"
    """The engine raised an exception, or its process ended."""


class TextReader:
    """Its processes start with the first questions and end with `close` or with this one."""

    def __init__(self, processes: int) -> None:
        """`processes` is 1 or more."""
        self._most = IN_HAND * processes
        self._in_hand = 0
        self._lines = ChildCalls(_lines, children=processes, memory_bytes=_MEMORY_BYTES, timeout_s=_PICTURE_TIMEOUT_S)

    async def read(self, pictures: Sequence[bytes], until: float) -> list[Line] | None:
        """The lines of all pictures, files as they came. None where that cannot be had, or not until `until`, by the
        event loop's clock in seconds."""
        lines, outcome = await self._read(pictures, until)
        _readings.add(1, {"outcome": outcome})
        return lines

    async def close(self) -> None:
        """Ends the processes."""
        await self._lines.close()

    async def _read(self, pictures: Sequence[bytes], until: float) -> tuple[list[Line] | None, Outcome]:
        if self._in_hand >= self._most:
            return None, Outcome.BUSY
        self._in_hand += 1
        try:
            async with asyncio.timeout_at(until) as scope:
                lines: list[Line] = []
                for picture in pictures:
                    if (found := await self._lines(picture)) is None:
                        return None, Outcome.UNREADABLE
                    lines += found
                return lines, Outcome.READ
        except TimeoutError:
            if not scope.expired():
                raise
            return None, Outcome.LATE
        except CallFailed as error:
            logger.warning("the text of a picture could not be read", extra={"why": str(error)})
            return None, Outcome.FAILED
        finally:
            self._in_hand -= 1


def _lines(picture: bytes) -> list[Line] | None:
    # Only the children load the engine, which need not be installed.
    from services.gateway.cascade.ocr_engine import lines_of

    return lines_of(picture)
