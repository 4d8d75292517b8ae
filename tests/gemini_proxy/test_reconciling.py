import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.gemini_proxy import reconciling
from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.accounts.ledger import EntryKind, Filter
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.reconciling import (
    MAX_LINE_BYTES,
    TOO_LONG,
    Reconciler,
    Reconciliation,
    Span,
    lines_of,
    read_row,
)
from services.gemini_proxy.usage import Modality, TokenUsage
from tests.gemini_proxy.accounts.samples import DAY_MS
from tests.gemini_proxy.usage_server import FLASH, LITE, Served, serving_usage

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SAID = {
    "promptTokenCount": 1_220,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "IMAGE", "tokenCount": 1_120}],
    "cachedContentTokenCount": 40,
    "candidatesTokenCount": 30,
    "thoughtsTokenCount": 12,
    "totalTokenCount": 1_262,
}


def log_row(attempt_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "endpoint": "",
        "logging_time": "2026-11-26T12:00:01.5Z",
        "model": f"publishers/google/models/{FLASH}",
        "model_version": "default",
        "api_method": "StreamGenerateContent",
        "full_request": {"contents": [], "labels": {"chiasm_attempt": attempt_id, "team": "x"}},
        "full_response": {"modelVersion": FLASH, "usageMetadata": SAID, "candidates": []},
    } | changes


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


def reconciler(served: Served) -> Reconciler:
    return Reconciler(served.ledger, served.books, Prices(), members=("a",))


def test_a_row_is_read() -> None:
    row = read_row(lines(log_row("0a-b")))
    assert (row.attempt_id, row.model, row.batch) == ("0a-b", FLASH, False)
    assert row.at == datetime(2026, 11, 26, 12, 0, 1, 500_000, UTC)
    assert row.usage == TokenUsage(
        {Modality.TEXT: 100, Modality.IMAGE: 1_120}, {Modality.TEXT: 40}, answer=30, thinking=12
    )


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-11-26 12:00:00 UTC", NOON),
        ("2026-11-26 12:00:00.000", NOON),
        ("2026-11-26T13:00:00+01:00", NOON),
        (NOON.timestamp(), NOON),
    ],
)
def test_times_are_read_as_bigquery_exports_them(said: object, at: datetime) -> None:
    assert read_row(lines(log_row("a", logging_time=said))).at == at


def test_json_columns_may_be_text() -> None:
    row = log_row("a")
    as_text = row | {name: json.dumps(row[name]) for name in ("full_request", "full_response")}
    assert read_row(lines(as_text)) == read_row(lines(row))


def test_fields_and_modalities_newer_than_ours_are_no_fault() -> None:
    said = {
        "promptTokenCount": 9,
        "promptTokensDetails": [{"modality": "SMELL", "tokenCount": 4, "strength": 1}, {"tokenCount": 5}],
        "billablePromptUsage": {"textCount": 3},
        "trafficType": "ON_DEMAND_NEW",
    }
    response = {"modelVersion": FLASH, "usageMetadata": said}
    assert read_row(lines(log_row("a", full_response=response))).usage == TokenUsage({Modality.TEXT: 9})


def test_the_model_asked_stands_where_none_is_said_to_have_answered() -> None:
    assert read_row(lines(log_row("a", full_response={"usageMetadata": SAID}))).model == FLASH


@pytest.mark.parametrize(
    "row",
    [
        {},
        [],
        "text",
        None,
        log_row(""),
        log_row("A B"),
        log_row("a" * 64),
        log_row("a", full_request={}),
        log_row("a", full_request={"labels": []}),
        log_row("a", full_request="{"),
        log_row("a", full_response={"modelVersion": FLASH}),
        log_row("a", full_response={"usageMetadata": {}}),
        log_row("a", full_response={"usageMetadata": SAID | {"promptTokenCount": -1}}),
        log_row("a", full_response={"usageMetadata": SAID | {"thoughtsTokenCount": 2**31}}),
        log_row("a", full_response={"usageMetadata": SAID | {"promptTokenCount": 5}}),  # less than its details
        log_row("a", full_response={"modelVersion": "no name", "usageMetadata": SAID}),
        log_row("a", logging_time="soon"),
        log_row("a", logging_time="0001-01-01T00:00:00+14:00"),
        log_row("a", logging_time=1e300),
    ],
)
def test_what_is_no_row_of_ours_is_refused(row: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several libraries
        read_row(lines(row))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _spoilt_rows(draw: st.DrawFn) -> bytes:
    """A good row with one of its parts, at any depth, another thing."""
    row = json.loads(json.dumps(log_row("a")))
    part: Any = row
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key = draw(st.sampled_from(keys))
        if isinstance(part[key], dict | list) and part[key] and draw(st.booleans()):
            part = part[key]
        else:
            part[key] = draw(_JSON)
            return json.dumps(row).encode()


@settings(max_examples=400)
@given(st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()) | _spoilt_rows())
@example(b"[" * 100_000)
@example(b"9" * 5_000)
@example(b'{"logging_time":' + b"9" * 5_000 + b"}")
def test_garbage_is_refused_and_never_a_crash(line: bytes) -> None:
    try:
        row = read_row(line)
    except ValueError:
        return
    assert row.attempt_id
    assert all(0 <= count < 2**33 for count in (*row.usage.input.values(), *row.usage.cached.values()))
    assert 0 <= row.usage.output_tokens < 2**32
    row.at.astimezone(UTC)


