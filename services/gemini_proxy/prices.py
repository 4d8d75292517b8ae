"""What calls cost, in whole nano-US-dollars, exactly: integers only, rounded up once, on the total of a call.

Prices are those of `genai-prices` (https://github.com/pydantic/genai-prices) under those of `prices.toml` under those
of the operator's own file. Google's rules (https://ai.google.dev/gemini-api/docs/pricing): a prompt above a model's
threshold makes every token of the call dearer; cached input costs its own rate and not the full one besides; thinking
is output; a document costs what its pages would as pictures; input and output cost half in batch mode, and in flex.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from math import ceil

from services.gemini_proxy.catalogue import find_model
from services.gemini_proxy.price_file import SHIPPED, PriceEntry, load_prices
from services.gemini_proxy.published_prices import published_tariff
from services.gemini_proxy.tariff import Rates, Tariff, million_nanousd
from services.gemini_proxy.usage import Modality, TokenUsage
from services.runtime.errors import NotFound

# A call may end on the day after it was reserved, and a price may change by another zone's midnight than ours.
_DAY = timedelta(days=1)


class PriceUnknown(NotFound):
    """No price of the model is known, so it cannot be metered."""

    def __init__(self, model: str, what: str = "price") -> None:
        super().__init__(f"no {what} of {model[:64]!r} is known: add it to the file of prices")


@dataclass(frozen=True)
class Price:
    """A model's standard rates for text, in nano-US-dollars per million tokens, below any long-context threshold."""

    input: int
    output: int
    cached: int
    cache_storage: int | None
    """Per million tokens and hour; None where it is not known."""
    long_context_above: int | None
    """Prompts with more tokens cost more; None where none does."""


class Prices:
    """Prices of every model at every time; `entries` are the operator's own. Times are aware."""

    def __init__(self, entries: Sequence[PriceEntry] = ()) -> None:
        self._entries = (*_by_day(load_prices(SHIPPED)), *_by_day(entries))
        self._tariff_on = lru_cache(maxsize=1_024)(self._find_tariff)

    def cost_nanousd(self, usage: TokenUsage, model: str, at: datetime, *, batch: bool = False) -> int:
        """What the provider bills for `usage` of `model`, the one that really answered. Raises PriceUnknown."""
        rates = self._tariff(model, at).rates(usage.input_tokens, batch=batch)
        if rates.output is None and usage.output_tokens:
            raise PriceUnknown(model, "price of output")
        return -(-million_nanousd(usage, rates) // 10**6)

    def worst_cost_nanousd(
        self, bound: Mapping[Modality, int], max_output_tokens: int, model: str, at: datetime, *, batch: bool = False
    ) -> int:
        """No less than any bill for a call within `bound` and `max_output_tokens` that begins at `at`.

        Nothing of it is cached; it is in the dearest tier it can reach; it is answered by the dearest model that may
        answer in the place of `model`. Raises PriceUnknown.
        """
        tariffs = self._tariffs_that_may_apply(model, at)
        rates = [each for tariff in tariffs for each in tariff.reachable(sum(bound.values()), batch=batch)]
        if max_output_tokens and any(each.output is None for each in rates):
            raise PriceUnknown(model, "price of output")
        usage = TokenUsage(input=bound, answer=max_output_tokens)
        return -(-million_nanousd(usage, _dearest(rates)) // 10**6)

    def storage_nanousd(self, tokens: int, seconds: float | Fraction, model: str, at: datetime) -> int:
        """What an explicit cache of `tokens` costs for `seconds`, besides the calls. Raises PriceUnknown."""
        rate = self._tariff(model, at).cache_storage
        if rate is None:
            raise PriceUnknown(model, "price of cache storage")
        return ceil(Fraction(tokens * rate, 10**6) * Fraction(seconds) / 3600)

    def price_of(self, model: str, at: datetime) -> Price:
        """The rates of `model` at `at`. Raises PriceUnknown."""
        tariff = self._tariff(model, at)
        first, *others = tariff.standard
        rates = first.rates
        return Price(
            input=rates.input[Modality.TEXT],
            output=rates.output or 0,
            cached=rates.cached[Modality.TEXT],
            cache_storage=tariff.cache_storage,
            long_context_above=others[0].above if others else None,
        )

    def _tariff(self, model: str, at: datetime) -> Tariff:
        tariff = self._tariff_on(_bare(model), _day(at))
        if tariff is None:
            raise PriceUnknown(model)
        return tariff

    def _find_tariff(self, model: str, day: date) -> Tariff | None:
        tariff = published_tariff(model, day)
        for entry in self._entries:
            if entry.holds(model, day):
                tariff = entry.over(tariff)
        return tariff

    def _tariffs_that_may_apply(self, model: str, at: datetime) -> list[Tariff]:
        today = _day(at)
        known = find_model(model)
        rerouted = known.rerouted_from is not None and today + _DAY >= known.rerouted_from
        names = (model, *known.rerouted_to) if rerouted else (model,)
        nearby = [self._tariff_on(_bare(name), day) for name in names for day in (today - _DAY, today + _DAY)]
        return [*(self._tariff(name, at) for name in names), *filter(None, nearby)]


def _bare(model: str) -> str:
    return model.removeprefix("models/").lower()


def _day(at: datetime) -> date:
    """Prices change with the day in UTC."""
    return at.astimezone(UTC).date()


def _by_day(entries: Iterable[PriceEntry]) -> list[PriceEntry]:
    return sorted(entries, key=lambda entry: entry.since)


def _dearest(rates: Sequence[Rates]) -> Rates:
    """The greatest of each, and no discount for what is cached."""
    fresh = {m: max(max(each.input[m], each.cached[m]) for each in rates) for m in Modality}
    return Rates(fresh, cached=fresh, output=max(each.output or 0 for each in rates))
