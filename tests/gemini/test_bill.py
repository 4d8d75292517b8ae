"""Costs against sums done by hand."""

import pytest

from tests.gemini.bill import cache_storage_cost, cache_write_cost, call_cost
from tests.gemini.config import Model, Rates
from tests.gemini.usage import Usage

PRO = Model(
    Rates(2_000_000_000, 12_000_000_000, 200_000_000),
    long_context_above=200_000,
    long_context_rates=Rates(4_000_000_000, 18_000_000_000, 400_000_000),
    cache_storage=4_500_000_000,
)
SOUND = Model(
    Rates(300_000_000, 2_500_000_000, 30_000_000, input_of={"AUDIO": 1_000_000_000}, cached_of={"AUDIO": 100_000_000})
)
ODD = Model(Rates(1, 3, 1))


@pytest.mark.parametrize(
    ("model", "usage", "nanousd"),
    [
        # 1,000 x 2,000 in and (100 + 50) x 12,000 out, in nano-dollars a token
        (PRO, Usage({"TEXT": 1_000}, answer=100, thinking=50), 3_800_000),
        # of 1,000 read, 900 were cached: 100 x 2,000 + 900 x 200
        (PRO, Usage({"TEXT": 400, "IMAGE": 600}, {"TEXT": 300, "IMAGE": 600}), 380_000),
        # at the threshold still the low rates, one more and all is dearer
        (PRO, Usage({"TEXT": 200_000}, answer=1), 200_000 * 2_000 + 12_000),
        (PRO, Usage({"TEXT": 200_001}, answer=1), 200_001 * 4_000 + 18_000),
        (PRO, Usage({"TEXT": 200_001}, {"TEXT": 200_000}), 4_000 + 200_000 * 400),
        # audio is dearer, cached audio too: 10 x 300 + 90 x 1,000 + 10 x 100
        (SOUND, Usage({"TEXT": 10, "AUDIO": 100}, {"AUDIO": 10}), 94_000),
        # video at the common rate
        (SOUND, Usage({"VIDEO": 100}), 30_000),
        # 7 millionths of a nano-dollar are one: rounded up, once
        (ODD, Usage({"TEXT": 1, "IMAGE": 1, "AUDIO": 1}, {"TEXT": 1}, answer=1), 1),
        (ODD, Usage({"TEXT": 700_000}, answer=100_000), 1),
        (ODD, Usage({"TEXT": 700_000}, answer=100_001), 2),
        (PRO, Usage(), 0),
    ],
)
def test_the_cost_of_a_call(model: Model, usage: Usage, nanousd: int) -> None:
    assert call_cost(usage, model) == nanousd


def test_a_batch_is_half_and_rounds_up_once() -> None:
    assert call_cost(Usage({"TEXT": 1_000}, answer=150), PRO, batch=True) == 1_900_000
    assert call_cost(Usage({"TEXT": 1_000_001}), ODD, batch=True) == 1


def test_a_cache_costs_its_tokens_once_and_its_storage_by_the_hour() -> None:
    tokens = {"TEXT": 100_000, "AUDIO": 10_000}
    assert cache_write_cost(tokens, SOUND) == 100_000 * 300 + 10_000 * 1_000
    assert cache_write_cost(tokens, Model(SOUND.rates, cache_write=500_000_000)) == 110_000 * 500
    # 110,000 tokens x half an hour x 4.5 dollars a million token-hours
    assert cache_storage_cost(110_000, 1_800_000_000, PRO) == 247_500_000
    assert cache_storage_cost(1, 1, PRO) == 1
