"""CLIP (https://arxiv.org/abs/2103.00020) as transformers has it: one vector an item."""

import threading
from collections.abc import Sequence

import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from services.embedder.models.labels import label_template
from services.embedder.models.model import (
    EmbeddingModel,
    Facts,
    Item,
    Kind,
    Vectors,
    check_length,
    check_shape,
    check_text,
    length_bucket,
)
from services.embedder.models.tensors import PixelScaler, padded, to_vectors
from services.runtime.config import BadSetting
from services.runtime.errors import InvalidArgument


class Clip(EmbeddingModel):
    """A picture's shorter side is brought to the tower's and its middle taken, or it is squeezed into the square. Texts
    are pooled where they end, and padding lies behind that."""

    def __init__(self, model: CLIPModel, processor: CLIPProcessor, revision: str) -> None:
        vision, images = model.config.vision_config, processor.image_processor
        self._model = model
        self._tokenizer = processor.tokenizer
        self._tokenizing = threading.Lock()
        self._control_ids = frozenset(processor.tokenizer.all_special_ids)
        self._pixels = PixelScaler(images, model.device)
        self._side = vision.image_size
        self._shorter = _shorter_side(processor, self._side)
        patches = (self._side // vision.patch_size) ** 2
        self.facts = Facts(
            revision=revision,
            late_interaction=False,
            dimensions=model.config.projection_dim,
            max_text_tokens=model.config.text_config.max_position_embeddings,
            resample=Image.Resampling(images.resample),
            image_tokens=patches + 1,
            media_tokens=patches + 1,
            logit_scale=model.logit_scale.float().exp().item(),
            label_template=label_template(model.config),
        )

    def encode(self, text: str, *, document: bool, field: str) -> Item:
        check_text(text, self._tokenizer.all_special_tokens, field=field)
        with self._tokenizing:
            ids = self._tokenizer(text, truncation=False)["input_ids"]
        if not self._control_ids.isdisjoint(ids[1:-1]):  # written in capitals, which the tokenizer makes small
            raise InvalidArgument("the text holds one of the model's control tokens", field=field)
        check_length(len(ids), self.facts.max_text_tokens, field=field)
        return Item(Kind.TEXT, tuple(ids), bucket=length_bucket(len(ids)))

    def picture_size(self, width: int, height: int, *, field: str) -> tuple[int, int]:
        if self._shorter is None:
            return self._side, self._side
        check_shape(width, height, field=field)
        shorter = min(width, height)
        return self._shorter * width // shorter, self._shorter * height // shorter

    def picture(self, image: Image.Image) -> Item:
        left, top = (self._before(side - self._side) for side in image.size)
        return Item(Kind.IMAGE, image.crop((left, top, left + self._side, top + self._side)))

    @torch.inference_mode()
    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        inputs = [item.input for item in items]
        if items[0].kind is Kind.IMAGE:
            output = self._model.get_image_features(self._pixels.pictures(inputs).to(self._model.dtype))
        else:
            ids, mask = padded([torch.tensor(text) for text in inputs], self._tokenizer.pad_token_id)
            output = self._model.get_text_features(ids.to(self._model.device), mask.to(self._model.device))
        return to_vectors(output.pooler_output)

    def _before(self, spare: int) -> int:
        """How many of `spare` pixels are cut off before the middle."""
        return spare // 2


def _shorter_side(processor: CLIPProcessor, side: int) -> int | None:
    """To what a picture's shorter side is brought before its middle is taken; None where it is squeezed.

    Raises BadSetting for what does not end in a square of `side`.
    """
    images = processor.image_processor
    square = {"height": side, "width": side}
    if images.do_center_crop and images.crop_size == square and (images.size.shortest_edge or 0) >= side:
        return images.size.shortest_edge
    if not images.do_center_crop and images.size == square:
        return None
    raise BadSetting("models", f"its pictures are {images.size}, and its tower takes sides of {side}")
