from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from math import ceil
from pathlib import Path

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gemini_proxy.price_file import SHIPPED, PriceEntry, RatesEntry, load_prices
from services.gemini_proxy.prices import Price, Prices, PriceUnknown
from services.gemini_proxy.usage import Modality, TokenUsage

TEXT, IMAGE, DOCUMENT, VIDEO, AUDIO = (Modality[m] for m in ("TEXT", "IMAGE", "DOCUMENT", "VIDEO", "AUDIO"))
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PRICES = Prices()
MODELS = [
    "gemini-4-argon",
    "gemini-3.8-flash",
    "gemini-3.6-flash",
    "gemini-3.5-flash-lite",
    "gemini-3.1-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
]


def used(input: Mapping[Modality, int] | int = 0, cached: int = 0, answer: int = 0, thinking: int = 0) -> TokenUsage:
    by_modality = {TEXT: input} if isinstance(input, int) else input
    return TokenUsage(by_modality, {TEXT: cached}, answer, thinking)


def cost(usage: TokenUsage, model: str = "gemini-3.8-flash", at: datetime = NOW, *, batch: bool = False) -> int:
    return PRICES.cost_nanousd(usage, model, at, batch=batch)


# By hand


def test_input_and_output_have_their_rates() -> None:
    assert cost(used(1_000, answer=100)) == 1_000 * 750 + 100 * 3_750


def test_thinking_costs_as_output() -> None:
    assert cost(used(0, thinking=100)) == cost(used(0, answer=100)) == 375_000


def test_cached_tokens_cost_their_own_rate_and_nothing_besides() -> None:
    assert cost(used(1_000, cached=400)) == 600 * 750 + 400 * 75


def test_sound_costs_its_own_rate_where_it_has_one_cached_or_not() -> None:
    usage = TokenUsage({TEXT: 100, AUDIO: 1_000}, {AUDIO: 300})
    assert cost(usage, "gemini-2.5-flash") == 100 * 300 + 700 * 1_000 + 300 * 100
    assert cost(usage, "gemini-3.8-flash") == 100 * 750 + 700 * 750 + 300 * 75


def test_documents_cost_as_pictures() -> None:
    document, picture = (cost(TokenUsage({modality: 1_000}), "gemini-embedding-2") for modality in (DOCUMENT, IMAGE))
    assert document == picture == 450_000
    assert cost(TokenUsage({VIDEO: 1_000}), "gemini-embedding-2") == 12_000_000


def test_a_prompt_above_the_threshold_makes_every_token_dearer() -> None:
    at_it = used(200_000, cached=100_000, answer=1_000)
    assert cost(at_it, "gemini-3.1-pro-preview") == 100_000 * 2_000 + 100_000 * 200 + 1_000 * 12_000
    above = used(200_001, cached=100_000, answer=1_000)
    assert cost(above, "gemini-3.1-pro-preview") == 100_001 * 4_000 + 100_000 * 400 + 1_000 * 18_000


def test_the_answer_does_not_count_towards_the_threshold() -> None:
    assert cost(used(10, answer=500_000), "gemini-3.1-pro-preview") == 10 * 2_000 + 500_000 * 12_000


def test_batch_mode_costs_half_above_the_threshold_too() -> None:
    for input_tokens in (1_000, 300_000):
        usage = used(input_tokens, answer=10)
        assert 2 * cost(usage, "gemini-2.5-pro", batch=True) == cost(usage, "gemini-2.5-pro")


def test_batch_mode_costs_half_where_no_batch_price_is_published() -> None:
    assert cost(used(1_000, cached=400, answer=100), "gemini-3.7-flash", batch=True) == 600 * 375 + 400 * 75 + 187_500


def test_prices_change_with_the_day_in_utc() -> None:
    usage = used(1_000)
    before = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    assert cost(usage, "gemini-4-argon", before) == 2_000_000
    assert cost(usage, "gemini-4-argon", before + timedelta(seconds=1)) == 4_000_000
    tokyo = timezone(timedelta(hours=9))
    assert cost(usage, "gemini-4-argon", datetime(2026, 12, 1, 8, 59, tzinfo=tokyo)) == 2_000_000


def test_a_calls_total_is_rounded_up_once() -> None:
    own = Prices([entry(standard=RatesEntry(input=1, output=1))])
    assert own.cost_nanousd(used(1, answer=1), "gemini-9", NOW) == 1
    assert own.cost_nanousd(used(500_000, answer=500_000), "gemini-9", NOW) == 1
    assert own.cost_nanousd(used(500_000, answer=500_001), "gemini-9", NOW) == 2
    assert own.cost_nanousd(used(), "gemini-9", NOW) == 0


