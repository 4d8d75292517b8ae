"""From items' scores to measures: corpus ratios, intervals, and how a lack of replies counts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm import Box, Detection, Task
from evals import scorers
from evals.figures import Figure
from evals.scoring import aggregate
from evals.suite import Item, Measure, Reply

HIGHER, LOWER = Measure("m", target=0.5), Measure("m", "lower", target=0.5)


def item(**fields: object) -> Item:
    return Item("item", "kind", Task.ANSWER, ("question",), **fields)


def found(label: str, *corners: float) -> Detection:
    return Detection(label, Box(*corners))


def test_a_measure_is_a_ratio_over_the_corpus_not_a_mean_of_ratios() -> None:
    """One edit in 2 characters and none in 8 is a CER of 0.1, not of 0.25."""
    measured = aggregate(LOWER, [{"m": (1, 2)}, {"m": (0, 8)}, {"other": (1, 1)}], ["a", "b", "c"])
    assert measured.value == pytest.approx(0.1)
    assert measured.items == 2
    assert str(measured.figure) == "m 0.1 <0.5 ok"


def test_nothing_counted_is_no_measure() -> None:
    assert aggregate(HIGHER, [{"other": (1, 1)}], ["a"]) is None
    assert aggregate(HIGHER, [{"m": (0, 0)}], ["a"]) is None


def test_the_interval_of_a_share_is_near_the_one_that_theory_gives() -> None:
    """For 300 of 400: 0.75 +- 1.96 sqrt(0.75 * 0.25 / 400) = 0.7076 to 0.7924."""
    scores = [{"m": (float(number % 4 > 0), 1.0)} for number in range(400)]
    measured = aggregate(HIGHER, scores, [str(number) for number in range(400)])
    assert (measured.low, measured.high) == pytest.approx((0.7076, 0.7924), abs=0.006)


def test_items_of_a_group_are_resampled_together() -> None:
    """Ten copies of each of 40 answers tell no more than the 40."""
    scores = [{"m": (float(number // 10 % 4 > 0), 1.0)} for number in range(400)]
    alone = aggregate(HIGHER, scores, [str(number) for number in range(400)])
    grouped = aggregate(HIGHER, scores, [str(number // 10) for number in range(400)])
    assert grouped.high - grouped.low > 2.5 * (alone.high - alone.low)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(5, 9)), min_size=1, max_size=12))
def test_a_value_lies_within_its_items_and_the_interval_within_their_range(pairs: list[tuple[int, int]]) -> None:
    measured = aggregate(HIGHER, [{"m": pair} for pair in pairs], [str(i) for i in range(len(pairs))])
    shares = [part / whole for part, whole in pairs]
    assert min(shares) - 1e-9 <= measured.low <= measured.high <= max(shares) + 1e-9
    assert min(shares) - 1e-9 <= measured.value <= max(shares) + 1e-9


@pytest.mark.parametrize(
    ("relation", "value", "ok"), [(">=", 0.5, True), ("<=", 0.5, True), ("<", 0.5, False), ("==", 0.5, True)]
)
def test_a_figure_is_held_against_its_target(relation: str, value: float, ok: bool) -> None:
    assert Figure("f", value, relation, 0.5).ok is ok


def test_detections_are_matched_label_by_label() -> None:
    boxes = (found("circle", 0, 0, 10, 10), found("square", 20, 20, 30, 30))
    score = scorers.detection("d")
    wrong_label = score(item(boxes=boxes), [Reply(detections=(found("star", 0, 0, 10, 10), boxes[1]))])
    assert wrong_label == {"d_mean_iou": (1.0, 2), "d_found_at_iou_50": (1, 2), "d_f1_at_iou_50": (2, 4)}
    assert score(item(boxes=boxes), [Reply(detections=boxes[::-1])])["d_mean_iou"] == (2.0, 2)
    assert score(item(boxes=boxes), []) == {
        "d_mean_iou": (0.0, 2),
        "d_found_at_iou_50": (0, 2),
        "d_f1_at_iou_50": (0, 2),
    }


def test_a_referring_expression_is_right_by_the_first_box() -> None:
    right, other = found("the left one", 0, 0, 10, 10), found("the left one", 50, 50, 60, 60)
    score = scorers.referring("rec")
    assert score(item(boxes=(right,)), [Reply(detections=(right, other))]) == {"rec": (1.0, 1)}
    assert score(item(boxes=(right,)), [Reply(detections=(other, right))]) == {"rec": (0.0, 1)}
    assert score(item(boxes=(right,)), [Reply()]) == {"rec": (0.0, 1)}


@pytest.mark.parametrize(
    ("score", "fields"),
    [
        (scorers.exact("m"), {"answers": ("red",)}),
        (scorers.relaxed("m"), {"answers": ("3",)}),
        (scorers.anls_mean("m"), {"answers": ("red",)}),
        (scorers.vqa("m"), {"answers": ("red",) * 10}),
        (scorers.choice("m"), {"answers": ("A",), "options": ("red", "blue")}),
        (scorers.choice("m"), {"answers": ("red",)}),
        (scorers.referring("m"), {"boxes": (found("a", 0, 0, 1, 1),)}),
    ],
)
def test_no_reply_at_all_is_a_wrong_one(score: scorers.Score, fields: dict[str, object]) -> None:
    assert score(item(**fields), []) == {"m": (0.0, 1)}


def test_no_reply_is_wrong_for_yes_and_for_no_alike() -> None:
    for answer in ("yes", "no"):
        assert scorers.pope("p")(item(answers=(answer,)), [])["p_accuracy"] == (0, 1)


def test_paraphrases_agree_or_not_whether_right_or_wrong() -> None:
    score = scorers.consistency("p")
    question = Item("item", "kind", Task.ANSWER, ("a?", "b?", "c?"), answers=("red",))
    replies = [Reply(text="blue"), Reply(text="blue"), Reply(text="red")]
    assert score(question, replies) == {"p_agreement": (1, 3), "p_exact": (1, 3)}
    assert score(question, []) == {"p_agreement": (0, 3), "p_exact": (0, 3)}


def test_captions_are_held_against_the_things_that_the_right_one_names() -> None:
    score = scorers.caption("c", {"red star": "red star", "blue circle": "blue circle"})
    scores = score(item(answers=("a red star",)), [Reply(text="a red star and a blue circle")])
    assert scores == {"c_exact": (0.0, 1), "c_chair_i": (1, 2), "c_chair_s": (1, 1)}


def test_a_shape_named_on_a_sign_is_invented_and_a_failed_item_counts_as_one_invention() -> None:
    score = scorers.caption("c", {"red star": "red star"})
    sign = item(answers=("the word Hi in red",))
    assert score(sign, [Reply(text="a red star")]) == {"c_exact": (0.0, 1), "c_chair_i": (1, 1), "c_chair_s": (1, 1)}
    assert score(sign, [Reply(text=sign.answers[0])]) == {"c_exact": (1.0, 1), "c_chair_i": (0, 0), "c_chair_s": (0, 1)}
    assert score(sign, []) == {"c_exact": (0.0, 1), "c_chair_i": (1, 1), "c_chair_s": (1, 1)}
