"""The short form of parity: every token as transformers gives it, Gemma 1 and Gemma 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import random_paligemma

ROOT = Path(__file__).parents[2]


def parity(model: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.paligemma.parity", str(model)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("version", [1, 2])
def test_random_weights_answer_as_in_transformers(tmp_path: Path, version: int) -> None:
    figures = parity(random_paligemma(tmp_path / "model", version=version))
    assert figures["exact"] == figures["prompts"] == 24
    assert figures["worst_logprob_difference"] < 1e-3


def test_the_trained_checkpoint_answers_as_in_transformers() -> None:
    figures = parity(ROOT / "models" / "tiny-paligemma")
    assert figures["exact"] == figures["prompts"] == 24
    assert figures["worst_logprob_difference"] < 1e-3
