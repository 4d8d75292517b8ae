"""From a checkpoint's folder or hub name to a loaded model."""

import json
from typing import Any

import torch
import transformers
from transformers import (
    AutoProcessor,
    CLIPModel,
    ColPaliForRetrieval,
    ColQwen2ForRetrieval,
    PreTrainedModel,
    Siglip2Model,
    SiglipModel,
)

from services.embedder.config import EmbedderSettings
from services.embedder.models import open_clip
from services.embedder.models.checkpoint import Checkpoint
from services.embedder.models.clip import Clip
from services.embedder.models.colpali import ColPali
from services.embedder.models.colqwen2 import ColQwen2
from services.embedder.models.model import EmbeddingModel
from services.embedder.models.siglip import NaFlex, Siglip
from services.runtime.config import BadSetting

_FAMILIES = {
    "siglip": (SiglipModel, Siglip),
    "siglip2": (Siglip2Model, NaFlex),
    "clip": (CLIPModel, Clip),
    "colpali": (ColPaliForRetrieval, ColPali),
    "colqwen2": (ColQwen2ForRetrieval, ColQwen2),
}
"""By `model_type` of a checkpoint's config.json."""


def load(model: str, settings: EmbedderSettings) -> EmbeddingModel:
    """Load what the setting names `model` and prove it with a forward pass; seconds to minutes.

    Raises BadSetting for a model of another family or a checkpoint without all of its weights, OSError when it is not
    there, and whatever the machine raises.
    """
    _log_as_the_service_does()
    checkpoint = Checkpoint.find(model, "config.json", open_clip.CONFIG)
    model_type = _model_type(checkpoint)
    given: dict[str, Any] = {"pretrained_model_name_or_path": checkpoint.source, "revision": checkpoint.commit}
    if model_type in _FAMILIES:
        architecture, family = _FAMILIES[model_type]
        processor = AutoProcessor.from_pretrained(**given)
    elif checkpoint.file(open_clip.CONFIG):
        architecture, family = CLIPModel, open_clip.OpenClip
        config, state, processor = open_clip.read(checkpoint)
        given = {"pretrained_model_name_or_path": None, "config": config, "state_dict": state}
    else:
        served = ", ".join(_FAMILIES)
        raise BadSetting("models", f"{model} is a {model_type}; {served} and CLIP of OpenCLIP's format are served")
    device = _device(settings)
    weights, report = architecture.from_pretrained(**given, dtype=_dtype(settings, device), output_loading_info=True)
    # transformers would make them up at random.
    if lacking := [*report["missing_keys"], *report["mismatched_keys"]]:
        raise BadSetting("models", f"{model} lacks {len(lacking)} of its weights, such as {lacking[0]}")
    compiled = settings.compile == "on" or (settings.compile == "auto" and device.type == "cuda")
    if compiled:
        _compile(weights)
    loaded = family(weights.eval().to(device), processor, checkpoint.revision)
    # Of a compiled model, a batch of one is another program than a larger one.
    for items in (1, 2) if compiled else (1,):
        loaded.prove(items)
    return loaded


def _model_type(checkpoint: Checkpoint) -> str | None:
    file = checkpoint.file("config.json")
    return json.loads(file.read_text()).get("model_type") if file else None


def _device(settings: EmbedderSettings) -> torch.device:
    if settings.device != "auto":
        return torch.device(settings.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(settings: EmbedderSettings, device: torch.device) -> str:
    return "float32" if settings.dtype == "auto" and device.type == "cpu" else settings.dtype


def _compile(weights: PreTrainedModel) -> None:
    """For batches of any size; each tower for itself where a family asks for them alone."""
    towers = [getattr(weights, name) for name in ("vision_model", "text_model") if hasattr(weights, name)]
    for module in towers or [weights]:
        module.compile(dynamic=True)


def _log_as_the_service_does() -> None:
    transformers.logging.disable_progress_bar()
    transformers.logging.disable_default_handler()
    transformers.logging.enable_propagation()
