"""ColQwen2 (https://arxiv.org/abs/2407.01449) as transformers has it: ColPali over Qwen2-VL, which keeps a page's shape
and gives a large page more vectors."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import ColQwen2ForRetrieval, ColQwen2Processor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from services.embedder.models.late_interaction import PromptedModel
from services.embedder.models.model import Facts, Item, Kind, Vectors, check_shape, length_bucket
from services.embedder.models.tensors import PixelScaler, padded, to_pixels, to_vectors


class ColQwen2(PromptedModel):
    """Pages are pictures and texts are questions; the vectors of padding are left out of what it gives."""

    def __init__(self, model: ColQwen2ForRetrieval, processor: ColQwen2Processor, revision: str) -> None:
        super().__init__(processor, before=processor.query_prefix)
        self._model = model
        images = processor.image_processor
        self._pixels = PixelScaler(images, model.device)
        self._patch, self._merge, self._frames = images.patch_size, images.merge_size, images.temporal_patch_size
        self._least, self._most = images.size.shortest_edge, images.size.longest_edge
        # The prompt around a page's image tokens.
        side = self._patch * self._merge
        prompt = processor(images=[Image.new("RGB", (side, side))])["input_ids"][0]
        places = (prompt == processor.image_token_id).nonzero().flatten().tolist()
        self._image_token = prompt[places[:1]]
        self._head, self._tail = prompt[: places[0]], prompt[places[-1] + 1 :]
        media_tokens = self._most // side**2
        self.facts = Facts(
            revision=revision,
            late_interaction=True,
            dimensions=model.config.embedding_dim,
            max_text_tokens=model.config.vlm_config.text_config.max_position_embeddings,
            resample=Image.Resampling(images.resample),
            image_tokens=media_tokens + len(self._head) + len(self._tail),
            media_tokens=media_tokens,
        )

    def picture_size(self, width: int, height: int, *, field: str) -> tuple[int, int]:
        check_shape(width, height, field=field)
        rows, columns = smart_resize(height, width, self._patch * self._merge, self._least, self._most)
        return columns, rows

    def picture(self, image: Image.Image) -> Item:
        return Item(Kind.IMAGE, image, bucket=length_bucket(self._image_tokens(image)))

    def media_tokens(self, item: Item) -> int:
        return self._image_tokens(item.input) if item.kind is Kind.IMAGE else 0

    @torch.inference_mode()
    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        device = self._model.device
        inputs = [item.input for item in items]
        pictures = {}
        if items[0].kind is Kind.IMAGE:
            rows = [self._prompt(image) for image in inputs]
            patches, _ = padded([self._patches(image) for image in inputs])
            pictures = {
                "pixel_values": patches.to(self._model.dtype),
                "image_grid_thw": torch.tensor([self._grid(image) for image in inputs], device=device),
            }
        else:
            rows = [torch.tensor(text) for text in inputs]
        # Behind, where a causal model does not see it.
        ids, mask = (tensor.to(device) for tensor in padded(rows, self._processor.tokenizer.pad_token_id))
        embeddings = self._model(input_ids=ids, attention_mask=mask, use_cache=False, **pictures).embeddings
        return to_vectors(embeddings, mask)

    def patches(self, vectors: Vectors, width: int, height: int) -> NDArray[np.float32]:
        count = len(vectors) - len(self._head) - len(self._tail)
        # Of the grids with so many patches, that which is shaped most like the picture.
        rows = min(
            (rows for rows in range(1, count + 1) if count % rows == 0),
            key=lambda rows: abs(math.log(rows * rows / count) - math.log(height / width)),
        )
        begin = len(self._head)
        return vectors[begin : begin + count].reshape(rows, count // rows, -1)

    def _image_tokens(self, image: Image.Image) -> int:
        return image.width * image.height // (self._patch * self._merge) ** 2

    def _prompt(self, image: Image.Image) -> torch.Tensor:
        return torch.cat([self._head, self._image_token.expand(self._image_tokens(image)), self._tail])

    def _grid(self, image: Image.Image) -> tuple[int, int, int]:
        return 1, image.height // self._patch, image.width // self._patch

    def _patches(self, image: Image.Image) -> torch.Tensor:
        """[patches, 3 * frames * patch * patch] in float32: squares of `merge` x `merge` patches, row by row, each
        picture as `frames` equal frames of a film."""
        _, rows, columns = self._grid(image)
        merge, patch = self._merge, self._patch
        pixels = self._pixels.scale(to_pixels(image))
        cut = pixels.view(rows // merge, merge, patch, columns // merge, merge, patch, 3).permute(0, 3, 1, 4, 6, 2, 5)
        frames = cut.unsqueeze(5).expand(*cut.shape[:5], self._frames, patch, patch)
        return frames.reshape(rows * columns, -1)