@given(st.binary(max_size=200).map(lambda data: data.replace(b"\xff", b"\n")), st.lists(st.integers(0, 200)))
async def test_lines_are_the_same_however_they_are_cut(data: bytes, cuts: Sequence[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    cut = [data[start:end] for start, end in pairwise(places)]
    assert [line async for line in lines_of(pieces(*cut))] == [line for line in data.split(b"\n") if line.strip()]


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(1, 30))
async def test_a_line_that_is_too_long_is_one_bad_line(lengths: Sequence[int], size: int) -> None:
    data = b"\n".join(b"x" * length for length in lengths)
    cut = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconciling, "MAX_LINE_BYTES", 16)
        found = [line async for line in lines_of(pieces(*cut))]
    assert found == [b"x" * length if length <= 16 else TOO_LONG for length in lengths if length]


async def test_a_line_of_16_mib_is_read_and_one_more_byte_is_not() -> None:
    row = log_row("a", endpoint="x")
    row["endpoint"] = "x" * (MAX_LINE_BYTES - len(json.dumps(row)) + 1)
    whole = lines(row)
    assert len(whole) == MAX_LINE_BYTES + 1  # its end is not counted
    (line,) = [line async for line in lines_of(pieces(whole))]
    assert read_row(line).attempt_id == "a"
    assert [line async for line in lines_of(pieces(b" " + whole))] == [TOO_LONG]


async def test_attempts_that_stand_by_an_estimate_are_corrected_once() -> None:
    async with serving_usage() as served:
        final = await served.book()
        broken = await served.book(outcome=Outcome.FAILED, final=False, cost=900)
        lost = await served.reserve(tenant="free", cost=5_000_000)
        served.clock.go(31)
        assert await served.books.sweep() == 1
        record = lines(
            *(log_row(attempt) for attempt in (final, broken, lost)),
            log_row("a-stranger"),
            {"full_request": {"labels": {}}},
        )
        cost = Prices().cost_nanousd(read_row(lines(log_row("a"))).usage, FLASH, NOON)
        done = await reconciler(served).reconcile(pieces(record + b"garbage\n\n"))
        assert done == Reconciliation(rows=3, corrected=2, skipped=3, difference_nanousd=2 * cost - 900 - 5_000_000)
        (row,) = await served.ledger.usage(Filter(NOON.date(), NOON.date()))
        assert (row.sums.attempts, row.sums.not_final, row.sums.cost_nanousd) == (3, 0, 700 + 2 * cost)
        again = await reconciler(served).reconcile(pieces(record))
        assert again == Reconciliation(rows=3, corrected=0, skipped=2, difference_nanousd=0)


async def test_what_a_whole_record_lacks_was_never_served() -> None:
    async with serving_usage() as served:
        await served.reserve(cost=1_000)
        served.clock.go(31)
        assert await served.books.sweep() == 1
        served.clock.go(7_200)
        told, untold = await served.reserve(cost=2_000), await served.reserve(cost=3_000)
        served.clock.go(31)
        assert await served.books.sweep() == 2
        served.clock.go(60)
        await served.reserve(cost=4_000)
        served.clock.go(31)
        assert await served.books.sweep() == 1
        # An hour for what the provider works on at still.
        whole = Span(NOON + timedelta(minutes=30), NOON + timedelta(seconds=7_200 + 31 + 62, hours=1))
        before = await _spent(served)
        record = lines(log_row(told, logging_time=(NOON + timedelta(seconds=7_262)).isoformat()))
        done = await reconciler(served).reconcile(pieces(record), whole)
        cost = Prices().cost_nanousd(read_row(lines(log_row("a"))).usage, FLASH, NOON)
        assert done == Reconciliation(rows=1, corrected=2, skipped=0, difference_nanousd=cost - 2_000 - 3_000)
        assert await _spent(served) == before + done.difference_nanousd
        entries = (await served.ledger.entries(Filter(NOON.date(), NOON.date()), page_size=9)).entries
        assert {entry.attempt_id for entry in entries if entry.kind is EntryKind.CORRECTION} == {told, untold}
        again = await reconciler(served).reconcile(pieces(record), whole)
        assert (again.corrected, again.difference_nanousd) == (0, 0)


