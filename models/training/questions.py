"""Questions about pictures as PaliGemma is trained on them: image, prefix, answer."""

from dataclasses import dataclass

import torch
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor

from models.training.pictures import pixels
from models.world.example import Example
from models.world.streams import stream
from models.world.tasks import sample_example, sample_world

PER_PICTURE = 3
PARTS = 2  # rows are computed in parts of about equal length, so that little is spent on padding
_IGNORE = -100


@dataclass(frozen=True)
class Rows:
    """Examples padded to one length on the right. `picture` says which one each is about."""

    picture: torch.Tensor  # (rows,)
    ids: torch.Tensor  # (rows, tokens)
    mask: torch.Tensor  # (rows, tokens): 1 where a token is
    types: torch.Tensor  # (rows, tokens): 1 in the answer, 0 in the prefix
    labels: torch.Tensor  # (rows, tokens): the answer's ids, -100 elsewhere
    examples: list[Example]

    @property
    def answer_lengths(self) -> list[int]:
        return (self.labels != _IGNORE).sum(1).tolist()


@dataclass(frozen=True)
class Batch:
    """`pixels` is (pictures, 3, size, size)."""

    pixels: torch.Tensor
    parts: list[Rows]


def sample_batch(processor: PaliGemmaProcessor, seeds: list[int]) -> Batch:
    """The picture of each seed and `PER_PICTURE` examples about it."""
    pictures, asked = [], []
    for index, seed in enumerate(seeds):
        world, rng = sample_world(seed), stream("asked", seed)
        pictures.append(pixels(world, stream("drawn", seed)))
        asked += [(index, sample_example(world, rng)) for _ in range(PER_PICTURE)]
    encoded = sorted(
        ((index, example, *encode(processor, example)) for index, example in asked),
        key=lambda row: len(row[2]) + len(row[3]),
    )
    size = -(-len(encoded) // PARTS)
    parts = [_rows(processor, encoded[start : start + size]) for start in range(0, len(encoded), size)]
    return Batch(torch.stack(pictures), parts)


def encode(processor: PaliGemmaProcessor, example: Example) -> tuple[list[int], list[int]]:
    """Token ids of the prefix behind the image, and of the answer with its end."""
    tokenizer = processor.tokenizer
    prompt = tokenizer.encode(example.prompt, add_special_tokens=False)
    prefix = [tokenizer.bos_token_id, *prompt, tokenizer.convert_tokens_to_ids("\n")]
    return prefix, [*tokenizer.encode(example.answer, add_special_tokens=False), tokenizer.eos_token_id]


def _rows(processor: PaliGemmaProcessor, encoded: list[tuple[int, Example, list[int], list[int]]]) -> Rows:
    width = max(len(prefix) + len(answer) for _, _, prefix, answer in encoded)
    ids = torch.full((len(encoded), width), processor.tokenizer.pad_token_id)
    mask, types, labels = torch.zeros_like(ids), torch.zeros_like(ids), torch.full_like(ids, _IGNORE)
    for row, (_, _, prefix, answer) in enumerate(encoded):
        end = len(prefix) + len(answer)
        ids[row, :end] = torch.tensor(prefix + answer)
        mask[row, :end] = 1
        types[row, len(prefix) :] = 1
        labels[row, len(prefix) : end] = torch.tensor(answer)
    picture = torch.tensor([index for index, *_ in encoded])
    return Rows(picture, ids, mask, types, labels, [example for _, example, *_ in encoded])


def answer_logits(
    model: PaliGemmaForConditionalGeneration, features: torch.Tensor, rows: Rows
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (tokens, vocabulary) where an answer's token is predicted, and those tokens, row by row.

    `features` is (pictures, image tokens, width). The prefix attends both ways, the answer causally.
    """
    text = model.get_input_embeddings()(rows.ids)
    features = features[rows.picture].to(text.dtype)
    images = features.shape[1]
    ones = torch.ones(len(text), images, dtype=torch.long)
    hidden = model.model(
        inputs_embeds=torch.cat([features, text], dim=1),
        token_type_ids=torch.cat([0 * ones, rows.types], dim=1),
        attention_mask=torch.cat([ones, rows.mask], dim=1),
        use_cache=False,
    ).last_hidden_state[:, images:]
    predicts = rows.labels[:, 1:] != _IGNORE
    return model.lm_head(hidden[:, :-1][predicts]).float(), rows.labels[:, 1:][predicts]
