"""The emulator's prices as the proxy's file of prices, so that both count with the same."""

from collections.abc import Mapping

from tests.gemini.config import Model, Rates

# Long ago: whatever day a test runs, these prices hold and no published ones.
_SINCE = "2020-01-01"


def prices_toml(models: Mapping[str, Model]) -> str:
    return "\n".join(_entry(name, model) for name, model in models.items())


def _entry(name: str, model: Model) -> str:
    lines = ["[[price]]", f'models = "{name}"', f"since = {_SINCE}", 'source = "the emulator"']
    lines.append(f"cache_storage = {model.cache_storage}")
    lines.append(f"standard = {_rates(model.rates)}")
    lines.append("batch_percent = 50")
    if model.long_context_rates is not None:
        lines.append(f"long_context_above = {model.long_context_above}")
        lines.append(f"long_context = {_rates(model.long_context_rates)}")
    return "\n".join(lines) + "\n"


def _rates(rates: Rates) -> str:
    given = {"input": rates.input, "output": rates.output, "cached": rates.cached}
    given |= {modality.lower(): rate for modality, rate in rates.input_of.items()}
    if "AUDIO" in rates.cached_of:
        given["cached_audio"] = rates.cached_of["AUDIO"]
    if not rates.output:
        del given["output"]
    return "{ " + ", ".join(f"{key} = {value}" for key, value in given.items()) + " }"
