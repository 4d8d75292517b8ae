"""The random checkpoint of `bench/gpu.sh`, at a small shape: parity on it must not hold whatever the mask."""

from pathlib import Path

import torch
from transformers import AutoProcessor, PaliGemmaForConditionalGeneration

from bench import gpu_checkpoint
from bench.roofline import Shape
from tests.paligemma.parity.questions import questions

SHAPE = Shape(
    image_size=56,
    vision_width=64,
    vision_mlp=128,
    vision_layers=2,
    vision_heads=2,
    width=256,
    mlp=512,
    layers=6,
    heads=4,
    kv_heads=2,
    head=32,
    vocabulary=2048,
)
QUESTIONS = 4
TOKENS = 8


@torch.inference_mode()
def test_the_answers_depend_on_the_mask_and_last_until_they_are_cut(tmp_path: Path) -> None:
    gpu_checkpoint.write(tmp_path, SHAPE, device="cpu")
    processor = AutoProcessor.from_pretrained(tmp_path)
    network = PaliGemmaForConditionalGeneration.from_pretrained(
        tmp_path, dtype=torch.float32, attn_implementation="eager"
    )

    def answer(inputs: dict[str, torch.Tensor]) -> list[int]:
        tokens = network.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
        return tokens[0, inputs["input_ids"].shape[1] :].tolist()

    for question in questions(QUESTIONS, SHAPE.image_size):
        inputs = processor(images=[question.image], text=[f"<image>{question.text}"])
        inputs.pop("labels", None)
        inputs = inputs.convert_to_tensors("pt")
        both_ways = answer(inputs)
        # transformers lets tokens of type 0 attend both ways.
        causal = answer({**inputs, "token_type_ids": torch.ones_like(inputs["token_type_ids"])})
        assert len(both_ways) == len(causal) == TOKENS
        assert both_ways != causal
        assert len(set(both_ways)) > TOKENS // 2
