"""Tariffs of the library `genai-prices`, from the data that came with it; its network update is never used."""

from datetime import UTC, date, datetime, time
from decimal import Decimal

from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from services.gemini_proxy.tariff import Rates, Tariff, Tier
from services.gemini_proxy.usage import Modality

_NANOUSD = 10**9
_GOOGLE = next(provider for provider in providers if provider.id == "google")

# The keys of a rate, from the most specific to the most general one. Documents are billed as the pictures of their
# pages: https://ai.google.dev/gemini-api/docs/document-processing
_INPUT = {
    Modality.TEXT: ("input_text_mtok", "input_mtok"),
    Modality.IMAGE: ("input_image_mtok", "input_mtok"),
    Modality.DOCUMENT: ("input_image_mtok", "input_mtok"),
    Modality.VIDEO: ("input_video_mtok", "input_mtok"),
    Modality.AUDIO: ("input_audio_mtok", "input_mtok"),
}
_CACHED = {
    Modality.TEXT: ("cache_text_read_mtok", "cache_read_mtok"),
    Modality.IMAGE: ("cache_image_read_mtok", "cache_read_mtok"),
    Modality.DOCUMENT: ("cache_image_read_mtok", "cache_read_mtok"),
    Modality.VIDEO: ("cache_video_read_mtok", "cache_read_mtok"),
    Modality.AUDIO: ("cache_audio_read_mtok", "cache_read_mtok"),
}


def published_tariff(model: str, day: date) -> Tariff | None:
    """What `model` costs on a day in UTC, or None where the library has no price of it."""
    at = datetime.combine(day, time(), UTC)
    info = _GOOGLE.find_model(model)
    if info is None:
        return None
    standard = info.get_prices(at)
    if standard.input_mtok is None:
        return None
    batch = info.get_prices(at, {"processing": "batch"}) if _has_batch_prices(info, at) else _halved(standard)
    return Tariff(_tiers(standard), _tiers(batch))


def _has_batch_prices(info: ModelInfo, at: datetime) -> bool:
    return any(
        variant.when == {"processing": "batch"} and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    )


def _halved(standard: ModelPrice) -> ModelPrice:
    """Batch mode halves input and output; cached input stays, as it does for most models that say so."""
    return ModelPrice(
        **{
            key: price if key.startswith("cache_") else _half(price)
            for key, price in vars(standard).items()
            if price is not None
        }
    )


def _half(price: Decimal | TieredPrices) -> Decimal | TieredPrices:
    if isinstance(price, TieredPrices):
        return TieredPrices(price.base / 2, [type(tier)(tier.start, tier.price / 2) for tier in price.tiers])
    return price / 2


def _tiers(price: ModelPrice) -> tuple[Tier, ...]:
    starts = {tier.start for each in vars(price).values() if isinstance(each, TieredPrices) for tier in each.tiers}
    return tuple(Tier(above, _rates(price, above)) for above in sorted({0, *starts}))


def _rates(price: ModelPrice, above: int) -> Rates:
    fresh = {modality: _rate(price, keys, above) for modality, keys in _INPUT.items()}
    cached = {modality: _rate(price, keys, above) for modality, keys in _CACHED.items()}
    return Rates(
        input=fresh,
        cached={modality: fresh[modality] if rate is None else rate for modality, rate in cached.items()},
        output=_rate(price, ("output_mtok",), above),
    )


def _rate(price: ModelPrice, keys: tuple[str, ...], above: int) -> int | None:
    found = next((value for key in keys if (value := getattr(price, key)) is not None), None)
    if isinstance(found, TieredPrices):
        reached = [tier.price for tier in found.tiers if tier.start <= above]
        found = reached[-1] if reached else found.base
    return None if found is None else _nanousd(found)


def _nanousd(dollars: Decimal) -> int:
    nanousd = dollars * _NANOUSD
    if nanousd != int(nanousd):
        raise ValueError(f"${dollars} per million tokens is no whole number of nano-dollars")
    return int(nanousd)
