"""`sh bench/gpu.sh`: parity on CUDA, then throughput against the roofline; one line a figure, 1 where one is short."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from bench import gpu_checkpoint
from bench.gpu_throughput import ANSWER_TOKENS
from bench.roofline import Shape, peak_of
from evals.figures import Figure
from tests.paligemma.parity.compare import compare
from tests.paligemma.parity.progress import timed
from tests.paligemma.parity.questions import Answer, questions
from tests.paligemma.parity.reference import Reference
from tests.paligemma.parity.served import served

ROOT = Path(__file__).parents[1]
CONCURRENCIES = (1, 8, 32, 64, 128)
QUESTIONS = 24
FLOAT32_LOGPROB_DIFFERENCE = 1e-3
# bfloat16 has 7 bits, and each side rounds at other places: a near tie of two tokens may fall either way.
BFLOAT16_LOGPROB_DIFFERENCE = 0.25
BFLOAT16_FIRST_TOKENS = 0.8
# Half of what the data sheet allows, once the batch is large.
ROOFLINE_SHARE = 0.5
# Room beside what this process still holds.
ENVIRONMENT = {"CHIASM_PALIGEMMA_GPU_MEMORY_SHARE": "0.7"}
# Triton and NVIDIA's libraries multiply float32 as TF32, of 10 bits' mantissa, unless told otherwise.
FULL_FLOAT32 = {"TRITON_F32_DEFAULT": "ieee", "NVIDIA_TF32_OVERRIDE": "0"}
THROUGHPUT_TIMEOUT_S = 1800


def main() -> None:
    argparse.ArgumentParser(prog="bench/gpu.sh", description=__doc__).parse_args()
    torch.backends.cudnn.allow_tf32 = False  # as FULL_FLOAT32, for transformers in this process
    short = False
    with tempfile.TemporaryDirectory() as folder:
        for figure in _figures(Path(folder) / "paligemma2-3b-random"):
            print(figure, flush=True)
            short |= not figure.ok
    sys.exit(short)


def _figures(model: Path) -> Iterator[Figure]:
    shape, peak = Shape(), peak_of(torch.cuda.get_device_name())
    timed("random weights", lambda: gpu_checkpoint.write(model, shape, device="cuda"))
    torch.cuda.empty_cache()
    yield from _float32_parity(*_answers(model, "triton_attn", torch.float32))
    yield from _bfloat16_parity("triton", *_answers(model, "triton_attn", torch.bfloat16))
    yield from _bfloat16_parity("flash", *_answers(model, "flash_attn", torch.bfloat16))
    measured = timed("throughput", lambda: _throughput(model))
    for concurrency, seconds in measured["seconds"].items():
        least = shape.least_seconds(peak, int(concurrency), measured["prompt_tokens"], ANSWER_TOKENS)
        print(f"{concurrency} at once: {int(concurrency) / seconds:.1f} answers/s, {seconds:.2f} s", file=sys.stderr)
        target = ROOFLINE_SHARE if int(concurrency) >= 32 else 0
        yield Figure(f"gpu_roofline_share_at_{concurrency}", round(least / seconds, 3), ">=", target)


def _answers(model: Path, backend: str, dtype: torch.dtype) -> tuple[list[Answer], list[Answer]]:
    name = str(dtype).removeprefix("torch.")
    theirs = timed(f"{name}: transformers", lambda: _reference(model, dtype))
    torch.cuda.empty_cache()
    environment = ENVIRONMENT | {"CHIASM_PALIGEMMA_ATTENTION_BACKEND": backend}
    if dtype is torch.float32:
        environment |= FULL_FLOAT32
    ours = timed(
        f"{name}: served, {backend}",
        lambda: served(model, QUESTIONS, ("staggered",), dtype=name, environment=environment),
    )
    return ours["staggered"], theirs


def _reference(model: Path, dtype: torch.dtype) -> list[Answer]:
    reference = Reference(model, dtype=dtype, device="cuda")
    return reference.answers(questions(QUESTIONS, reference.image_size))


def _float32_parity(ours: list[Answer], theirs: list[Answer]) -> list[Figure]:
    parity = compare(ours, theirs)
    return [
        Figure("gpu_float32_exact", parity.exact, "==", parity.asked),
        Figure("gpu_float32_worst_logprob_difference", parity.worst, "<=", FLOAT32_LOGPROB_DIFFERENCE),
    ]


def _bfloat16_parity(backend: str, ours: list[Answer], theirs: list[Answer]) -> list[Figure]:
    """Of first tokens only: after one that differs, the two answers speak of different things."""
    parity = compare(*([Answer(a.tokens[:1], a.logprobs[:1]) for a in answers] for answers in (ours, theirs)))
    return [
        Figure(f"gpu_bfloat16_{backend}_first_tokens_exact", parity.exact / parity.asked, ">=", BFLOAT16_FIRST_TOKENS),
        Figure(f"gpu_bfloat16_{backend}_worst_logprob_difference", parity.worst, "<=", BFLOAT16_LOGPROB_DIFFERENCE),
    ]


def _throughput(model: Path) -> dict:
    command = [sys.executable, "-m", "bench.gpu_throughput", str(model), *map(str, CONCURRENCIES)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=THROUGHPUT_TIMEOUT_S,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
