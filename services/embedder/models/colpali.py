"""ColPali (https://arxiv.org/abs/2407.01449) as transformers has it: a vector for each token of a page or question."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import ColPaliForRetrieval, ColPaliProcessor

from services.embedder.models.late_interaction import PromptedModel
from services.embedder.models.model import Facts, Item, Kind, Vectors
from services.embedder.models.tensors import PixelScaler, padded, to_vectors


class ColPali(PromptedModel):
    """Pages are pictures and texts are questions; the vectors of padding are left out of what it gives."""

    def __init__(self, model: ColPaliForRetrieval, processor: ColPaliProcessor, revision: str) -> None:
        super().__init__(processor, before=processor.tokenizer.bos_token + processor.query_prefix)
        self._model = model
        self._pixels = PixelScaler(processor.image_processor, model.device)
        vlm = model.config.vlm_config
        self._side = vlm.vision_config.image_size
        # The same for every page: its image tokens and the prompt behind them.
        self._page = processor(images=[Image.new("RGB", (self._side, self._side))])["input_ids"][0].to(model.device)
        self._rows = self._side // vlm.vision_config.patch_size
        self.facts = Facts(
            revision=revision,
            late_interaction=True,
            dimensions=model.config.embedding_dim,
            max_text_tokens=vlm.text_config.max_position_embeddings,
            resample=Image.Resampling(processor.image_processor.resample),
            image_tokens=len(self._page),
            media_tokens=processor.image_seq_length,
        )

    def picture_size(self, width: int, height: int, *, field: str) -> tuple[int, int]:
        return self._side, self._side

    @torch.inference_mode()
    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        inputs = [item.input for item in items]
        if items[0].kind is Kind.IMAGE:
            rows, pixels = [self._page] * len(items), self._pixels.pictures(inputs)
        else:
            rows, pixels = [torch.tensor(text, device=self._model.device) for text in inputs], None
        tokenizer = self._processor.tokenizer
        ids, mask = padded(rows, tokenizer.pad_token_id, side=tokenizer.padding_side)
        embeddings = self._model(
            input_ids=ids,
            attention_mask=mask,
            # All of it is prefix, which attends both ways; without them PaliGemma is causal.
            token_type_ids=torch.zeros_like(mask),
            pixel_values=pixels,
            use_cache=False,
        ).embeddings
        return to_vectors(embeddings, mask)

    def patches(self, vectors: Vectors, width: int, height: int) -> NDArray[np.float32]:
        return vectors[: self._rows**2].reshape(self._rows, self._rows, -1)
