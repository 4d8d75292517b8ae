"""LoRA adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from services.runtime.config import BadSetting
from services.runtime.revision import checkpoint_revision

MAX_RANK = 512
# The linear layers that vLLM wraps, in the names that `exact_model.py` maps to its own. An adapter's other keys it
# would pass over in silence where they end as one of these do.
_LAYER = re.compile(
    r"base_model\.model\."
    r"((model\.language_model|language_model\.model)\.|(model\.)?vision_tower\.(vision_model\.)?encoder\.)layers\.\d+\."
)


@dataclass(frozen=True)
class Adapter:
    """One adapter. `id` is vLLM's number for it, from 1; `sees` says whether it changes the vision tower too."""

    name: str
    id: int
    folder: Path
    rank: int
    sees: bool
    revision: str


def read_adapters(folders: Mapping[str, Path]) -> tuple[Adapter, ...]:
    """The adapters in these folders, by name.

    Raises BadSetting naming the adapter whose files are missing or bad, whose weights are not all for layers of
    PaliGemma's text model or vision tower, or whose rank is above 512.
    """
    return tuple(_read(name, number, folder) for number, (name, folder) in enumerate(folders.items(), start=1))


def _read(name: str, number: int, folder: Path) -> Adapter:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        rank = max(config["r"], *dict(config.get("rank_pattern") or {}).values(), 1)
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as weights:
            names = list(weights.keys())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _bad(name, f"{folder} holds no LoRA adapter in PEFT's layout: {error!r}") from error
    if rank > MAX_RANK:
        raise _bad(name, f"its rank is {rank}; vLLM takes {MAX_RANK} at most")
    if not names:
        raise _bad(name, f"{folder} holds no weights")
    if other := next((key for key in names if not _LAYER.match(key)), None):
        raise _bad(
            name,
            f"{other!r} is for no layer of PaliGemma's; those are base_model.model.model.language_model.layers.N. and "
            "base_model.model.model.vision_tower.encoder.layers.N.: train it on the model in transformers",
        )
    sees = any("vision_tower." in key for key in names)
    return Adapter(name, number, folder, rank, sees, checkpoint_revision(folder))


def _bad(name: str, message: str) -> BadSetting:
    return BadSetting("adapters", f"adapter {name}: {message}")
