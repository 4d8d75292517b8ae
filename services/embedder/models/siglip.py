"""SigLIP (https://arxiv.org/abs/2303.15343) and SigLIP 2 (https://arxiv.org/abs/2502.14786): one vector an item."""

import threading
from abc import abstractmethod
from collections.abc import Sequence

import torch
from PIL import Image
from transformers import Siglip2Model, Siglip2Processor, SiglipModel, SiglipProcessor
from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches

from services.embedder.models.labels import label_template
from services.embedder.models.model import EmbeddingModel, Facts, Item, Kind, Vectors, check_length, check_text
from services.embedder.models.tensors import PixelScaler, padded, to_pixels, to_vectors
from services.runtime.config import BadSetting


class _Siglip(EmbeddingModel):
    """Text is lower-cased and padded to the full length without an attention mask: the text tower was trained so, and
    pools its last position (https://huggingface.co/docs/transformers/model_doc/siglip)."""

    def __init__(
        self,
        model: SiglipModel | Siglip2Model,
        processor: SiglipProcessor | Siglip2Processor,
        revision: str,
        *,
        most_patches: int,
    ) -> None:
        self._model = model
        self._tokenizer = processor.tokenizer
        self._tokenizing = threading.Lock()
        self._pixels = PixelScaler(processor.image_processor, model.device)
        self.facts = Facts(
            revision=revision,
            late_interaction=False,
            dimensions=model.config.vision_config.hidden_size,
            max_text_tokens=model.config.text_config.max_position_embeddings,
            resample=Image.Resampling(processor.image_processor.resample),
            image_tokens=most_patches,
            media_tokens=most_patches,
            logit_scale=model.logit_scale.float().exp().item(),
            logit_bias=model.logit_bias.float().item(),
            label_template=label_template(model.config),
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
            return to_vectors(self._image_features(inputs))
        return to_vectors(self._model.get_text_features(torch.tensor(inputs, device=self._model.device)).pooler_output)

    @abstractmethod
    def _image_features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """[images, dimensions]"""


class Siglip(_Siglip):
    """Of fixed size: pictures are squeezed into a square."""

    def __init__(self, model: SiglipModel, processor: SiglipProcessor, revision: str) -> None:
        vision, size = model.config.vision_config, processor.image_processor.size
        self._side = vision.image_size
        if size != {"height": self._side, "width": self._side}:
            raise BadSetting("models", f"its pictures are {size}, and its tower takes sides of {self._side}")
        super().__init__(model, processor, revision, most_patches=(self._side // vision.patch_size) ** 2)

    def picture_size(self, width: int, height: int, *, field: str) -> tuple[int, int]:
        return self._side, self._side

    def _image_features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = self._pixels.pictures(images)
        return self._model.get_image_features(pixels.to(self._model.dtype)).pooler_output


class NaFlex(_Siglip):
    """SigLIP 2 that keeps a picture's shape: as many whole patches as its budget allows."""

    def __init__(self, model: Siglip2Model, processor: Siglip2Processor, revision: str) -> None:
        self._patch = processor.image_processor.patch_size
        self._budget = processor.image_processor.max_num_patches
        if self._patch != model.config.vision_config.patch_size:
            raise BadSetting("models", f"its pictures are cut by {self._patch} pixels, and its tower's are not")
        super().__init__(model, processor, revision, most_patches=self._budget)

    def picture_size(self, width: int, height: int, *, field: str) -> tuple[int, int]:
        rows, columns = get_image_size_for_max_num_patches(height, width, self._patch, self._budget)
        return columns, rows

    def media_tokens(self, item: Item) -> int:
        return item.input.width * item.input.height // self._patch**2 if item.kind is Kind.IMAGE else 0

    def _image_features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        patches, mask = padded([_patches(to_pixels(image), self._patch) for image in images])
        shapes = [(image.height // self._patch, image.width // self._patch) for image in images]
        return self._model.get_image_features(
            self._pixels.scale(patches).flatten(2).to(self._model.dtype),
            pixel_attention_mask=mask.to(self._model.device),
            spatial_shapes=torch.tensor(shapes),
        ).pooler_output


def _patches(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """[height, width, 3] to [patches, side * side, 3], row by row."""
    height, width, _ = pixels.shape
    cut = pixels.view(height // side, side, width // side, side, 3).transpose(1, 2)
    return cut.reshape(-1, side * side, 3)
