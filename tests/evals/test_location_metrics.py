"""Box and mask metrics against published examples, and what holds for any box."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.boxes import f1_at, iou, iou_matrix, matched_ious, rec_hit
from evals.metrics.masks import mask_iou, mask_overlap

SIDE = st.integers(0, 50)
BOX = st.tuples(SIDE, SIDE, SIDE, SIDE).map(lambda s: (*map(min, s[:2], s[2:]), *map(max, s[:2], s[2:])))
BOXES = st.lists(BOX, max_size=5)


def test_torchmetrics_worked_example_of_iou() -> None:
    """`IntersectionOverUnion`: 0.6898 for this pair."""
    found, right = (296.55, 93.96, 314.97, 152.79), (300.00, 100.00, 315.00, 150.00)
    assert iou(found, right) == pytest.approx(0.6898, abs=1e-4)
    assert rec_hit(found, right)
    assert not rec_hit(found, right, at=0.7)


def test_torchvisions_worked_example_of_iou() -> None:
    """`torchvision.ops.box_iou`'s documentation."""
    a = [[0, 0, 10, 10], [10, 10, 20, 20], [20, 20, 30, 30]]
    b = [[0, 0, 10, 20], [0, 10, 10, 20], [10, 10, 20, 30]]
    assert iou_matrix(a, b) == pytest.approx(np.array([[0.5, 0, 0], [0, 0, 0.5], [0, 0, 0]]))


def test_boxes_are_matched_for_the_best_sum_not_one_after_the_other() -> None:
    """The first found box fits the first right one best, but only it fits the second at all."""
    found = [(0, 0, 10, 10), (0, 0, 10, 4)]
    right = [(0, 0, 10, 9), (0, 3, 10, 13)]
    ious = iou_matrix(found, right)
    assert ious[0].argmax() == 0
    assert matched_ious(found, right) == pytest.approx([ious[1, 0], ious[0, 1]])


def test_f1_counts_both_what_is_missed_and_what_is_invented() -> None:
    square, far, other = (0, 0, 10, 10), (20, 20, 30, 30), (40, 40, 50, 50)
    assert f1_at([square, far], [square]) == (2, 3)
    assert f1_at([square], [square, far, other]) == (2, 4)
    assert f1_at([], [square]) == (0, 1)
    assert f1_at([], []) == (0, 0)


@given(BOX, BOX)
def test_iou_is_a_symmetric_share(a, b) -> None:
    assert 0 <= iou(a, b) <= 1
    assert iou(a, b) == iou(b, a)
    assert iou(a, a) == (1 if a[0] < a[2] and a[1] < a[3] else 0)


@given(BOXES, BOXES)
def test_no_box_is_in_two_pairs(found, right) -> None:
    best = matched_ious(found, right)
    assert best.shape == (len(right),)
    assert (best > 0).sum() <= len(found)
    greedy = iou_matrix(found, right).max(initial=0) if found and right else 0
    assert greedy <= best.sum() + 1e-9


@given(BOXES)
def test_the_right_boxes_score_all(boxes) -> None:
    real = [box for box in boxes if box[0] < box[2] and box[1] < box[3]]
    assert matched_ious(real, real) == pytest.approx(np.ones(len(real)))
    assert f1_at(real, real) == (2 * len(real), 2 * len(real))


def test_mask_iou_is_pixels_in_both_over_pixels_in_either() -> None:
    """Two 4 x 4 squares that share a 2 x 2 corner: 4 / 28."""
    found, right = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    found[:4, :4], right[2:6, 2:6] = True, True
    assert mask_overlap(found, right) == (4, 28)
    assert mask_iou(found, right) == pytest.approx(1 / 7)
    assert mask_iou(np.zeros((2, 2)), np.zeros((2, 2))) == 1
    with pytest.raises(ValueError, match="differ in size"):
        mask_iou(np.zeros((2, 2)), np.zeros((2, 3)))
