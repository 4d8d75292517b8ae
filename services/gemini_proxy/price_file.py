"""Dated prices from a TOML file, which correct or complete the published ones; `prices.toml` has the form."""

import tomllib
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from services.gemini_proxy.tariff import Rates, Tariff, Tier
from services.gemini_proxy.usage import Modality

SHIPPED = Path(__file__).with_name("prices.toml")

_CLOSED = ConfigDict(extra="forbid")
_Rate = Annotated[int, Field(strict=True, ge=0, le=10**15)]


@dataclass(frozen=True, config=_CLOSED)
class RatesEntry:
    """Nano-US-dollars per million tokens."""

    input: _Rate
    output: _Rate | None = None
    cached: _Rate | None = None
    audio: _Rate | None = None
    image: _Rate | None = None
    video: _Rate | None = None
    cached_audio: _Rate | None = None

    def rates(self, percent: int = 100) -> Rates:
        """With `percent` of the rates of fresh input and of output, rounded up."""
        own = {
            Modality.AUDIO: self.audio,
            Modality.IMAGE: self.image,
            Modality.DOCUMENT: self.image,
            Modality.VIDEO: self.video,
        }
        fresh = {modality: _or(own.get(modality), self.input) for modality in Modality}
        share = {modality: -(-rate * percent // 100) for modality, rate in fresh.items()}
        cached = dict(share) if self.cached is None else dict.fromkeys(Modality, self.cached)
        cached[Modality.AUDIO] = _or(self.cached_audio, cached[Modality.AUDIO])
        return Rates(share, cached, None if self.output is None else -(-self.output * percent // 100))


@dataclass(frozen=True, config=_CLOSED)
class PriceEntry:
    """What some models cost from a day on."""

    models: Annotated[str, Field(min_length=1)]
    """A pattern of names, as Gemini has them, with `*`, `?` and `[...]`."""
    since: date
    """The first day, in UTC."""
    source: Annotated[str, Field(min_length=1)]
    """Where it is from."""
    standard: RatesEntry | None = None
    long_context_above: Annotated[int, Field(strict=True, ge=1)] | None = None
    long_context: RatesEntry | None = None
    batch_percent: Annotated[int, Field(strict=True, ge=0, le=100)] = 50
    cache_storage: _Rate | None = None

    @model_validator(mode="after")
    def _check(self) -> "PriceEntry":
        if self.standard is None and self.cache_storage is None:
            raise ValueError("give `standard`, `cache_storage` or both")
        if (self.long_context is None) != (self.long_context_above is None):
            raise ValueError("`long_context` and `long_context_above` go together")
        if self.long_context is not None and self.standard is None:
            raise ValueError("`long_context` needs `standard`")
        return self

    def holds(self, model: str, day: date) -> bool:
        return fnmatchcase(model, self.models) and day >= self.since

    def over(self, tariff: Tariff | None) -> Tariff | None:
        """The tariff with what this entry says in its place; None as long as there are no rates."""
        if self.standard is not None:
            storage = tariff.cache_storage if tariff else None
            tariff = Tariff(self._tiers(100), self._tiers(self.batch_percent), storage)
        if tariff is None or self.cache_storage is None:
            return tariff
        return replace(tariff, cache_storage=self.cache_storage)

    def _tiers(self, percent: int) -> tuple[Tier, ...]:
        tiers = [Tier(0, self.standard.rates(percent))]
        if self.long_context is not None:
            tiers.append(Tier(self.long_context_above, self.long_context.rates(percent)))
        return tuple(tiers)


_ENTRIES = TypeAdapter(tuple[PriceEntry, ...])


def load_prices(path: Path) -> tuple[PriceEntry, ...]:
    """The entries of a file. Raises OSError, or ValueError that says where the file is wrong."""
    with path.open("rb") as file:
        content: dict[str, Any] = tomllib.load(file)
    if unknown := content.keys() - {"price"}:
        raise ValueError(f"{path}: {', '.join(sorted(unknown))} unknown; prices are [[price]]")
    return _ENTRIES.validate_python(tuple(content.get("price", [])))


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
