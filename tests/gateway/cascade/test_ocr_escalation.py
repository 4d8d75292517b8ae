"""The real gateway with the real OCR engine, before a small model that is sure of what it misreads."""

from functools import partial
from pathlib import Path

import pytest

from chiasm import AsyncClient, Task
from evals.suite import Item
from models.world.sign import sample_sign
from tests.gateway.cascade.showing import gateway
from tests.gateway.large_model import EmulatedModel, Luck, Said, right_in, serving
from tests.pictures import encoded

SIGNS = 8
TIMEOUT_S = 60.0
POLICY = """\
tasks:
  read_text:
    candidates:
      - model: models/small
        min_confidence: 0.5
      - model: models/large
cascade:
  ocr_agreement: {timeout_s: 30}
"""


def sure(luck: Luck) -> Said:
    """Right in every second sign."""
    return Said(luck(0) < 0.5, confidence=0.99)


def reading(seed: int) -> Item:
    sign = sample_sign(seed)
    return Item(f"{seed}", "", Task.READ_TEXT, ("",), (partial(encoded, sign.draw(224, 224)),), (sign.text,))


async def test_what_is_misread_is_read_again_by_the_next_model_and_what_is_read_right_stands(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    items = [reading(seed) for seed in range(SIGNS)]
    small, large = (
        EmulatedModel("models/small", items, sure, priced=False),
        EmulatedModel("models/large", items, right_in(1)),
    )
    misread = 0
    async with (
        serving(small) as small_address,
        serving(large) as large_address,
        gateway(policy, tmp_path, small_address, large_address) as address,
        AsyncClient(address, timeout_s=TIMEOUT_S) as client,
        AsyncClient(small_address) as alone,
    ):
        for item in items:
            (draw,), (text,) = item.pictures, item.answers
            right = (await alone.read(draw())).text == text
            answer = await client.read(draw())
            models = [attempt.model for attempt in answer.route.attempts]
            assert answer.text == text
            assert models == (["models/small"] if right else ["models/small", "models/large"])
            assert answer.confidence == (pytest.approx(0.99) if right else None)
            misread += not right
    assert 0 < misread < SIGNS
