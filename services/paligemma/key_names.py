"""Whether a folder's weights are named as a PaliGemma's, before vLLM spends its time on them.

Three ways are known: Google's (`vision_tower.vision_model.`, `language_model.model.`), that of transformers from 4.52
(`model.language_model.`), and that of transformers 5 for SigLIP (without `vision_model.`).
"""

import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from services.runtime.config import BadSetting

_PARTS = {
    "text model": re.compile(r"(model\.)?language_model\.(model\.)?(embed_tokens|layers\.\d+|norm)\."),
    "vision tower": re.compile(r"(model\.)?vision_tower\.(vision_model\.)?(embeddings|encoder|post_layernorm)\."),
    "projector": re.compile(r"(model\.)?multi_modal_projector\.linear\."),
}
_TIED = re.compile(r"(language_model\.)?lm_head\.")
_FIX = (
    "save it anew with transformers: "
    "PaliGemmaForConditionalGeneration.from_pretrained(old).save_pretrained(new), or rename its keys as Google's are"
)


def check_key_names(folder: Path) -> None:
    """Raises BadSetting, naming the key and the fix, unless all of the folder's safetensors are PaliGemma's."""
    names = [name for file in sorted(folder.glob("*.safetensors")) for name in _names(file)]
    for name in names:
        if not any(part.match(name) for part in (*_PARTS.values(), _TIED)):
            raise BadSetting("model", f"{folder}: {name!r} is no key of a PaliGemma checkpoint; {_FIX}")
    for part, pattern in _PARTS.items():
        if not any(pattern.match(name) for name in names):
            raise BadSetting("model", f"{folder}: its safetensors hold no {part}; {_FIX}")


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as weights:
            return list(weights.keys())
    except (OSError, SafetensorError) as error:
        raise BadSetting("model", f"{file} cannot be read: {error}") from error
