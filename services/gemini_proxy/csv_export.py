"""The ledger as CSV (https://www.rfc-editor.org/rfc/rfc4180): a line that names the columns, then one an entry."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing

from services.gemini_proxy.accounts.ledger import Entry

PIECE_BYTES = 64 * 2**10

COLUMNS = (
    "name",
    "time",
    "kind",
    "attempt_id",
    "request_id",
    "tenant",
    "member",
    "model_asked",
    "model_answered",
    "outcome",
    "batch",
    "input_tokens",
    "media_input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "estimated_input_tokens",
    "cost_nanousd",
    "cost_usd",
)
"""Programs read them by place too: new ones are added at the end."""

# A cell that begins so is a formula to a spreadsheet (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA_SIGNS = tuple("=+-@\t\r\n＝＋－＠")


async def csv_pieces(entries: AsyncIterator[Entry]) -> AsyncIterator[bytes]:
    """UTF-8, at most 64 KiB a piece; closes `entries` at the end."""
    data = bytearray(_line(COLUMNS))
    async with aclosing(entries):
        async for entry in entries:
            data += _line(_cells(entry))
            while len(data) > PIECE_BYTES:
                yield bytes(data[:PIECE_BYTES])
                del data[:PIECE_BYTES]
    yield bytes(data)


def usd(nanousd: int) -> str:
    """Exact, with nine decimal places."""
    whole, part = divmod(abs(nanousd), 10**9)
    return f"{'-' if nanousd < 0 else ''}{whole}.{part:09}"


def _cells(entry: Entry) -> tuple[str | int, ...]:
    sums, tokens = entry.sums, entry.sums.usage
    return (
        _inert(entry.name),
        entry.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        entry.kind.value,
        _inert(entry.attempt_id),
        _inert(entry.request_id),
        _inert(entry.tenant),
        _inert(entry.member),
        _inert(entry.model),
        _inert(entry.answered_by),
        entry.outcome.value,
        "true" if entry.batch else "false",
        tokens.input_tokens,
        tokens.media_tokens,
        tokens.cached_tokens,
        tokens.output_tokens,
        tokens.thinking,
        entry.estimated_input_tokens,
        sums.cost_nanousd,
        usd(sums.cost_nanousd),
    )


def _line(cells: Iterable[str | int]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()


def _inert(text: str) -> str:
    """With an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text
