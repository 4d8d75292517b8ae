import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.paligemma.locations import Token, Vocabulary, geometric_mean, read_locations

FIRST_LOC, FIRST_SEG, EOS = 1_000, 3_000, 1
SEPARATOR = 7
WORDS = {SEPARATOR: " ; ", 8: " circle", 9: " red square"}
VOCABULARY = Vocabulary(FIRST_LOC, FIRST_SEG, EOS, lambda ids: "".join(WORDS[i] for i in ids))


def tokens(*ids: int, logprob: float = math.log(0.5)) -> list[Token]:
    return [Token(i, logprob) for i in ids]


def locs(*bins: int) -> list[int]:
    return [FIRST_LOC + b for b in bins]


def test_boxes_are_in_pixels_of_the_picture_from_ymin_xmin_ymax_xmax() -> None:
    (found,) = read_locations(tokens(*locs(0, 341, 682, 1023), 8, EOS), VOCABULARY, 300, 600)
    assert found.label == "circle"
    assert (found.box.x_min, found.box.y_min) == pytest.approx((100, 0))
    assert (found.box.x_max, found.box.y_max) == pytest.approx((300, 400))
    assert found.confidence == pytest.approx(0.5)


def test_several_items_keep_their_labels_and_order() -> None:
    answer = tokens(*locs(0, 0, 10, 10), 8, SEPARATOR, *locs(5, 6, 7, 8), 9, SEPARATOR, *locs(1, 1, 2, 2), 8, EOS)
    assert [found.label for found in read_locations(answer, VOCABULARY, 100, 100)] == ["circle", "red square", "circle"]


def test_segment_codes_come_with_their_item() -> None:
    codes = [FIRST_SEG + i for i in range(16)]
    (found,) = read_locations(tokens(*locs(0, 0, 9, 9), *codes, 8), VOCABULARY, 10, 10)
    assert found.codes == tuple(range(16))
    assert found.label == "circle"


@pytest.mark.parametrize(
    "answer",
    [
        tokens(*locs(1, 2, 3), 8),  # three locations
        tokens(*locs(1, 2, 3, 4, 5), 8),  # five
        tokens(*locs(9, 0, 3, 9), 8),  # upside down
        tokens(*locs(0, 5, 9, 5), 8),  # no width
        tokens(*locs(0, 0, 9, 9), FIRST_SEG, 8),  # a cut mask
        tokens(8, 9, EOS),  # words alone
        [],
    ],
)
def test_what_is_no_item_is_left_out(answer: list[Token]) -> None:
    assert read_locations(answer, VOCABULARY, 100, 100) == []


@given(
    st.lists(
        st.one_of(st.integers(FIRST_LOC, FIRST_LOC + 1023), st.sampled_from([*WORDS, EOS, FIRST_SEG + 5])), max_size=60
    )
)
def test_any_answer_gives_boxes_inside_the_picture(ids: list[int]) -> None:
    for found in read_locations(tokens(*ids), VOCABULARY, 640, 480):
        assert 0 <= found.box.x_min < found.box.x_max <= 640
        assert 0 <= found.box.y_min < found.box.y_max <= 480
        assert 0 < found.confidence <= 1


def test_geometric_mean_is_of_probabilities() -> None:
    assert geometric_mean([Token(1, math.log(0.9)), Token(2, math.log(0.4))]) == pytest.approx(math.sqrt(0.36))
