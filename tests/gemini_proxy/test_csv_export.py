import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.accounts.ledger import Entry, EntryKind, Sums
from services.gemini_proxy.csv_export import COLUMNS, PIECE_BYTES, csv_pieces, usd
from services.gemini_proxy.usage import Modality, TokenUsage

ENTRY = Entry(
    name="2026-11-26/1795694400000-0",
    at=datetime(2026, 11, 26, 12, 0, 0, 5_000, UTC),
    kind=EntryKind.SETTLED,
    attempt_id="attempt",
    request_id="request",
    tenant="acme",
    member="a",
    model="gemini-3.8-flash",
    answered_by="gemini-3.8-flash-001",
    outcome=Outcome.OK,
    final=True,
    batch=False,
    estimated_input_tokens=1_300,
    sums=Sums(
        attempts=1,
        not_final=0,
        usage=TokenUsage({Modality.TEXT: 100, Modality.IMAGE: 1_120}, {Modality.TEXT: 40}, answer=30, thinking=12),
        cost_nanousd=1_250,
    ),
)


async def written(*entries: Entry) -> bytes:
    async def each() -> AsyncIterator[Entry]:
        for entry in entries:
            yield entry

    pieces = [piece async for piece in csv_pieces(each())]
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


async def test_an_entry_is_a_line_of_stable_columns() -> None:
    assert await written(ENTRY) == (
        b"name,time,kind,attempt_id,request_id,tenant,member,model_asked,model_answered,outcome,batch,input_tokens,"
        b"media_input_tokens,cached_input_tokens,output_tokens,reasoning_output_tokens,estimated_input_tokens,"
        b"cost_nanousd,cost_usd\r\n"
        b"2026-11-26/1795694400000-0,2026-11-26T12:00:00.005Z,settled,attempt,request,acme,a,gemini-3.8-flash,"
        b"gemini-3.8-flash-001,ok,false,1220,1120,40,42,12,1300,1250,0.000001250\r\n"
    )


async def test_an_empty_ledger_is_the_names_of_the_columns() -> None:
    assert read(await written()) == [list(COLUMNS)]


async def test_a_long_ledger_comes_in_bounded_pieces() -> None:
    entries = [replace(ENTRY, request_id=f"request-{number}") for number in range(2_000)]
    rows = read(await written(*entries))
    assert [row[4] for row in rows[1:]] == [entry.request_id for entry in entries]


async def test_what_a_spreadsheet_takes_for_a_formula_is_made_text() -> None:
    for sign in "=+-@\t\r\n＝＋－＠":
        entry = replace(ENTRY, tenant=f"{sign}cmd|' /C calc'!A0", request_id=sign, answered_by=f"{sign}1")
        (row,) = read(await written(entry))[1:]
        assert (row[4], row[5], row[8]) == (f"'{sign}", f"'{sign}cmd|' /C calc'!A0", f"'{sign}1")


async def test_negative_figures_stay_numbers() -> None:
    sums = Sums(0, -1, TokenUsage({Modality.TEXT: -1_300}, answer=-7), -9_000_000_001)
    (row,) = read(await written(replace(ENTRY, kind=EntryKind.CORRECTION, sums=sums)))[1:]
    assert (row[11], row[14], row[17], row[18]) == ("-1300", "-7", "-9000000001", "-9.000000001")


@given(st.lists(st.text(max_size=20), min_size=4, max_size=4))
async def test_any_text_comes_back_as_it_was(texts: Sequence[str]) -> None:
    entry = replace(ENTRY, attempt_id=texts[0], request_id=texts[1], tenant=texts[2], model=texts[3])
    header, row = read(await written(entry))
    assert len(row) == len(header) == len(COLUMNS)
    for cell, text in zip((row[3], row[4], row[5], row[7]), texts, strict=True):
        assert cell == text or (cell == f"'{text}" and text[0] in "=+-@\t\r\n＝＋－＠")


@given(st.integers(-(2**63), 2**63 - 1))
def test_dollars_are_exact(nanousd: int) -> None:
    assert Decimal(usd(nanousd)) == Decimal(nanousd).scaleb(-9)
