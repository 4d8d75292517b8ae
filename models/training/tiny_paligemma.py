"""Train models/tiny-paligemma from scratch on the tiny world and export it.

    python -m models.training.tiny_paligemma --work runs/tiny-paligemma

First the vision tower alone learns to say, patch by patch, which shape and colour it sees and where
that shape's box lies; then the language model learns to answer from what the tower sees. Runs on 2
CPU cores, resumes from the newest checkpoint in `--work`, and writes the export to `--out` at the end.
"""

import argparse
import json
import math
import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor

from models.training.checkpoint import IMAGE_SIZE, PATCH_SIZE, build_processor, export, model_config
from models.world.scene import COLORS, HELD_OUT_SEEDS, SHAPES, Scene, sample_scene
from models.world.tasks import Example, sample_example

TOWER_STEPS = 1_500
GRID = IMAGE_SIZE // PATCH_SIZE
QUESTIONS_PER_IMAGE = 4
IGNORE = -100
# Location tokens are many and hard; at full weight they drown the words.
LOC_WEIGHT = 0.2
# Of the language model's learning rate, once the tower learns along.
TOWER_SHARE = 0.2


def main() -> None:
    args = _arguments()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    processor = _processor(args.work / "processor")
    model = PaliGemmaForConditionalGeneration(model_config(processor))
    print(f"parameters: {sum(p.numel() for p in model.parameters()):,}", flush=True)
    train_tower(model, args)
    train_answers(model, processor, args)
    export(model, processor, args.out)
    print(f"exported to {args.out}")


def _processor(folder: Path) -> PaliGemmaProcessor:
    """The processor of this run; kept, because a checkpoint means nothing under another tokenizer."""
    if not folder.exists():
        build_processor().save_pretrained(folder)
    return PaliGemmaProcessor.from_pretrained(folder)


