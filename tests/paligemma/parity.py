"""The served model against transformers: the same tokens, with log-probabilities alike?

Run as a module it prints one JSON object; a process of its own, because vLLM wants one.
"""

import argparse
import asyncio
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoProcessor, PaliGemmaForConditionalGeneration

from models.training.checkpoint import IMAGE_SIZE
from models.world.scene import sample_scene
from services.paligemma.config import PaligemmaSettings
from services.paligemma.engine import Engine, Sampling

MAX_TOKENS = 24
WORDS = [
    "how",
    "many",
    "red",
    "green",
    "blue",
    "circles",
    "squares",
    "stars",
    "triangles",
    "are",
    "there",
    "in",
    "the",
    "picture",
    "caption",
    "en",
    "detect",
    "answer",
]


@dataclass(frozen=True)
class Parity:
    prompts: int
    exact: int
    worst_logprob_difference: float


@dataclass(frozen=True)
class Reference:
    tokens: list[int]
    logprobs: list[float]


def prompts(count: int) -> list[tuple[str, Image.Image]]:
    """Prompts of 1 to 40 words, each with a held-out picture."""
    rng = random.Random(0)
    return [
        (" ".join(rng.choices(WORDS, k=rng.randint(1, 40))), sample_scene(500_000 + i).draw(IMAGE_SIZE, IMAGE_SIZE))
        for i in range(count)
    ]


@torch.inference_mode()
def reference(model: Path, asked: list[tuple[str, Image.Image]]) -> list[Reference]:
    """transformers, float32, greedy, one by one."""
    processor = AutoProcessor.from_pretrained(model)
    # Gemma 2's soft-capping is ignored by transformers' sdpa path.
    network = PaliGemmaForConditionalGeneration.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")
    answers = []
    for text, image in asked:
        inputs = processor(images=image, text=f"<image>{text}", return_tensors="pt")
        inputs.pop("labels", None)
        out = network.generate(
            **inputs, max_new_tokens=MAX_TOKENS, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        tokens = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        logits = [_final_cap(network, step[0]) for step in out.logits]
        logprobs = [step.log_softmax(-1)[token].item() for step, token in zip(logits, tokens, strict=True)]
        answers.append(Reference(tokens, logprobs))
    return answers


def _final_cap(network: PaliGemmaForConditionalGeneration, logits: torch.Tensor) -> torch.Tensor:
    """Gemma 2 caps its last logits softly, in big_vision as in vLLM; transformers' PaliGemma leaves that out."""
    cap = getattr(network.config.text_config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


async def served(model: Path, asked: list[tuple[str, Image.Image]]) -> list[Reference]:
    """Our engine, all prompts at once, so that prefills and decodes share batches."""
    engine = Engine(PaligemmaSettings(model=str(model), dtype="float32", max_running=16))
    await engine.start()
    try:
        return await asyncio.gather(*(_answer(engine, text, image) for text, image in asked))
    finally:
        await engine.stop()


async def _answer(engine: Engine, text: str, image: Image.Image) -> Reference:
    tokens = []
    async for output in engine.generate(engine.encode(text, field=""), image, Sampling(max_tokens=MAX_TOKENS)):
        tokens += output.tokens
    return Reference([token.id for token in tokens], [token.logprob for token in tokens])


def compare(ours: list[Reference], theirs: list[Reference]) -> Parity:
    exact = [a.tokens == b.tokens for a, b in zip(ours, theirs, strict=True)]
    differences = [
        abs(x - y)
        for a, b, same in zip(ours, theirs, exact, strict=True)
        if same
        for x, y in zip(a.logprobs, b.logprobs, strict=True)
    ]
    return Parity(len(exact), sum(exact), max(differences, default=float("inf")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", type=int, default=24)
    args = parser.parse_args()
    asked = prompts(args.prompts)
    print(json.dumps(asdict(compare(asyncio.run(served(args.model, asked)), reference(args.model, asked)))))


if __name__ == "__main__":
    main()
