"""Train models/tiny-colpali on the tiny world's pages and export it.

    python -m models.training.tiny_colpali --work runs/tiny-colpali --paligemma models/tiny-paligemma

Late interaction (ColPali, arXiv 2407.01449): each query against all pages of its batch, scored by MaxSim,
while every vector also names what it stands for (`concepts`). Starts from the tiny PaliGemma and goes on from
what it finds in `--work`.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    BatchFeature,
    ColPaliConfig,
    ColPaliForRetrieval,
    ColPaliProcessor,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
)

from models.training import concepts, run
from models.training.pictures import IMAGE_TOKENS, pixels, train_seed
from models.world.held_out import pages
from models.world.page import Page, sample_page, sample_query
from models.world.streams import stream

STEPS = 1_300
BATCH = 40
STAGE = 3
DIMENSIONS = 128
BACKBONE_SHARE = 0.7
# A query has four words that tell, each worth a cosine at most: too little to tell one page from forty by softmax.
SHARPNESS = 5.0


def main() -> None:
    args = run.arguments(
        __doc__,
        out=Path("models/tiny-colpali"),
        steps=STEPS,
        rate=2e-3,
        folders={"paligemma": (Path("models/tiny-paligemma"), "the PaliGemma it starts from")},
    )
    model, processor = start_from(args.paligemma)
    model.set_attn_implementation("eager")  # compiled, its backward is the fastest on a CPU
    model.vlm.language_model.compile()
    model.vlm.vision_tower.compile()

    directions = concepts.Directions(DIMENSIONS)

    def loss_at(step: int) -> dict[str, torch.Tensor]:
        seeds = [train_seed(STAGE, step, i) for i in range(BATCH)]
        drawn = [sample_page(seed) for seed in seeds]
        asked = [sample_query(page, stream("query", seed)) for page, seed in zip(drawn, seeds, strict=True)]
        ids = query_ids(processor, [query.text for query in asked])
        queries, documents = embed_queries(model, ids), embed_pages(model, processor, drawn)
        rows = zip(asked, ids["input_ids"].tolist(), strict=True)
        named = torch.cat([concepts.of_query(query, row, processor.tokenizer) for query, row in rows])
        shown = torch.cat([concepts.of_page(page) for page in drawn])
        return {
            "retrieval": F.cross_entropy(SHARPNESS * max_sim(queries, documents), torch.arange(BATCH)),
            "named": directions.loss(queries.flatten(0, 1), named),
            "shown": directions.loss(documents[:, :IMAGE_TOKENS].flatten(0, 1), shown),
        }

    modules = {"backbone": model.vlm, "projection": model.embedding_proj_layer, "directions": directions}
    optimizers = run.Optimizers(modules, args.rate, {"backbone": BACKBONE_SHARE})
    run.train(
        "tiny-colpali",
        modules,
        optimizers,
        args.steps,
        args.work,
        loss_at,
        lambda: {"recall@1": recall_at_1(model, processor)},
    )
    model.to(torch.bfloat16).save_pretrained(args.out)
    processor.save_pretrained(args.out)
    print(f"exported to {args.out}")


def start_from(folder: Path) -> tuple[ColPaliForRetrieval, ColPaliProcessor]:
    """A ColPali with the weights of the PaliGemma in `folder` and a new projection."""
    base = PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model = ColPaliForRetrieval(ColPaliConfig(vlm_config=base.config, embedding_dim=DIMENSIONS))
    model.vlm.load_state_dict(base.model.state_dict())
    nn.init.orthogonal_(model.embedding_proj_layer.weight)
    processor = PaliGemmaProcessor.from_pretrained(folder)
    return model, ColPaliProcessor(processor.image_processor, processor.tokenizer)


def query_ids(processor: ColPaliProcessor, queries: list[str]) -> BatchFeature:
    """`queries` as the model takes them, padded to the longest."""
    return processor.process_queries(queries, padding="longest", return_tensors="pt")


def embed_queries(model: ColPaliForRetrieval, ids: BatchFeature) -> torch.Tensor:
    """(queries, tokens, dimensions), zero where padded."""
    return model(**ids).embeddings.float()


def embed_pages(model: ColPaliForRetrieval, processor: ColPaliProcessor, drawn: list[Page]) -> torch.Tensor:
    """(pages, tokens, dimensions)"""
    batch = torch.stack([pixels(page, stream("drawn", 0)) for page in drawn])
    prompt = [
        *[processor.image_token_id] * processor.image_seq_length,
        processor.tokenizer.bos_token_id,
        *processor.tokenizer.encode(processor.visual_prompt_prefix, add_special_tokens=False),
        processor.tokenizer.convert_tokens_to_ids("\n"),
    ]
    ids = torch.tensor([prompt] * len(drawn))
    return model(
        input_ids=ids, pixel_values=batch, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids)
    ).embeddings.float()


def max_sim(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """(queries, documents): each query vector's best match in the document, summed."""
    return torch.einsum("qnd,pmd->qpnm", queries, documents).amax(dim=3).sum(dim=2)


@torch.no_grad()
def recall_at_1(model: ColPaliForRetrieval, processor: ColPaliProcessor, number: int = 200) -> float:
    """Share of held-out queries whose page comes first among `number`."""
    drawn, asked = pages(number, part="dev")
    wanted = torch.tensor([index for _, index in asked])
    ids = query_ids(processor, [query.text for query, _ in asked])
    scores = max_sim(embed_queries(model, ids), embed_pages(model, processor, drawn))
    return (scores.argmax(1) == wanted).float().mean().item()


if __name__ == "__main__":
    main()