def test_a_model_without_a_price_is_refused_and_never_free() -> None:
    for model in ("gemini-9", "gemma-3-4b-it", "imagen-9"):
        with pytest.raises(PriceUnknown, match="add it to the file of prices"):
            cost(used(1), model)
        with pytest.raises(PriceUnknown):
            PRICES.worst_cost_nanousd({TEXT: 1}, 1, model, NOW)
        with pytest.raises(PriceUnknown):
            PRICES.price_of(model, NOW)


def test_what_an_embedding_model_would_write_has_no_price() -> None:
    assert cost(used(1_000), "gemini-embedding-2") == 200_000
    with pytest.raises(PriceUnknown, match="output"):
        cost(used(1_000, answer=1), "gemini-embedding-2")
    with pytest.raises(PriceUnknown, match="output"):
        PRICES.worst_cost_nanousd({TEXT: 1_000}, 1, "gemini-embedding-2", NOW)
    assert PRICES.worst_cost_nanousd({TEXT: 1_000}, 0, "gemini-embedding-2", NOW) == 200_000


def test_the_price_of_a_model() -> None:
    assert PRICES.price_of("models/gemini-3.1-pro-preview", NOW) == Price(
        2_000_000_000, 12_000_000_000, 200_000_000, 4_500_000_000, 200_000
    )
    assert PRICES.price_of("gemini-3.8-flash-001", NOW) == PRICES.price_of("gemini-3.8-flash", NOW)
    assert PRICES.price_of("gemini-4-argon", NOW).long_context_above is None


def test_storage_costs_by_token_and_time() -> None:
    assert PRICES.storage_nanousd(100_000, 3_600, "gemini-2.5-pro", NOW) == 450_000_000
    assert PRICES.storage_nanousd(100_000, 1_800, "gemini-3.8-flash", NOW) == 25_000_000
    assert PRICES.storage_nanousd(1, Fraction(1, 10**9), "gemini-2.5-pro", NOW) == 1
    with pytest.raises(PriceUnknown, match="storage"):
        PRICES.storage_nanousd(1, 1, "gemini-4-argon", NOW)


# The worst case


def test_the_worst_case_is_uncached_and_in_the_dearest_tier_it_reaches() -> None:
    assert PRICES.worst_cost_nanousd({TEXT: 1_000}, 10, "gemini-3.1-pro-preview", NOW) == 1_000 * 2_000 + 10 * 12_000
    assert PRICES.worst_cost_nanousd({TEXT: 200_001}, 10, "gemini-3.1-pro-preview", NOW) == 200_001 * 4_000 + 180_000


def test_the_worst_case_on_the_eve_of_a_rise_is_the_risen_price() -> None:
    eve = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert PRICES.worst_cost_nanousd({TEXT: 1_000}, 0, "gemini-4-argon", eve) == 4_000_000
    assert PRICES.worst_cost_nanousd({TEXT: 1_000}, 0, "gemini-4-argon", eve - timedelta(days=2)) == 2_000_000


def test_the_worst_case_is_that_of_the_dearest_model_that_may_answer() -> None:
    flash, pro = ({TEXT: 1_000}, 1_000, "gemini-2.5-flash"), ({TEXT: 1_000}, 1_000, "gemini-2.5-pro")
    rerouted = datetime(2026, 12, 2, tzinfo=UTC)
    assert PRICES.worst_cost_nanousd(*flash, NOW) == 300_000 + 2_500_000
    assert PRICES.worst_cost_nanousd(*flash, rerouted) == 750_000 + 3_750_000
    assert PRICES.worst_cost_nanousd(*pro, rerouted) == 1_250_000 + 10_000_000
    new_year = datetime(2027, 1, 2, tzinfo=UTC)
    assert PRICES.worst_cost_nanousd(*pro, new_year) == 1_500_000 + 10_000_000


counts = st.integers(0, 1_200_000)
bounds = st.dictionaries(st.sampled_from(Modality), counts)
models = st.sampled_from(MODELS)
times = st.datetimes(datetime(2026, 10, 15), datetime(2027, 2, 1), timezones=st.just(UTC))


@st.composite
def usages(draw: st.DrawFn, within: Mapping[Modality, int] | None = None, answer: int = 100_000) -> TokenUsage:
    most = dict.fromkeys(Modality, 600_000) if within is None else within
    input = {modality: draw(st.integers(0, count)) for modality, count in most.items()}
    cached = {modality: draw(st.integers(0, count)) for modality, count in input.items()}
    thinking = draw(st.integers(0, answer))
    return TokenUsage(input, cached, draw(st.integers(0, answer - thinking)), thinking)


