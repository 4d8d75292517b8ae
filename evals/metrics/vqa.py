"""VQA accuracy with the official normalisation of answers.

Antol et al., "VQA: Visual Question Answering", 2015; the rules are those of https://visualqa.org/evaluation.html and of
`vqaEval.py` in https://github.com/GT-Vision-Lab/VQA, both sides normalised alike, as TextVQA's evaluation server does.
"""

import re
from collections.abc import Sequence

_DIGITS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(number) for number, word in enumerate(_DIGITS.split())} | {"none": "0"}
_ARTICLES = frozenset(("a", "an", "the"))
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")  # not the point of a decimal number
_CONTRACTED = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's i'm "
    "i've isn't it'd it'll ma'am mightn't might've mustn't must've needn't o'clock oughtn't shan't should've shouldn't "
    "somebody'd somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're "
    "there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd "
    "where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're "
    "you've couldn't've hadn't've he'd've i'd've it'd've mightn't've she'd've shouldn't've someone'd've something'd've "
    "there'd've they'd've we'd've who'd've wouldn't've y'all'll y'all'd've you'd've"
)
_CONTRACTIONS = {word.replace("'", ""): word for word in _CONTRACTED.split()}


def vqa_accuracy(said: str, answers: Sequence[str]) -> float:
    """How many of the people asked agree: the mean of min(1, agreeing / 3) over all but one of them at a time.

    `answers` holds one answer a person, commonly ten: of those, 1 that agrees gives 0.3, 2 give 0.6, 3 give 0.9.
    Raises ValueError when there is none.
    """
    if not answers:
        raise ValueError("VQA accuracy needs an answer to compare with")
    said = normalised(said)
    if len(answers) == 1:  # nobody is left when one is set aside
        return float(said == normalised(answers[0]))
    agrees = [said == normalised(answer) for answer in answers]
    return sum(min(1.0, (sum(agrees) - one) / 3) for one in agrees) / len(agrees)


def normalised(answer: str) -> str:
    """Lower case, without punctuation and articles, number words as digits, contractions with their apostrophes."""
    text = _without_punctuation(" ".join(answer.split())).lower()
    words = (_NUMBERS.get(word, word) for word in text.split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(text: str) -> str:
    """A mark beside a space goes, one between letters becomes a space; all go where a comma parts a number's digits."""
    out = text
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if beside_space or _COMMA_IN_NUMBER.search(text) else " ")
    return _FULL_STOP.sub("", out)