async def test_what_a_record_cannot_hold_stays_as_it_is() -> None:
    """It was written before one attempt ended, whatever its file says, and another was not Vertex AI's."""
    async with serving_usage() as served:
        served.clock.go(7_200)
        told = await served.reserve(cost=1_000)
        await served.reserve(cost=2_000, member="developer-api")
        served.clock.go(31)
        assert await served.books.sweep() == 2
        served.clock.go(60)
        await served.reserve(cost=4_000)
        served.clock.go(31)
        assert await served.books.sweep() == 1
        whole = Span(NOON, NOON + timedelta(days=1))
        record = lines(log_row(told, logging_time=(NOON + timedelta(seconds=7_240)).isoformat()))
        done = await reconciler(served).reconcile(pieces(record), whole)
        assert (done.rows, done.corrected) == (1, 1)
        done = await reconciler(served).reconcile(pieces(), whole)
        assert done == Reconciliation()


async def test_it_is_priced_by_the_model_that_answered_and_by_batch() -> None:
    async with serving_usage() as served:
        attempts = [await served.book(outcome=Outcome.FAILED, final=False, cost=0) for _ in range(3)]
        response = {"modelVersion": LITE, "usageMetadata": SAID}
        record = lines(
            log_row(attempts[0]),
            log_row(attempts[1], full_response=response),
            log_row(attempts[2], api_method="BatchGenerateContent"),
        )
        done = await reconciler(served).reconcile(pieces(record))
        usage, prices = read_row(record.splitlines()[0]).usage, Prices()
        costs = [prices.cost_nanousd(usage, FLASH, NOON), prices.cost_nanousd(usage, LITE, NOON)]
        batch = prices.cost_nanousd(usage, FLASH, NOON, batch=True)
        assert len({*costs, batch}) == 3
        assert done.difference_nanousd == sum(costs) + batch
        page = await served.ledger.entries(Filter(NOON.date(), NOON.date()), page_size=3)
        assert [entry.answered_by for entry in page.entries] == [FLASH, LITE, FLASH]
        assert [entry.batch for entry in page.entries] == [True, False, False]


async def test_a_model_without_a_price_is_skipped() -> None:
    async with serving_usage() as served:
        attempt = await served.book(outcome=Outcome.FAILED, final=False)
        row = log_row(attempt, full_response={"modelVersion": "unheard-of", "usageMetadata": SAID})
        done = await reconciler(served).reconcile(pieces(lines(row)))
        assert done == Reconciliation(rows=0, corrected=0, skipped=1)


async def test_differences_are_found_on_other_days_than_the_rows() -> None:
    async with serving_usage() as served:
        served.clock.now_ms -= DAY_MS
        attempts = [await served.book(outcome=Outcome.FAILED, final=False, cost=0) for _ in range(5)]
        served.clock.now_ms += DAY_MS
        await served.book()
        done = await reconciler(served).reconcile(pieces(lines(*map(log_row, attempts))))
        cost = Prices().cost_nanousd(read_row(lines(log_row("a"))).usage, FLASH, NOON)
        assert (done.corrected, done.difference_nanousd) == (5, 5 * cost)


async def test_many_corrections_are_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "MOST_CORRECTED", 2)
    monkeypatch.setattr(reconciling, "_PAGE_SIZE", 2)
    async with serving_usage() as served:
        attempts = [await served.book(outcome=Outcome.FAILED, final=False, cost=0) for _ in range(7)]
        done = await reconciler(served).reconcile(pieces(lines(*map(log_row, attempts))))
        cost = Prices().cost_nanousd(read_row(lines(log_row("a"))).usage, FLASH, NOON)
        assert (done.corrected, done.difference_nanousd) == (7, 7 * cost)


async def test_any_mixture_of_rows_and_garbage_corrects_each_attempt_once() -> None:
    random = Random(7)
    async with serving_usage() as served:
        for _ in range(25):
            attempts = [
                await served.book(outcome=Outcome.FAILED, final=False, tenant="free", cost=random.randrange(9_000))
                for _ in range(4)
            ]
            good = [lines(log_row(attempt)) for attempt in attempts]
            bad = [b"{}\n", b"\x00\n", b'{"full_request":\n', lines(log_row("B AD")), lines(log_row("a-stranger"))]
            chosen = random.choices(good + bad, k=random.randrange(12))
            record, size = b"".join(chosen), random.randrange(1, 900)
            before = await _spent(served)
            done = await reconciler(served).reconcile(
                pieces(*(record[start : start + size] for start in range(0, len(record), size)))
            )
            named = [line for line in chosen if line in good]
            assert (done.rows, done.corrected, done.skipped) == (
                len(named),
                len(set(named)),
                len(chosen) - len(named),
            )
            assert done.difference_nanousd == await _spent(served) - before


async def _spent(served: Served) -> int:
    return sum(row.sums.cost_nanousd for row in await served.ledger.usage(Filter(NOON.date(), NOON.date())))
