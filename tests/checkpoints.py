"""Checkpoints that tests make for themselves, of the real architecture."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor

from models.training.checkpoint import build_processor, export, model_config

TINY = Path(__file__).parent.parent / "models" / "tiny-paligemma"
MOST_STEPS = 300
LEARNED_LOSS = 0.01


def talkative(folder: Path) -> Path:
    """A PaliGemma that never says `<eos>` nor white space, with room for 4,096 tokens: its answers last until they are
    cut."""
    torch.manual_seed(0)
    processor = build_processor()
    config = model_config(processor)
    config.text_config.max_position_embeddings = 4_096
    model = PaliGemmaForConditionalGeneration(config)
    tokenizer = processor.tokenizer
    unsaid = [token for token in range(len(tokenizer)) if not tokenizer.decode([token]).strip()]
    with torch.no_grad():
        # Their logits are then 0, which among all the random ones is never the greatest.
        model.get_input_embeddings().weight[[tokenizer.eos_token_id, *unsaid]] = 0
    return _exported(model, processor, folder)


def memorised(folder: Path, examples: Sequence[tuple[Image.Image, str, str]]) -> Path:
    """The tiny model, trained on until it answers each (picture, prompt, answer) to the letter."""
    torch.manual_seed(0)
    processor = PaliGemmaProcessor.from_pretrained(TINY)
    model = PaliGemmaForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32)
    images, prompts, answers = zip(*examples, strict=True)
    inputs = processor(
        images=list(images),
        text=[f"<image>{prompt}" for prompt in prompts],
        suffix=list(answers),
        padding="longest",
    ).convert_to_tensors("pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(MOST_STEPS):
        loss = model(**inputs).loss
        if loss < LEARNED_LOSS:
            return _exported(model, processor, folder)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"not learned in {MOST_STEPS} steps: loss {loss.item():.4f}")


def _exported(model: PaliGemmaForConditionalGeneration, processor: PaliGemmaProcessor, folder: Path) -> Path:
    export(model, processor, folder)
    return folder
