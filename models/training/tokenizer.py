"""A Gemma tokenizer over the words of the tiny world."""

import json
from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Replace
from tokenizers.pre_tokenizers import Digits, Punctuation, Sequence, Split
from tokenizers.trainers import BpeTrainer
from transformers import GemmaTokenizer

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def build_tokenizer(corpus: Iterable[str], vocabulary: int = 800) -> GemmaTokenizer:
    """At most `vocabulary` tokens learned from `corpus`; any other text falls back to characters and bytes."""
    bpe = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    bpe.normalizer = Replace(" ", "▁")
    # No merge is learned over a full stop or between digits, so that none is ever made.
    bpe.pre_tokenizer = Sequence([Split("▁", "merged_with_next"), Punctuation(), Digits(individual_digits=True)])
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        show_progress=False,
        special_tokens=[*SPECIAL, "\n", *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[chr(code) for code in range(33, 127)],
    )
    bpe.train_from_iterator(corpus, trainer)
    learned = json.loads(bpe.to_str())["model"]
    return GemmaTokenizer(vocab=learned["vocab"], merges=[tuple(merge) for merge in learned["merges"]])