@given(st.data(), bounds, st.integers(0, 100_000), models, times, st.booleans(), st.integers(-86_400, 86_400))
def test_no_bill_within_the_bound_is_more_than_the_worst_case(
    data: st.DataObject,
    bound: dict[Modality, int],
    output: int,
    model: str,
    at: datetime,
    batch: bool,
    seconds: int,
) -> None:
    """Whoever answers, and within a day."""
    worst = PRICES.worst_cost_nanousd(bound, output, model, at, batch=batch)
    usage = data.draw(usages(bound, output))
    answering = [model]
    if model.startswith("gemini-2.5") and at.date() >= date(2026, 12, 1):
        answering += ["gemini-3.8-flash", "gemini-3.5-flash-lite"]
    for name in answering:
        assert 0 <= cost(usage, name, at + timedelta(seconds=seconds), batch=batch) <= worst


@given(usages(), models, times, st.booleans(), st.sampled_from(Modality), counts)
def test_a_token_more_never_costs_less(
    usage: TokenUsage, model: str, at: datetime, batch: bool, modality: Modality, more: int
) -> None:
    base = cost(usage, model, at, batch=batch)
    more_input = TokenUsage({**usage.input, modality: usage.input[modality] + more}, usage.cached, usage.answer)
    without_thinking = TokenUsage(usage.input, usage.cached, usage.answer)
    assert cost(more_input, model, at, batch=batch) >= cost(without_thinking, model, at, batch=batch)
    for output in (
        TokenUsage(usage.input, usage.cached, usage.answer + more, usage.thinking),
        TokenUsage(usage.input, usage.cached, usage.answer, usage.thinking + more),
    ):
        assert cost(output, model, at, batch=batch) >= base


@given(usages(), usages(), st.sampled_from(["gemini-3.8-flash", "gemini-2.5-flash", "gemini-4-argon"]), times)
def test_calls_without_tiers_add_up_to_a_nanodollar(
    first: TokenUsage, second: TokenUsage, model: str, at: datetime
) -> None:
    both = TokenUsage(
        {m: first.input[m] + second.input[m] for m in Modality},
        {m: first.cached[m] + second.cached[m] for m in Modality},
        first.answer + second.answer,
        first.thinking + second.thinking,
    )
    apart = cost(first, model, at) + cost(second, model, at)
    assert apart - 1 <= cost(both, model, at) <= apart


@given(usages(), models, times, st.sampled_from(Modality))
def test_a_cached_token_replaces_a_fresh_one(usage: TokenUsage, model: str, at: datetime, modality: Modality) -> None:
    nothing_cached = TokenUsage(usage.input, {}, usage.answer, usage.thinking)
    all_cached = TokenUsage(usage.input, usage.input, usage.answer, usage.thinking)
    assert cost(all_cached, model, at) <= cost(usage, model, at) <= cost(nothing_cached, model, at)


@given(usages(), models, times, st.booleans())
def test_costs_are_those_of_genai_prices(usage: TokenUsage, model: str, at: datetime, batch: bool) -> None:
    """Its own arithmetic, where it has the price."""
    if batch and (model == "gemini-3.6-flash" or at < datetime(2026, 10, 16, tzinfo=UTC)):
        batch = False
    theirs = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_tokens,
            input_audio_tokens=usage.input[AUDIO],
            cache_audio_read_tokens=usage.cached[AUDIO],
            output_tokens=usage.output_tokens,
        ),
        model,
        provider_id="google",
        genai_request_timestamp=at,
        price_context={"processing": "batch"} if batch else None,
    )
    assert cost(usage, model, at, batch=batch) == ceil(Fraction(theirs.total_price) * 10**9)


# The operator's file


def entry(models: str = "gemini-9", since: date = date(2026, 1, 1), **others: object) -> PriceEntry:
    return PriceEntry(models=models, since=since, source="a contract", **others)


def test_an_entry_replaces_every_published_price_of_a_model() -> None:
    own = Prices([entry("gemini-2.5-*", standard=RatesEntry(input=10**9, output=2 * 10**9))])
    usage = TokenUsage({TEXT: 300_000, AUDIO: 1_000}, {TEXT: 1_000}, 10)
    for model in ("gemini-2.5-pro", "gemini-2.5-flash"):
        assert own.cost_nanousd(usage, model, NOW) == 301_000 * 1_000 + 10 * 2_000
        assert own.price_of(model, NOW).cache_storage == PRICES.price_of(model, NOW).cache_storage
    assert own.price_of("gemini-3.8-flash", NOW) == PRICES.price_of("gemini-3.8-flash", NOW)


