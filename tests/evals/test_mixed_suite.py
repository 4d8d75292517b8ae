"""The mixed suite: both parts have all kinds, no picture is in both, and right replies score all."""

from collections import Counter

import pytest

from evals.scoring import aggregate
from evals.suite import Reply, Suite
from evals.suites import build


@pytest.fixture(scope="module")
def parts() -> tuple[Suite, Suite]:
    return build("tiny-mixed-dev"), build("tiny-mixed")


def test_both_parts_ask_as_much_of_each_kind(parts: tuple[Suite, Suite]) -> None:
    dev, test = ([item.kind.partition(":")[0] for item in part.items] for part in parts)
    assert Counter(dev) == Counter(test)
    assert {"scene", "crowded scene", "chart", "blurred chart", "sign", "long sign"} <= set(dev)


def test_ids_are_unique_the_same_in_every_run_and_mixed(parts: tuple[Suite, Suite]) -> None:
    for part in parts:
        ids = [item.id for item in part.items]
        assert len(set(ids)) == len(ids)
        assert ids == [item.id for item in build(part.name).items]
        assert len({item.task for item in part.items[:50]}) == 2


def test_no_picture_is_in_both_and_damage_is_always_the_same(parts: tuple[Suite, Suite]) -> None:
    dev, test = ([item.pictures[0]() for item in part.items[:60]] for part in parts)
    assert not set(dev) & set(test)
    assert dev == [item.pictures[0]() for item in build("tiny-mixed-dev").items[:60]]


def test_right_replies_score_all(parts: tuple[Suite, Suite]) -> None:
    for part in parts:
        scores = [part.score(item, [Reply(text=item.answers[0])]) for item in part.items]
        measured = aggregate(part.measures[0], scores, [item.id for item in part.items])
        assert measured is not None
        assert measured.value == 1
