"""ColPali (https://arxiv.org/abs/2407.01449) as transformers has it: a vector for each token of a page or a question.

Its prompts are those of `ColPaliProcessor`, which differ from colpali-engine's: never compare vectors of the two.
"""

import threading
from collections.abc import Sequence

import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers import ColPaliForRetrieval, ColPaliProcessor

from services.embedder.models.model import EmbeddingModel, Facts, Item, Kind, Vectors, check_length, check_text
from services.embedder.models.tensors import PixelScaler, to_vectors
from services.runtime.errors import InvalidArgument


class ColPali(EmbeddingModel):
    """Pages are pictures and texts are questions; the vectors of padding are left out of what it gives."""

    def __init__(self, model: ColPaliForRetrieval, processor: ColPaliProcessor, revision: str) -> None:
        self._model = model
        self._processor = processor
        self._tokenizing = threading.Lock()
        self._pixels = PixelScaler(processor.image_processor, model.device)
        vlm = model.config.vlm_config
        size = vlm.vision_config.image_size
        # The same for every page: its image tokens and the prompt behind them.
        self._page = processor(images=[Image.new("RGB", (size, size))])["input_ids"][0].to(model.device)
        self.facts = Facts(
            revision=revision,
            late_interaction=True,
            dimensions=model.config.embedding_dim,
            max_text_tokens=vlm.text_config.max_position_embeddings,
            image_size=size,
            resample=Image.Resampling(processor.image_processor.resample),
            image_tokens=len(self._page),
            media_tokens=processor.image_seq_length,
        )

    def encode(self, text: str, *, document: bool, field: str) -> Item:
        if document:
            raise InvalidArgument("this model searches pages by text; it takes no text to be found", field=field)
        check_text(text, self._processor.tokenizer.all_special_tokens, field=field)
        with self._tokenizing:
            (ids,) = self._processor(text=[text])["input_ids"].tolist()
        check_length(len(ids), self.facts.max_text_tokens, field=field)
        return Item(Kind.TEXT, tuple(ids))

    @torch.inference_mode()
    def embed(self, items: Sequence[Item]) -> list[Vectors]:
        inputs = [item.input for item in items]
        if items[0].kind is Kind.IMAGE:
            ids, pixels = [self._page] * len(items), self._pixels.scale(inputs)
        else:
            ids, pixels = [torch.tensor(text, device=self._model.device) for text in inputs], None
        mask = self._padded([torch.ones_like(row) for row in ids], 0)
        embeddings = self._model(
            input_ids=self._padded(ids, self._processor.tokenizer.pad_token_id),
            attention_mask=mask,
            # All of it is prefix, which attends both ways; without them PaliGemma is causal.
            token_type_ids=torch.zeros_like(mask),
            pixel_values=pixels,
            use_cache=False,
        ).embeddings
        return to_vectors(embeddings, mask)

    def _padded(self, rows: list[torch.Tensor], value: int) -> torch.Tensor:
        return pad_sequence(rows, True, value, padding_side=self._processor.tokenizer.padding_side)
