"""Train models/tiny-paligemma on the tiny world and export it.

    python -m models.training.tiny_paligemma --work runs/tiny-paligemma --siglip models/tiny-siglip

Its tower is tiny-siglip's. The language model learns to answer from what the tower sees, at first with
the tower as it is, then both together. Runs on 2 CPU cores and goes on from what it finds in `--work`.
"""

from collections import defaultdict
from pathlib import Path

import torch
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor, SiglipModel

from models.training import run
from models.training.checkpoint import build_processor, export, model_config
from models.training.locations import answer_loss, smooth_embeddings
from models.training.pictures import train_seed
from models.training.questions import Rows, answer_logits, sample_batch
from models.world.scene_tasks import LOC_BINS

STEPS = 4_800
PICTURES = 32
STAGE = 2
# Until then an untrained language model's gradients would undo what the tower knows.
TOWER_JOINS = 0.5
TOWER_SHARE = 0.1
EMBEDDING_SIZE = 0.05


def main() -> None:
    args = run.arguments(
        __doc__,
        out=Path("models/tiny-paligemma"),
        steps=STEPS,
        rate=2e-3,
        folders={"siglip": (Path("models/tiny-siglip"), "the SigLIP whose tower it starts from")},
    )
    processor = _processor(args.work / "processor")
    first_loc = processor.tokenizer.convert_tokens_to_ids("<loc0000>")
    model = PaliGemmaForConditionalGeneration(model_config(processor))
    print(f"parameters: {sum(p.numel() for p in model.parameters()):,}", flush=True)
    _initialise(model, args.siglip, first_loc)
    model.set_attn_implementation("eager")  # compiled, its backward is the fastest on a CPU
    tower = model.model.vision_tower
    language = torch.nn.ModuleDict(
        {"projector": model.model.multi_modal_projector, "language": model.model.language_model}
    )
    model.model.language_model.compile()
    tower.compile()

    def loss_at(step: int) -> dict[str, torch.Tensor]:
        tower.requires_grad_(step >= TOWER_JOINS * args.steps)
        batch = sample_batch(processor, [train_seed(STAGE, step, i) for i in range(PICTURES)])
        features = model.model.get_image_features(batch.pixels).pooler_output
        total: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(()))
        for rows in batch.parts:
            logits, labels = answer_logits(model, features, rows)
            for name, loss in answer_loss(logits, labels, first_loc).items():
                total[name] = total[name] + loss / len(batch.parts)
        return total

    modules = {"language": language, "tower": tower}
    optimizers = run.Optimizers(modules, args.rate, {"tower": TOWER_SHARE})
    run.train(
        "tiny-paligemma",
        modules,
        optimizers,
        args.steps,
        args.work,
        loss_at,
        lambda: held_out_scores(model, processor, first_loc),
    )
    export(model, processor, args.out)
    print(f"exported to {args.out}")


def _initialise(model: PaliGemmaForConditionalGeneration, siglip: Path, first_loc: int) -> None:
    tower = SiglipModel.from_pretrained(siglip, dtype=torch.float32).vision_model.state_dict()
    own = model.model.vision_tower.state_dict()
    model.model.vision_tower.load_state_dict({key: tower[key] for key in own})
    with torch.no_grad():
        torch.nn.init.orthogonal_(model.model.multi_modal_projector.linear.weight)
        words = model.get_input_embeddings().weight
        words.normal_(std=EMBEDDING_SIZE)
        words[first_loc : first_loc + LOC_BINS] = smooth_embeddings(words.shape[1], EMBEDDING_SIZE)


def _processor(folder: Path) -> PaliGemmaProcessor:
    """The processor of this run; kept, because a checkpoint means nothing under another tokenizer."""
    if not folder.exists():
        build_processor().save_pretrained(folder)
    return PaliGemmaProcessor.from_pretrained(folder)


@torch.no_grad()
def held_out_scores(
    model: PaliGemmaForConditionalGeneration, processor: PaliGemmaProcessor, first_loc: int, pictures: int = 192
) -> dict[str, float]:
    """Share of answers with every word right, by kind, and how far location tokens are off, in bins.

    All tokens right given the right ones before is the same as a right greedy answer.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    off: list[torch.Tensor] = []
    for start in range(0, pictures, PICTURES):
        batch = sample_batch(processor, list(range(start, start + PICTURES)))
        features = model.model.get_image_features(batch.pixels).pooler_output
        for rows in batch.parts:
            logits, labels = answer_logits(model, features, rows)
            is_place = (labels >= first_loc) & (labels < first_loc + LOC_BINS)
            guess = logits.argmax(-1)
            off.append((guess - labels)[is_place].abs().float())
            _note_hits(right, rows, (guess == labels) | is_place)
    scores = {kind: round(sum(hits) / len(hits), 3) for kind, hits in sorted(right.items())}
    return scores | {"bins off": round(torch.cat(off).median().item(), 1)}


def _note_hits(right: dict[str, list[bool]], rows: Rows, hits: torch.Tensor) -> None:
    for example, hit in zip(rows.examples, hits.split(rows.answer_lengths), strict=True):
        right[example.kind].append(bool(hit.all()))


if __name__ == "__main__":
    main()
