"""Whether a text says what another one says, by their words.

What these cannot tell for sure they deny: a model is then asked, or the citation is dropped.
"""

import re
import unicodedata
from collections.abc import Iterable

from rapidfuzz import fuzz

LEAST_QUOTED = 90.0
"""Likeness, 0 to 100, of a quote and the part of the text most like it: OCR and models differ in a letter of ten."""
LEAST_QUOTED_WORDS = 2
"""That tell something, in a quote without numbers."""
LEAST_COVERED_WORDS = 3
"""Of a statement that is looked for word by word: fewer stand anywhere."""
LEAST_SHARED = 0.6
"""Of the words of the shorter of two answers, those that both have."""

_UNSPACED = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Letters of scripts that put no spaces between words: each counts as a word."""
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[{_UNSPACED}]|[^\W\d{_UNSPACED}]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SHORT_NOT = re.compile(r"n['’]t\b|\bcannot\b")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n")
_NOT = "not"
_MEANINGS = {
    name: str(number)
    for number, name in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
    )
} | dict.fromkeys("no never none nor neither nothing nobody nowhere without hardly".split(), _NOT)  # noqa: SIM905
_ARTICLES = frozenset(("a", "an", "the"))
# What sentences have in common whatever they say.
_FILLERS = _ARTICLES | frozenset(
    "is are was were be of in on at to and or it its this that there has have with by for as".split()  # noqa: SIM905
)


def is_quoted(quote: str, text: str) -> bool:
    """Whether `quote` stands in `text` in whole words, but for spacing, case, punctuation and a few letters, with its
    numbers and negations as they are. It has enough words to say something, or is all there is."""
    wanted, there = " ".join(_words(quote)), " ".join(_words(text))
    if wanted == there:
        return bool(wanted)
    if not _says_something(quote) or len(wanted) > len(there):
        return False
    place = fuzz.partial_ratio_alignment(wanted, there, score_cutoff=LEAST_QUOTED)
    if place is None:
        return False
    start, end = there.rfind(" ", 0, place.dest_start + 1) + 1, there.find(" ", max(place.dest_end - 1, 0))
    part = there[start:] if end < 0 else there[start:end]
    alike = fuzz.ratio(wanted, part) >= LEAST_QUOTED
    return alike and _exact(wanted.split()) == _exact(part.split())


def covers(text: str, statement: str) -> bool:
    """Whether a sentence of `text` has all of `statement` in a row, but for articles, and no other negation."""
    said = _without_articles(statement)
    if len(said) < LEAST_COVERED_WORDS:
        return False
    return any(
        f" {' '.join(said)} " in f" {' '.join(_without_articles(sentence))} "
        and said.count(_NOT) == _words(sentence).count(_NOT)
        for sentence in sentences_of(text)
    )


def agree(answer: str, statement: str, question: str) -> bool:
    """Whether an answer to `question` and a statement may be said of the same.

    Both deny or neither does, the numbers of one are all in the other, and they share words. What is in the question
    already counts only where there is nothing else.
    """
    asked = _telling(question)
    if canonical(answer) in ("yes", _NOT):
        answer = f"{answer} {question}"
    left, right = _telling(answer), _telling(statement)
    if (_NOT in left) != (_NOT in right):
        return False
    left, right = left - {_NOT}, right - {_NOT}
    if left - asked and right - asked:
        left, right = left - asked, right - asked
    if not left or not right:
        return False
    numbers = _numbers(left), _numbers(right)
    if not (numbers[0] <= numbers[1] or numbers[1] <= numbers[0]):
        return False
    return len(left & right) >= LEAST_SHARED * min(len(left), len(right))


def has_numbers(texts: Iterable[str], statement: str) -> bool:
    """Whether one of the texts has all numbers of `statement`."""
    wanted = _numbers(_telling(statement))
    return any(wanted <= _numbers(_telling(text)) for text in texts)


def sentences_of(text: str) -> list[str]:
    """The text in parts, none of which breaks off within a sentence."""
    return _SENTENCE_END.split(text)


def canonical(answer: str) -> str:
    """Alike for answers that differ in case, punctuation and fillers alone; empty for those without a word."""
    words = _words(answer)
    return " ".join([word for word in words if word not in _FILLERS] or words)


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    plain = _THOUSANDS.sub("", _SHORT_NOT.sub(" not", folded))
    return [_MEANINGS.get(word, word) for word in _WORD.findall(plain)]


def _without_articles(text: str) -> list[str]:
    return [word for word in _words(text) if word not in _ARTICLES]


def _says_something(quote: str) -> bool:
    telling = _telling(quote) - _FILLERS  # which are left where there is nothing else
    return len(telling) >= LEAST_QUOTED_WORDS or bool(_numbers(telling))


def _exact(words: list[str]) -> list[str]:
    """Those of which no letter may differ."""
    return [word for word in words if word[0].isdigit() or word == _NOT]


def _telling(text: str) -> set[str]:
    return set(canonical(text).split())


def _numbers(words: set[str]) -> set[str]:
    return {word for word in words if word[0].isdigit()}
