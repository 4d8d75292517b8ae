"""POPE, CHAIR, ranking, consistency and multiple choice against published examples."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.choice import chosen, lettered
from evals.metrics.consistency import agreeing_pairs
from evals.metrics.hallucination import chair_counts, mentions, pope_answer, pope_counts
from evals.metrics.ranking import ndcg_at, recall_at


def test_popes_published_row_of_llava() -> None:
    """Li et al., table 1 (COCO, random, LLaVA), from the 3,000 answers behind it."""
    answers = 1497 * [("yes", "yes")] + 3 * [("no", "yes")] + 1364 * [("yes", "no")] + 136 * [("no", "no")]
    parts: Counter[str] = Counter()
    wholes: Counter[str] = Counter()
    for said, right in answers:
        for name, (part, whole) in pope_counts(said, right).items():
            parts[name] += part
            wholes[name] += whole
    percent = {name: round(100 * parts[name] / wholes[name], 2) for name in parts}
    assert percent == {"accuracy": 54.43, "precision": 52.32, "recall": 99.8, "f1": 68.65, "yes_ratio": 95.37}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Yes, there is.", "yes"),
        ("No, there is no dog.", "no"),
        ("There is not a dog", "no"),
        ("yes. But no dog", "yes"),
        ("no", "no"),
        ("A cat", "yes"),
    ],
)
def test_pope_takes_a_reply_as_its_script_does(said: str, answer: str) -> None:
    assert pope_answer(said) == answer


SYNONYMS = {"dog": "dog", "puppy": "dog", "hot dog": "hot dog", "bench": "bench", "person": "person", "man": "person"}


def test_chair_counts_what_is_named_and_not_there() -> None:
    """Rohrbach et al.: CHAIR_i = hallucinated objects / objects mentioned, CHAIR_s = sentences with one / sentences."""
    named = mentions("A man and two puppies... a dog near benches, eating a hot dog.", SYNONYMS)
    assert named == ["person", "dog", "bench", "hot dog"]
    assert chair_counts(named, {"person", "dog"}) == {"chair_i": (2, 4), "chair_s": (1, 1)}
    assert chair_counts(named, set(named)) == {"chair_i": (0, 4), "chair_s": (0, 1)}
    assert chair_counts([], {"dog"}) == {"chair_i": (0, 0), "chair_s": (0, 1)}


def test_wikipedias_worked_example_of_ndcg() -> None:
    """ "Discounted cumulative gain": 3, 2, 3, 0, 1, 2 ranked, with a 3 and a 2 left out: DCG 6.861, nDCG 0.785."""
    gains = {"D1": 3, "D2": 2, "D3": 3, "D4": 0, "D5": 1, "D6": 2, "D7": 3, "D8": 2}
    ranking = ["D1", "D2", "D3", "D4", "D5", "D6"]
    ideal = ["D1", "D3", "D7", "D2", "D6", "D8"]
    assert ndcg_at(ranking, gains, 6) == pytest.approx(0.785, abs=1e-3)
    assert ndcg_at(ideal, gains, 6) == 1
    assert ndcg_at(["D4", "D1"], {"D1": 1}, 5) == pytest.approx(1 / math.log2(3))


def test_recall_is_the_share_of_what_is_relevant_among_the_first() -> None:
    """Relevant 1, 3 and 6 of a ranking 1 to 6, as in Manning et al., section 8.4."""
    ranking = [1, 2, 3, 4, 5, 6]
    assert [recall_at(ranking, {1, 3, 6}, k) for k in (1, 2, 3, 6)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1])
    with pytest.raises(ValueError, match="something relevant"):
        recall_at(ranking, set(), 1)
    with pytest.raises(ValueError, match="something relevant"):
        ndcg_at(ranking, {1: 0}, 1)


@given(st.permutations(range(8)), st.lists(st.floats(0, 5), min_size=8, max_size=8), st.integers(1, 8))
def test_ndcg_is_a_share_and_whole_for_the_best_order(ranking: list[int], gains: list[float], k: int) -> None:
    worth = dict(enumerate([*gains[:7], 1.0]))
    best = sorted(worth, key=worth.__getitem__, reverse=True)
    assert 0 <= ndcg_at(ranking, worth, k) <= ndcg_at(best, worth, k) + 1e-12
    assert ndcg_at(best, worth, k) == pytest.approx(1)


def test_consistency_is_the_share_of_paraphrase_pairs_answered_alike() -> None:
    """Elazar et al.: of n paraphrases, the n (n - 1) / 2 pairs."""
    assert agreeing_pairs(["Red", "red ", "blue"]) == (1, 3)
    assert agreeing_pairs(["red"] * 4) == (6, 6)
    assert agreeing_pairs(["red"]) == (0, 0)


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("(C)", "C"),
        ("B.", "B"),
        ("The answer is B because it is red", "B"),
        ("Answer: C", "C"),
        ("A. no, C. yes", "C"),
        ("it is a green one", "B"),
        ("B because it is red", "B"),
        ("it is B, not C, I think", "C"),
        ("A dog", "A"),  # as MMMU's script
        ("the U.S.A", ""),
        ("", ""),
        ("E", ""),
    ],
)
def test_a_reply_names_an_option(said: str, letter: str) -> None:
    options = ["red", "green", "blue"]
    assert chosen(said, options) == letter
    assert lettered(options) == "A. red\nB. green\nC. blue"


@pytest.mark.parametrize(
    ("said", "options", "letter"),
    [
        ("Solution B", ["Solution A", "neither", "Solution B"], "C"),
        ("West Virginia", ["Virginia", "West Virginia", "Ohio"], "B"),
        ("It is west  virginia.", ["West Virginia", "Virginia"], "A"),
        ("it is Arkansas", ["Kansas", "Ohio"], ""),
        ("Arkansas.", ["Kansas", "Arkansas"], "B"),
        ("12", ["1", "2", "12"], "C"),
        ("it is 12", ["1", "2"], ""),
        ("it is 1.25", ["1", "25"], ""),
        ("$6", ["$5", "$6"], "B"),
        ("not red but blue", ["blue", "grey", "red"], "A"),
        ("no", ["", "yes"], ""),
        ("", [".", "yes"], ""),
    ],
)
def test_a_reply_that_is_an_options_text_names_it_and_no_part_of_a_word_does(
    said: str, options: list[str], letter: str
) -> None:
    assert chosen(said, options) == letter


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6))
def test_an_options_own_text_names_it_or_one_of_the_same_text(options: list[str]) -> None:
    for option in options:
        letter = chosen(option, options)
        folded = [" ".join(text.lower().split()).removesuffix(".") for text in options]
        if folded[options.index(option)]:
            assert folded["ABCDEF".index(letter)] == folded[options.index(option)]