def test_an_entry_has_every_kind_of_price() -> None:
    rates = RatesEntry(
        input=10**6, output=9 * 10**6, cached=10**5, audio=7 * 10**6, image=2 * 10**6, video=3 * 10**6, cached_audio=5
    )
    long = RatesEntry(input=2 * 10**6, output=18 * 10**6)
    own = Prices([entry(standard=rates, long_context_above=10**6, long_context=long, batch_percent=25)])
    usage = TokenUsage({TEXT: 100, IMAGE: 10, DOCUMENT: 10, VIDEO: 10, AUDIO: 10}, {TEXT: 50, IMAGE: 10}, 4, 4)
    fresh, cached, output = 50 + 10 * 2 + 10 * 3 + 10 * 7, 6, 8 * 9
    assert own.cost_nanousd(usage, "gemini-9", NOW) == fresh + cached + output
    assert own.cost_nanousd(usage, "gemini-9", NOW, batch=True) == ceil(Fraction(fresh + output, 4)) + cached
    assert own.cost_nanousd(used(10**6 + 1, answer=1), "gemini-9", NOW) == (10**6 + 1) * 2 + 18


@given(st.lists(st.tuples(st.dates(date(2026, 1, 1), date(2026, 12, 31)), st.integers(1, 10**9)), max_size=6), times)
def test_of_entries_the_one_with_the_latest_day_holds(entries: list[tuple[date, int]], at: datetime) -> None:
    own = Prices([entry(since=day, standard=RatesEntry(input=rate)) for day, rate in entries])
    begun = [(day, place, rate) for place, (day, rate) in enumerate(entries) if day <= at.date()]
    if not begun:
        with pytest.raises(PriceUnknown):
            own.price_of("gemini-9", at)
    else:
        assert own.price_of("gemini-9", at).input == max(begun)[2]


def test_a_model_whose_price_begins_today_has_a_worst_case() -> None:
    own = Prices([entry(since=NOW.date(), standard=RatesEntry(input=10**9, output=10**9))])
    assert own.worst_cost_nanousd({TEXT: 1_000}, 1_000, "gemini-9", NOW) == 2_000_000


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        """
        [[price]]
        models = "gemini-9-*"
        since = 2026-11-01
        source = "https://example.com/prices"
        standard = { input = 1_000_000_000, output = 5_000_000_000, cached = 100_000_000 }
        long_context_above = 200_000
        long_context = { input = 2_000_000_000, output = 7_500_000_000 }
        cache_storage = 1_000_000_000
        """
    )
    price = Prices(load_prices(file)).price_of("gemini-9-pro", NOW)
    assert price == Price(1_000_000_000, 5_000_000_000, 100_000_000, 1_000_000_000, 200_000)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[[prices]]", "prices"),
        ("[[price]]\nmodels = 'a'\nsource = 'b'\ncache_storage = 1", "since"),
        ("[[price]]\nmodels = 'a'\nsince = 2026-01-01\ncache_storage = 1", "source"),
        ("[[price]]\nmodels = 'a'\nsince = 2026-01-01\nsource = 'b'", "standard"),
        ("[[price]]\nmodels = 'a'\nsince = 2026-01-01\nsource = 'b'\ncache_storage = 0.5", "cache_storage"),
        ("[[price]]\nmodels = 'a'\nsince = 2026-01-01\nsource = 'b'\ncache_storage = -1", "cache_storage"),
        ("[[price]]\nmodels = 'a'\nsince = 2026-01-01\nsource = 'b'\nstandard = { input = 1, ouput = 2 }", "ouput"),
        (
            "[[price]]\nmodels = 'a'\nsince = 2026-01-01\nsource = 'b'\nstandard = { input = 1 }\n"
            "long_context_above = 5",
            "go together",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path: Path, content: str, what: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(content)
    with pytest.raises(ValueError, match=what):
        load_prices(file)


def test_every_entry_that_is_shipped_prices_a_model() -> None:
    """So that no pattern is misspelt: each sets the storage of some model that is in the catalogue or published."""
    for shipped in load_prices(SHIPPED):
        day = datetime.combine(shipped.since, datetime.min.time(), UTC) + timedelta(days=1)
        matching = [model for model in MODELS if shipped.holds(model, day.date())]
        assert matching, shipped.models
        assert all(PRICES.price_of(model, day).cache_storage == shipped.cache_storage for model in matching)
