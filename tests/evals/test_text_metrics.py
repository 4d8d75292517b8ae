"""Text metrics against published examples, and what holds for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.open_answer import open_match
from evals.metrics.text import anls, character_edits, exact_match, relaxed_match, word_edits
from evals.metrics.vqa import normalised, vqa_accuracy

TEXT = st.text(max_size=20)

# The worked example of google-research/pix2struct, `metrics_test.py`: exact 12.5, ANLS 47.5, relaxed accuracy 62.5.
PIX2STRUCT = [
    ("abc", "abc"),
    ("abc", "Abc"),
    ("Abc", "abc"),
    ("100%", "96%"),
    ("100%", "94%"),
    ("100%", "0.96"),
    ("100%", "0.94"),
    ("Don't", "Won't"),
]


@pytest.mark.parametrize(("metric", "mean"), [(exact_match, 0.125), (anls, 0.475), (relaxed_match, 0.625)])
def test_pix2structs_worked_example(metric, mean: float) -> None:
    assert sum(metric(said, [right]) for said, right in PIX2STRUCT) / 8 == pytest.approx(mean)


def test_anls_takes_the_best_accepted_answer_and_nothing_beyond_the_threshold() -> None:
    """Equation 1 of Biten et al.: 1 - NL below 0.5, else 0; at 0.5 as the DocVQA script."""
    assert anls("Coca Cola", ["pepsi", "coca-cola"]) == pytest.approx(1 - 1 / 9)
    assert anls("ab", ["ac"]) == 0.5
    assert anls("abc", ["ade"]) == 0.0
    assert anls("", ["a"]) == 0.0


@pytest.mark.parametrize(
    ("said", "right", "hit"),
    [
        ("9.5", "10", True),
        ("9.49", "10", False),
        ("-10.5", "-10", True),
        ("0", "0", True),
        ("0.01", "0", False),
        ("5%", "0.05", True),
        ("Red", "red", True),
        ("redd", "red", False),
        ("nan", "10", False),
        ("inf", "10", False),
        ("2021", "2020", True),  # the rule's own blind spot: years are numbers to it
    ],
)
def test_relaxed_accuracy_lets_numbers_be_off_by_a_twentieth(said: str, right: str, hit: bool) -> None:
    assert relaxed_match(said, [right]) is hit


# The example of torchmetrics' CharErrorRate and WordErrorRate: 0.3415 and 0.5.
SAID = ("this is the prediction", "there is an other sample")
RIGHT = ("this is the reference", "there is another one")


def test_torchmetrics_worked_example_of_cer_and_wer() -> None:
    pairs = list(zip(SAID, RIGHT, strict=True))
    assert sum(character_edits(*pair) for pair in pairs) / sum(map(len, RIGHT)) == pytest.approx(0.3415, abs=1e-4)
    assert sum(word_edits(*pair) for pair in pairs) / sum(len(text.split()) for text in RIGHT) == 0.5


@pytest.mark.parametrize(("agreeing", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_accuracy_of_ten_people_is_what_visualqa_says(agreeing: int, score: float) -> None:
    answers = ["yes"] * agreeing + [f"other {i}" for i in range(10 - agreeing)]
    assert vqa_accuracy("yes", answers) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("The Dog.", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("dont", "don't"),
        ("don't", "don't"),
        ("1,000", "1000"),
        ("3.5 miles", "3.5 miles"),
        ("red/blue", "red blue"),
        ("red, blue", "red blue"),
        ("a\nbig\tcat", "big cat"),
    ],
)
def test_answers_are_normalised_as_vqas_evaluation_page_says(answer: str, plain: str) -> None:
    assert normalised(answer) == plain


def test_vqa_accuracy_wants_an_answer() -> None:
    with pytest.raises(ValueError, match="needs an answer"):
        vqa_accuracy("yes", [])


@given(TEXT, st.lists(TEXT, min_size=1, max_size=5))
def test_scores_are_shares(said: str, accepted: list[str]) -> None:
    assert 0 <= anls(said, accepted) <= 1
    assert 0 <= vqa_accuracy(said, accepted) <= 1


@given(TEXT)
def test_the_right_answer_scores_all(text: str) -> None:
    assert exact_match(text, [text])
    assert anls(text, [text]) == 1
    assert relaxed_match(text, [text])
    assert vqa_accuracy(text, [text] * 10) == 1
    assert character_edits(text, text) == word_edits(text, text) == 0


@given(TEXT, TEXT)
def test_edits_are_symmetric_and_bounded(a: str, b: str) -> None:
    assert character_edits(a, b) == character_edits(b, a) <= max(len(a), len(b))
    assert word_edits(a, b) == word_edits(b, a) <= max(len(a.split()), len(b.split()))
    assert anls(a, [b]) == anls(b, [a])


@pytest.mark.parametrize(
    ("said", "accepted", "right"),
    [
        ("The answer is 3.429.", ["24/7", "3.429"], True),
        ("So the ratio is 24/7", ["24/7", "3.429"], True),
        ("3.4291", ["3.43"], True),
        ("3.44", ["3.43"], False),
        ("97", ["100"], False),  # relaxed accuracy would let it pass
        ("The total is 1,250 dollars", ["1250"], True),
        ("x = 1.5e3", ["1500"], True),
        ("6 apples\nThe result is 7", ["6"], False),
        ("It is the left Ventricle", ["left ventricle"], True),
        ("b", ["b"], True),
        ("bad", ["b"], False),
        ("", ["7"], False),
    ],
)
def test_open_answers_are_taken_from_sentences_as_mmmus_script_takes_them(
    said: str, accepted: list[str], right: bool
) -> None:
    assert open_match(said, accepted) is right


@given(TEXT, TEXT)
def test_any_text_is_an_open_answer_or_not(said: str, right: str) -> None:
    assert open_match(said, [right]) in (True, False)


@given(st.integers(-(10**6), 10**6))
def test_an_open_question_takes_its_own_number(number: int) -> None:
    assert open_match(f"Therefore the answer is {number}.", [f"{number:,}"])
