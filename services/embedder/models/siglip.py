"""SigLIP (https://arxiv.org/abs/2303.15343) and SigLIP 2 of fixed size: one vector an item."""

import threading
from collections.abc import Sequence

import torch
from PIL import Image
from transformers import SiglipModel, SiglipProcessor

from services.embedder.models.model import EmbeddingModel, Facts, Item, Kind, Vectors, check_length, check_text
from services.embedder.models.tensors import PixelScaler, to_vectors


class Siglip(EmbeddingModel):
    """Text is lower-cased and padded to the full length without an attention mask: the text tower was trained so, and
    pools its last position (https://huggingface.co/docs/transformers/model_doc/siglip)."""

    def __init__(self, model: SiglipModel, processor: SiglipProcessor, revision: str) -> None:
        self._model = model
        self._tokenizer = processor.tokenizer
        self._tokenizing = threading.Lock()
        self._pixels = PixelScaler(processor.image_processor, model.device)
        vision, text = model.config.vision_config, model.config.text_config
        patches = (vision.image_size // vision.patch_size) ** 2
        self.facts = Facts(
            revision=revision,
            late_interaction=False,
            dimensions=vision.hidden_size,
            max_text_tokens=text.max_position_embeddings,
            image_size=vision.image_size,
            resample=Image.Resampling(processor.image_processor.resample),
            image_tokens=patches,
            media_tokens=patches,
            logit_scale=model.logit_scale.float().exp().item(),
            logit_bias=model.logit_bias.float().item(),
        )

    def encode(self, text: str, *, document: bool, field: str) -> Item:
        text = text.lower()
        check_text(text, self._tokenizer.all_special_tokens, field=field)
        most = self.facts.max_text_tokens
        with self._tokenizing:
            ids = self._tokenizer(text, padding="max_length", max_length=most, truncation=False)["input_ids"]
        check_length(len(ids), most, field=field)
        return Item(Kind.TEXT, tuple(ids))

    @torch.inference_mode()
    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        inputs = [item.input for item in items]
        if items[0].kind is Kind.IMAGE:
            output = self._model.get_image_features(self._pixels.scale(inputs).to(self._model.dtype))
        else:
            output = self._model.get_text_features(torch.tensor(inputs, device=self._model.device))
        return to_vectors(output.pooler_output)
