"""How well an answer that was read off a picture agrees with what an OCR engine reads there."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from chiasm.v1 import generation_pb2
from services.gateway.cascade.ocr import Line

_ASKS_TEXT = re.compile(
    r"\bwhat (does|do|did) [^?]{0,80}\b(say|read|spell)\b"
    r"|\bwhat(?:'s| is| are| was) (?:\w+ )?(written|printed|spelled)\b"
    r"|\b(what(?:'s| is| are)|read) the (text|words?|title|heading|headline|inscription|lettering)\b"
    r"|\bwhat words? (is|are) \b",
    re.I,
)
# What the text is like, or about, is not on the picture.
_ASKS_ABOUT_TEXT = re.compile(r"\b(colou?r|font|size|language|style|mean|means|meaning|about|many)\b", re.I)
# The scripts of PP-OCRv6's dictionary, by the names of their characters in Unicode.
_SCRIPTS = ("LATIN", "DIGIT", "GREEK", "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA")
_LEAST_SURENESS = 0.9
# Words of the sentences in which what is written is told, besides those of the question.
_TELLING = {"a", "an", "are", "in", "is", "it", "on", "reads", "says", "text", "the", "this", "words", "written"}
# Each character of a script without spaces between words stands as one.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED_OR_NOT = re.compile(f"[{_UNSPACED}]|[^{_UNSPACED}]+")
# What is compared on the event loop takes milliseconds: so many letters, or the place of so many in a text.
_MOST_LETTERS = 10_000
_LONGEST_FOUND = 200


def reads_text(request: generation_pb2.GenerateRequest) -> bool:
    """Whether the answer is text that is to be read off the pictures: all of it, or what a question asks for."""
    if request.config.json_schema:
        return False
    if request.task == generation_pb2.TASK_READ_TEXT:
        return True
    question = question_of(request)
    asks = _ASKS_TEXT.search(question) and not _ASKS_ABOUT_TEXT.search(question)
    return request.task == generation_pb2.TASK_ANSWER and bool(asks)


def question_of(request: generation_pb2.GenerateRequest) -> str:
    """The words of the last message."""
    return " ".join(part.text for part in request.messages[-1].parts)


def should_be_whole(request: generation_pb2.GenerateRequest, finished: generation_pb2.Finished) -> bool:
    """Whether the answer should be all of the text, and was not cut as the caller asked."""
    cut = finished.finish_reason != generation_pb2.FINISH_REASON_STOP or request.config.stop
    return request.task == generation_pb2.TASK_READ_TEXT and not cut


def agreement(text: str, lines: Sequence[Line], *, question: str, all_of_it: bool) -> float | None:
    """The likeness, 0 to 1, of `text` and what was read: of a run of its words, unless `text` should be `all_of_it`.

    What a sentence says around a quotation, in the words of `question` or in those that are used for it, is left out.
    Likeness is counted in letters and digits after Unicode's NFKC and case folding. None where the engine has no say:
    it read nothing, or not surely, or knows not the script of `text`, which may also be too long to be looked up.
    """
    read = [words for line in lines if (words := _words(line.text))]
    said = _words(text)
    if not read or _sureness(lines) < _LEAST_SURENESS or not all(map(_is_known, "".join(said))):
        return None
    return _likeness(said, read) if all_of_it else _found(said, read, _words(question))


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = ("".join(filter(str.isalnum, word)) for word in folded.split())
    return [word for word in words if word]


def _sureness(lines: Sequence[Line]) -> float:
    """The lines' scores, each as much as it is long."""
    lengths = [len("".join(_words(line.text))) for line in lines]
    return sum(line.score * length for line, length in zip(lines, lengths, strict=True)) / sum(lengths)


def _is_known(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(_SCRIPTS)


def _likeness(said: list[str], read: list[list[str]]) -> float:
    """Of the whole, as its letters follow each other, or with its words in any order: columns are read in several."""
    words = [word for line in read for word in line]
    orders = ((said, words), (sorted(said), sorted(words)))
    return max(Levenshtein.normalized_similarity(_joined(one), _joined(other)) for one, other in orders)


def _found(said: list[str], read: list[list[str]], question: list[str]) -> float | None:
    """Of the answer, whole or what it quotes, and the run of the text's words that is most like it."""
    if len(_joined(said)) > _LONGEST_FOUND:
        return None
    words = [part for line in read for word in line for part in _UNSPACED_OR_NOT.findall(word)]
    tellings = {_joined(said), _joined(_quoted(said, set(question)))}
    return max(_likeness_of_run(told, words) for told in tellings)


def _quoted(said: list[str], question: set[str]) -> list[str]:
    """The answer without the words around that tell what it is, of which the last one is kept."""
    telling = _TELLING | question
    first, last = 0, len(said)
    while first < last - 1 and said[first] in telling:
        first += 1
    while first < last - 1 and said[last - 1] in telling:
        last -= 1
    return said[first:last]


def _likeness_of_run(told: str, words: list[str]) -> float:
    """Of those that begin at each word, the two that are nearest in length are compared."""
    text = _joined(words)
    ends = [end for end in accumulate(map(len, words)) if end <= len(text)]
    runs = []
    for word, start in enumerate([0, *ends[:-1]]):
        reaching = bisect_left(ends, start + len(told), lo=word)
        runs += [text[start:end] for end in ends[max(word, reaching - 1) : reaching + 1]]
    best = process.extractOne(told, runs, scorer=Levenshtein.normalized_similarity)
    return best[1] if best else 0.0


def _joined(words: list[str]) -> str:
    # Without spaces, of which engines often miss one.
    return "".join(words)[:_MOST_LETTERS]
