"""What ColPali and ColQwen2 have in common: texts are questions in a prompt, and each of their vectors stands for a
token."""

import threading

from transformers import ColPaliProcessor, ColQwen2Processor

from services.embedder.models.model import (
    Facts,
    Item,
    Kind,
    LateInteractionModel,
    check_length,
    check_text,
    length_bucket,
)
from services.runtime.errors import InvalidArgument


class PromptedModel(LateInteractionModel):
    """Puts questions into the prompt of transformers' processor, which differs from colpali-engine's: never compare
    vectors of the two."""

    facts: Facts

    def __init__(self, processor: ColPaliProcessor | ColQwen2Processor, *, before: str) -> None:
        """`before` is what the processor puts before a question."""
        self._processor = processor
        self._before = before
        self._tokenizing = threading.Lock()

    def encode(self, text: str, *, document: bool, field: str) -> Item:
        if document:
            raise InvalidArgument("this model searches pages by text; it takes no text to be found", field=field)
        check_text(text, self._processor.tokenizer.all_special_tokens, field=field)
        with self._tokenizing:
            (ids,) = self._processor(text=[text])["input_ids"].tolist()
        check_length(len(ids), self.facts.max_text_tokens, field=field)
        return Item(Kind.TEXT, tuple(ids), bucket=length_bucket(len(ids)), text=text)

    def words(self, item: Item) -> list[tuple[int, str]]:
        with self._tokenizing:
            (spans,) = self._processor(text=[item.text], return_offsets_mapping=True)["offset_mapping"].tolist()
        prompt = self._before + item.text
        # A token may hold the space before a word, and with it the end of what stands before the question.
        words = ((row, prompt[max(begin, len(self._before)) : end].strip()) for row, (begin, end) in enumerate(spans))
        return [(row, word) for row, word in words if word]
