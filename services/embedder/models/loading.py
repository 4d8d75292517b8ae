"""From a checkpoint's folder or hub name to a loaded model."""

from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoProcessor, ColPaliForRetrieval, SiglipModel
from transformers.utils import cached_file, extract_commit_hash

from services.embedder.config import EmbedderSettings
from services.embedder.models.colpali import ColPali
from services.embedder.models.model import EmbeddingModel
from services.embedder.models.siglip import Siglip
from services.runtime.config import BadSetting
from services.runtime.revision import checkpoint_revision

_FAMILIES = {"siglip": (SiglipModel, Siglip), "colpali": (ColPaliForRetrieval, ColPali)}


def load(source: str, settings: EmbedderSettings) -> EmbeddingModel:
    """Load a model and prove it with a forward pass; seconds to minutes.

    Raises BadSetting for a model of another family or a checkpoint without all of its weights, OSError when it is not
    there, and whatever the machine raises.
    """
    _log_as_the_service_does()
    # The hub's name is resolved once: all that follows is of the same commit. None for a folder.
    commit = extract_commit_hash(cached_file(source, "config.json"), None)
    config = AutoConfig.from_pretrained(source, revision=commit)
    if config.model_type not in _FAMILIES:
        raise BadSetting("models", f"{source} is a {config.model_type}; {' and '.join(_FAMILIES)} are served")
    architecture, family = _FAMILIES[config.model_type]
    device = _device(settings)
    weights, report = architecture.from_pretrained(
        source, revision=commit, dtype=_dtype(settings, device), output_loading_info=True
    )
    # transformers would make them up at random.
    if lacking := [*report["missing_keys"], *report["mismatched_keys"]]:
        raise BadSetting("models", f"{source} lacks {len(lacking)} of its weights, such as {lacking[0]}")
    processor = AutoProcessor.from_pretrained(source, revision=commit)
    model = family(weights.eval().to(device), processor, commit or checkpoint_revision(Path(source)))
    model.prove()
    return model


def _device(settings: EmbedderSettings) -> torch.device:
    if settings.device != "auto":
        return torch.device(settings.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(settings: EmbedderSettings, device: torch.device) -> str:
    return "float32" if settings.dtype == "auto" and device.type == "cpu" else settings.dtype


def _log_as_the_service_does() -> None:
    transformers.logging.disable_progress_bar()
    transformers.logging.disable_default_handler()
    transformers.logging.enable_propagation()
