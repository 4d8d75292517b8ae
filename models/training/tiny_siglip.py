"""Train models/tiny-siglip from scratch on the tiny world and export it.

    python -m models.training.tiny_siglip --work runs/tiny-siglip

Pictures and captions by SigLIP's sigmoid loss (arXiv 2303.15343), and at the same time dense losses on
the patches. Its tower is where the tiny PaliGemma starts. Goes on from what it finds in `--work`.
"""

import math
from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipModel, SiglipProcessor, SiglipTextConfig

from models.training import dense, run
from models.training.checkpoint import WIDTH, vision_config
from models.training.pictures import build_image_processor, pixels, train_seed
from models.training.tokenizer import build_tokenizer
from models.world.chart import sample_chart
from models.world.held_out import captioned
from models.world.page import sample_page
from models.world.scene import HELD_OUT_SEEDS, sample_scene
from models.world.sign import sample_sign
from models.world.streams import stream
from models.world.tasks import World, caption, sample_world

STEPS = 3_000
BATCH = 64
MAX_TOKENS = 32
STAGE = 1
CONTRASTIVE_WEIGHT = 2.0
# Reading is the hard part; and many signs in one batch make it their words that tell them apart, not their colours.
KINDS, KIND_WEIGHTS = (sample_scene, sample_sign, sample_chart, sample_page), (16, 26, 16, 6)


def main() -> None:
    args = run.arguments(__doc__, out=Path("models/tiny-siglip"), steps=STEPS, rate=2e-3)
    processor = _processor(args.work / "processor")
    model = SiglipModel(siglip_config(processor))
    model.set_attn_implementation("eager")  # compiled, its backward is the fastest on a CPU
    with torch.no_grad():
        model.logit_scale.fill_(math.log(10))  # where the paper starts
        model.logit_bias.fill_(-10)
    print(f"parameters: {sum(p.numel() for p in model.parameters()):,}", flush=True)
    heads = dense.Heads(WIDTH)
    modules = {"model": model, "heads": heads}
    tower = torch.compile(model.vision_model)

    def loss_at(step: int) -> dict[str, torch.Tensor]:
        seeds = [train_seed(STAGE, step, i) for i in range(BATCH)]
        worlds = [_sample(seed) for seed in seeds]
        batch = torch.stack([pixels(world, stream("drawn", seed)) for world, seed in zip(worlds, seeds, strict=True)])
        seen = tower(batch)
        losses = heads.losses(seen.last_hidden_state, [dense.targets(world) for world in worlds])
        losses["contrastive"] = CONTRASTIVE_WEIGHT * _contrastive(model, processor, seen.pooler_output, worlds)
        return losses

    run.train(
        "tiny-siglip",
        modules,
        run.Optimizers(modules, args.rate),
        args.steps,
        args.work,
        loss_at,
        lambda: {"recall@1": recall_at_1(model, processor)},
    )
    export(model, processor, args.out)
    print(f"exported to {args.out}")


def _sample(seed: int) -> World:
    return stream("kind", seed).choices(KINDS, KIND_WEIGHTS)[0](seed)


def _contrastive(
    model: SiglipModel, processor: SiglipProcessor, images: torch.Tensor, worlds: list[World]
) -> torch.Tensor:
    """Sigmoid loss over all pairs, a mean over pictures; pictures without a caption are left out."""
    texts = [caption(world) for world in worlds]
    kept = [i for i, text in enumerate(texts) if text]
    texts = [texts[i] for i in kept]
    image = F.normalize(images[kept].float(), dim=-1)
    text = F.normalize(text_vectors(model, processor, texts), dim=-1)
    logits = text @ image.T * model.logit_scale.float().exp() + model.logit_bias.float()
    same = torch.tensor([[one == other for other in texts] for one in texts])
    return -F.logsigmoid(torch.where(same, logits, -logits)).sum() / len(kept)


def text_vectors(model: SiglipModel, processor: SiglipProcessor, texts: list[str]) -> torch.Tensor:
    """(texts, width), not normalised. Padded to the full length, as SigLIP must be: it pools the last position."""
    lower = [text.lower() for text in texts]
    ids = processor.tokenizer(lower, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")[
        "input_ids"
    ]
    return model.text_model(ids).pooler_output.float()


@torch.no_grad()
def recall_at_1(model: SiglipModel, processor: SiglipProcessor, number: int = 200) -> float:
    """Share of held-out captions whose picture comes first among `number`."""
    pairs = captioned(number, part="dev")
    batch = torch.stack([pixels(world, stream("drawn", i)) for i, (world, _) in enumerate(pairs)])
    image = F.normalize(model.vision_model(batch).pooler_output, dim=-1)
    text = F.normalize(text_vectors(model, processor, [text for _, text in pairs]), dim=-1)
    return ((text @ image.T).argmax(1) == torch.arange(number)).float().mean().item()


def siglip_config(processor: SiglipProcessor) -> SiglipConfig:
    tokenizer = processor.tokenizer
    return SiglipConfig(
        vision_config=vision_config(head=True).to_dict(),
        text_config=SiglipTextConfig(
            vocab_size=-(-len(tokenizer) // 64) * 64,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=3,
            max_position_embeddings=MAX_TOKENS,
            projection_size=WIDTH,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ).to_dict(),
        label_template="{}",  # "This is a photo of" is nothing that this world says
    )


def _processor(folder: Path) -> SiglipProcessor:
    """The processor of this run; kept, because a checkpoint means nothing under another tokenizer."""
    if not folder.exists():
        captions = (caption(sample_world(HELD_OUT_SEEDS + i)) for i in range(20_000))
        tokenizer = build_tokenizer((text.lower() for text in captions if text), vocabulary=640)
        tokenizer.model_max_length = MAX_TOKENS
        SiglipProcessor(build_image_processor(), tokenizer).save_pretrained(folder)
    return SiglipProcessor.from_pretrained(folder)


def export(model: SiglipModel, processor: SiglipProcessor, out: Path) -> None:
    """Write `model` in bfloat16 as transformers does."""
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)


if __name__ == "__main__":
    main()
