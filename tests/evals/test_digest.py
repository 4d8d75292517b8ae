"""What changes a suite's digest."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from evals.digest import PICTURES, digest
from evals.suite import Document, Suite
from tests.evals.questions import suite, white


def unreadable() -> bytes:
    raise OSError("gone")


def drawn_anew(questions: Suite) -> Suite:
    return replace(questions, items=[replace(item, pictures=(lambda: b"new",)) for item in questions.items])


def of_other_options(questions: Suite) -> Suite:
    return replace(questions, items=[replace(questions.items[0], options=("a", "b")), *questions.items[1:]])


def documents(name: str, picture: Callable[[], bytes] = white) -> Callable[[Suite], Suite]:
    return lambda questions: replace(questions, documents=[Document(name, picture)])


def test_a_digest_is_the_same_in_every_run() -> None:
    assert digest(suite()) == digest(suite())
    assert digest(documents("a")(suite())) == digest(documents("a")(suite()))


@pytest.mark.parametrize("change", [drawn_anew, of_other_options, documents("a")])
def test_other_questions_pictures_or_documents_change_it(change: Callable[[Suite], Suite]) -> None:
    assert digest(change(suite())) != digest(suite())


@pytest.mark.parametrize("other", [documents("b"), documents("a", lambda: b"new"), documents("a", unreadable)])
def test_another_corpus_changes_it(other: Callable[[Suite], Suite]) -> None:
    assert digest(other(suite())) != digest(documents("a")(suite()))


@pytest.mark.parametrize("number", [1, PICTURES, PICTURES + 1, 10 * PICTURES])
def test_so_many_pictures_are_read_at_most(number: int) -> None:
    read = []

    def picture() -> bytes:
        read.append(1)
        return b"picture"

    questions = suite(number)
    digest(replace(questions, items=[replace(item, pictures=(picture,)) for item in questions.items]))
    assert min(number, PICTURES) // 2 <= len(read) <= PICTURES