def train_tower(model: PaliGemmaForConditionalGeneration, args: argparse.Namespace) -> None:
    """Dense supervision of the tower: per patch, shape (or ground), colour and box."""
    done = args.work / "tower.pt"
    if done.exists():
        model.model.vision_tower.load_state_dict(torch.load(done, weights_only=True))
        return
    tower = model.model.vision_tower
    head = nn.Linear(tower.config.hidden_size, len(SHAPES) + 1 + len(COLORS) + 4)
    parameters = [*tower.parameters(), *head.parameters()]
    groups = [{"params": parameters, "share": 1.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    started = time.monotonic()
    for step in range(args.tower_steps):
        _set_rate(optimizer, 1e-3, step, args.tower_steps)
        scenes = [sample_scene(train_seed(step, i, stage=0)) for i in range(64)]
        pixels = torch.stack([_pixels(scene, random.Random(i)) for i, scene in enumerate(scenes)])
        target = torch.from_numpy(np.stack([_patch_targets(scene) for scene in scenes]))
        with torch.autocast("cpu", torch.bfloat16):
            out = head(tower(pixels).last_hidden_state)
        out = out.float()
        shape, color, box = out.split((len(SHAPES) + 1, len(COLORS), 4), dim=-1)
        seen = target[..., 0] > 0
        loss = (
            F.cross_entropy(shape.flatten(0, 1), target[..., 0].long().flatten())
            + F.cross_entropy(color[seen], target[..., 1].long()[seen])
            + 4 * F.l1_loss(box[seen].sigmoid(), target[..., 2:][seen])
        )
        _step(optimizer, loss, parameters)
        if step % 100 == 99:
            print(
                f"tower {step + 1}/{args.tower_steps} loss {loss.item():.4f} {time.monotonic() - started:.0f}s",
                flush=True,
            )
    torch.save(tower.state_dict(), done)


def train_answers(
    model: PaliGemmaForConditionalGeneration, processor: PaliGemmaProcessor, args: argparse.Namespace
) -> None:
    """Next-token loss on answers only, under the prefix-LM mask.

    The tower stays as it is for the first half: the gradients of an untrained language model would
    undo what it learned.
    """
    tower = list(model.model.vision_tower.parameters())
    language = [parameter for name, parameter in model.named_parameters() if "vision_tower" not in name]
    parameters = language + tower
    groups = [{"params": language, "share": 1.0}, {"params": tower, "share": TOWER_SHARE}]
    optimizer = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.95), weight_decay=0.02)
    first_loc = processor.tokenizer.convert_tokens_to_ids("<loc0000>")
    newest = args.work / "answers.pt"
    first = 0
    if newest.exists():
        state = torch.load(newest, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    started = time.monotonic()
    for step in range(first, args.steps):
        _set_rate(optimizer, args.rate, step, args.steps)
        model.model.vision_tower.requires_grad_(step >= args.steps // 2)
        batch = _batch(processor, [train_seed(step, i, stage=1) for i in range(args.images)])
        with torch.autocast("cpu", torch.bfloat16):
            logits, labels = _answer_logits(model, batch)
        weights = torch.where(labels >= first_loc, LOC_WEIGHT, 1.0)
        loss = (F.cross_entropy(logits, labels, reduction="none") * weights).sum() / weights.sum()
        _step(optimizer, loss, parameters)
        if step % 50 == 49:
            rate = (time.monotonic() - started) / (step + 1 - first)
            print(f"answers {step + 1}/{args.steps} loss {loss.item():.4f} {rate:.2f}s/step", flush=True)
        if step % 500 == 499 or step + 1 == args.steps:
            print(json.dumps(held_out_scores(model, processor)), flush=True)
            torch.save(
                {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1},
                newest.with_suffix(".new"),
            )
            newest.with_suffix(".new").replace(newest)


@torch.no_grad()
def held_out_scores(
    model: PaliGemmaForConditionalGeneration, processor: PaliGemmaProcessor, scenes: int = 128
) -> dict[str, float]:
    """Exact answers by kind on held-out scenes.

    All tokens right given the right ones before is the same as a right greedy answer.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, scenes, 32):
        batch = _batch(processor, list(range(start, start + 32)))
        with torch.autocast("cpu", torch.bfloat16):
            logits, labels = _answer_logits(model, batch)
        hits = (logits.argmax(-1) == labels).split(batch["answer_lengths"])
        for example, hit in zip(batch["examples"], hits, strict=True):
            right[example.kind].append(bool(hit.all()))
    return {kind: round(sum(hits) / len(hits), 3) for kind, hits in sorted(right.items())}


def _answer_logits(model: PaliGemmaForConditionalGeneration, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (tokens, vocabulary) at the positions that predict an answer token, and those tokens."""
    features = model.model.get_image_features(batch["pixels"]).pooler_output
    features = features.repeat_interleave(QUESTIONS_PER_IMAGE, dim=0)
    text = model.get_input_embeddings()(batch["ids"])
    images = features.shape[1]
    ones = torch.ones(len(text), images, dtype=torch.long)
    hidden = model.model(
        inputs_embeds=torch.cat([features.to(text.dtype), text], dim=1),
        token_type_ids=torch.cat([0 * ones, batch["types"]], dim=1),
        attention_mask=torch.cat([ones, batch["mask"]], dim=1),
        use_cache=False,
    ).last_hidden_state[:, images:]
    predicts = batch["labels"][:, 1:] != IGNORE
    return model.lm_head(hidden[:, :-1][predicts]).float(), batch["labels"][:, 1:][predicts]


def _batch(processor: PaliGemmaProcessor, seeds: list[int]) -> dict:
    """Pixels of each seed's scene and `QUESTIONS_PER_IMAGE` tokenised examples about it, padded right."""
    tokenizer = processor.tokenizer
    pixels, rows, examples = [], [], []
    for seed in seeds:
        rng, scene = random.Random(seed), sample_scene(seed)
        pixels.append(_pixels(scene, rng))
        for _ in range(QUESTIONS_PER_IMAGE):
            example: Example = sample_example(scene, rng)
            prefix = [
                tokenizer.bos_token_id,
                *tokenizer.encode(example.prompt, add_special_tokens=False),
                tokenizer.convert_tokens_to_ids("\n"),
            ]
            suffix = [*tokenizer.encode(example.answer, add_special_tokens=False), tokenizer.eos_token_id]
            rows.append((prefix, suffix))
            examples.append(example)
    width = max(len(prefix) + len(suffix) for prefix, suffix in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    mask, types, labels = torch.zeros_like(ids), torch.zeros_like(ids), torch.full_like(ids, IGNORE)
    for row, (prefix, suffix) in enumerate(rows):
        end = len(prefix) + len(suffix)
        ids[row, :end] = torch.tensor(prefix + suffix)
        mask[row, :end] = 1
        types[row, len(prefix) :] = 1
        labels[row, len(prefix) : end] = torch.tensor(suffix)
    lengths = [len(suffix) for _, suffix in rows]
    return {
        "pixels": torch.stack(pixels),
        "ids": ids,
        "mask": mask,
        "types": types,
        "labels": labels,
        "examples": examples,
        "answer_lengths": lengths,
    }


def _pixels(scene: Scene, rng: random.Random) -> torch.Tensor:
    """(3, size, size) in [-1, 1], resized bicubically as transformers' SigLIP processor does."""
    width, height = rng.choice(((224, 224), (224, 224), (256, 192), (192, 256), (320, 240)))
    picture = scene.draw(width, height).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(picture, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def _patch_targets(scene: Scene) -> np.ndarray:
    """(patches, 6): shape index (0 is ground), colour index, and the box's four edges in [0, 1]."""
    target = np.zeros((GRID, GRID, 6), dtype=np.float32)
    for thing in scene.things:
        xmin, ymin, xmax, ymax = (edge * GRID for edge in thing.box)
        rows = slice(math.floor(ymin + 0.3), math.ceil(ymax - 0.3))
        columns = slice(math.floor(xmin + 0.3), math.ceil(xmax - 0.3))
        target[rows, columns] = (1 + SHAPES.index(thing.shape), list(COLORS).index(thing.color), *thing.box)
    return target.reshape(-1, 6)


def train_seed(step: int, index: int, stage: int) -> int:
    return HELD_OUT_SEEDS + stage * 1_000_000_000 + step * 1_000 + index


def _set_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    warm = min(1.0, (step + 1) / 100)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = group["share"] * peak * warm * max(cosine, 0.02)


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor, parameters: list[nn.Parameter]) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints to resume from")
    parser.add_argument("--out", type=Path, default=Path("models/tiny-paligemma"))
    parser.add_argument("--tower-steps", type=int, default=TOWER_STEPS)
    parser.add_argument("--steps", type=int, default=4_000)
    parser.add_argument("--images", type=int, default=24, help="pictures a step; each has 4 questions")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
