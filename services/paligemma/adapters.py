"""LoRA adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from services.runtime.revision import weights_revision

MAX_RANK = 512


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

    Raises ValueError naming the adapter whose files are missing or bad, or whose rank is above 512.
    """
    return tuple(_read(name, number, folder) for number, (name, folder) in enumerate(folders.items(), start=1))


def _read(name: str, number: int, folder: Path) -> Adapter:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        rank = max(config["r"], *(config.get("rank_pattern") or {}).values(), 1)
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as weights:
            names = list(weights.keys())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"adapter {name}: {folder} holds no LoRA adapter in PEFT's layout: {error!r}") from error
    if rank > MAX_RANK:
        raise ValueError(f"adapter {name}: its rank is {rank}; vLLM takes {MAX_RANK} at most")
    sees = any("vision_tower." in key or "multi_modal_projector." in key for key in names)
    return Adapter(name, number, folder, rank, sees, weights_revision(folder))
