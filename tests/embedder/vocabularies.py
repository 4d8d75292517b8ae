"""Small byte-level vocabularies, as CLIP and Qwen2 have large ones."""

import json
from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer, Qwen2Tokenizer

_CLIP_ENDS = ["<|startoftext|>", "<|endoftext|>"]


def clip_tokenizer(corpus: Sequence[str]) -> CLIPTokenizer:
    """Its last two tokens begin and end a text, as in OpenAI's."""
    vocabulary, merges = _learned(corpus, "</w>")
    vocabulary += [letter + "</w>" for letter in _alphabet() if letter + "</w>" not in vocabulary]
    ids = {token: index for index, token in enumerate([*vocabulary, *_CLIP_ENDS])}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=16)


def qwen2_tokenizer(corpus: Sequence[str]) -> Qwen2Tokenizer:
    """With the control tokens of ColQwen2's prompt."""
    vocabulary, merges = _learned(corpus, "")
    tokenizer = Qwen2Tokenizer(vocab={token: index for index, token in enumerate(vocabulary)}, merges=merges)
    names = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in names]})
    return tokenizer


def _learned(corpus: Sequence[str], end_of_word: str) -> tuple[list[str], list[tuple[str, str]]]:
    bpe = Tokenizer(BPE(end_of_word_suffix=end_of_word))
    bpe.pre_tokenizer = ByteLevel(add_prefix_space=False)
    alphabet = _alphabet()
    trainer = BpeTrainer(
        vocab_size=2 * len(alphabet) + 60,
        show_progress=False,
        initial_alphabet=alphabet,
        end_of_word_suffix=end_of_word,
        special_tokens=[],
    )
    bpe.train_from_iterator(corpus, trainer)
    learned = json.loads(bpe.to_str())["model"]
    return sorted(learned["vocab"], key=learned["vocab"].get), [tuple(merge) for merge in learned["merges"]]


def _alphabet() -> list[str]:
    return sorted(ByteLevel.alphabet())
