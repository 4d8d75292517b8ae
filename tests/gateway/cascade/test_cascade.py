"""Evaluation, calibration and the real gateway with two emulated models: the short form of the show."""

from pathlib import Path

from chiasm import Task
from evals import scorers
from evals.suite import Item, Measure, Suite
from tests.gateway.cascade.showing import quality, shown
from tests.gateway.large_model import EmulatedModel, Luck, Said, right_in, serving
from tests.pictures import scene_png

ITEMS = 1_000
PNG = scene_png()[1]


def small(luck: Luck) -> Said:
    """Right in three of four, and says to be surer than it is."""
    chance = min(1.0, 2 * luck(1))
    return Said(luck(0) < chance, confidence=chance**0.25)


def questions(part: str) -> Suite:
    items = tuple(_question(part, number) for number in range(ITEMS))
    return Suite(f"numbered-{part}", "Numbers.", items, scorers.exact("exact"), (Measure("exact"),))


def _question(part: str, number: int) -> Item:
    return Item(f"{number}", "", Task.ANSWER, (f"which one is {part} {number}?",), (lambda: PNG,), (f"{number}",))


async def test_a_calibrated_cascade_is_cheap_and_as_good_as_the_large_model(tmp_path: Path) -> None:
    dev, test = questions("dev"), questions("test")
    items = [*dev.items, *test.items]
    cheap = EmulatedModel("models/small", items, small, priced=False)
    dear = EmulatedModel("models/large", items, right_in(0.99))
    async with serving(cheap) as small_address, serving(dear) as large_address:
        found = await shown(small_address, large_address, dev, test, tmp_path)
    assert 0.7 < quality(found.small) < 0.8
    assert found.quality_lost <= 0.01
    assert 0.3 < found.cost_share <= 0.55
    routes = (cheap.asked, dear.asked)
    assert routes[0] == 2 * ITEMS
    assert routes[1] == 2 * ITEMS + round(found.cost_share * ITEMS)
