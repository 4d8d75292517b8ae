"""Whether the sources that a model names say what it has from them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from chiasm.v1 import search_pb2
from services.gateway.asking.prompt import of_picture, of_text
from services.gateway.asking.questions import Answered, Questions, Wording
from services.gateway.asking.reading import Mention, Statement, plain
from services.gateway.asking.support import agree, covers, has_numbers, is_quoted, sentences_of
from services.runtime.errors import ChiasmError, DeadlineExceeded

TIME_SHARE = 0.8
"""Of the time that is left when there is an answer, what its checks may take: the answer is there, checked or not."""


@dataclass(frozen=True)
class Checked:
    """A statement, and what holds of its sources."""

    text: str
    holding: tuple[Mention, ...]
    failing: tuple[tuple[Mention, search_pb2.DroppedReason, str], ...]
    """Each with why it was dropped, and in words."""


@dataclass(frozen=True)
class _Look:
    """At a part of a source."""

    number: int
    """The source's, from 1."""
    at_text: bool
    """Whether at its text; else at its picture."""


class Checker:
    """Of the answer to one question. A quote must stand in its source. A statement, too, or else the question is asked
    again, of that text or that picture alone, and the answers are compared."""

    def __init__(self, questions: Questions, question: str, hits: Sequence[search_pb2.Hit]) -> None:
        self._questions = questions
        self._question = question
        self._hits = hits
        self._said: dict[_Look, Answered] = {}

    async def check(self, statements: Sequence[Statement]) -> list[Checked]:
        """Each statement, in their order."""
        await self._look_at(
            [
                self._look(mention)
                for statement in statements
                for mention in statement.mentions
                if self._why_not_read(statement, mention) is None
            ]
        )
        return [self._checked(statement) for statement in statements]

    async def _look_at(self, looks: Sequence[_Look]) -> None:
        looks = list(dict.fromkeys(looks))
        deadline = asyncio.get_running_loop().time() + TIME_SHARE * self._questions.left_s
        said = await self._questions.checks([partial(self._wording, look) for look in looks], deadline)
        self._said = dict(zip(looks, said, strict=True))

    def _wording(self, look: _Look) -> Wording:
        word = of_text if look.at_text else of_picture
        return word(self._question, self._hit(look.number))

    def _checked(self, statement: Statement) -> Checked:
        holding, failing = [], []
        for mention in statement.mentions:
            reason, why = self._why_not(statement, mention)
            if why:
                failing.append((mention, reason, why))
            else:
                holding.append(mention if self._hit(mention.number).text else Mention(mention.number, ""))
        return Checked(statement.text, tuple(holding), tuple(failing))

    def _why_not(self, statement: Statement, mention: Mention) -> tuple[search_pb2.DroppedReason, str]:
        """Why the source does not support the statement, and in words: none where it does."""
        refusal = self._why_not_read(statement, mention)
        if refusal is not None:
            return refusal
        said, hit = self._said[self._look(mention)], self._hit(mention.number)
        if isinstance(said, DeadlineExceeded):
            why = "not checked in time"
        elif isinstance(said, ChiasmError):
            why = f"could not be checked: {said.message}"
        elif agree(said.text, statement.text, self._question) and has_numbers(
            [f"{said.text} {self._question}", *sentences_of(hit.text)], statement.text
        ):
            why = ""
        else:
            why = f"asked alone, it says: {plain(said.text)}"
        return search_pb2.DROPPED_REASON_NOT_SUPPORTING, why

    def _why_not_read(self, statement: Statement, mention: Mention) -> tuple[search_pb2.DroppedReason, str] | None:
        """The same without a model; None where one has to tell."""
        if not 1 <= mention.number <= len(self._hits):
            return search_pb2.DROPPED_REASON_NO_SUCH_SOURCE, f"{len(self._hits)} sources were given"
        if not statement.text:
            return search_pb2.DROPPED_REASON_NOT_USED, "no part of the answer uses it"
        hit = self._hit(mention.number)
        if mention.quote and hit.text and not is_quoted(mention.quote, hit.text):
            return search_pb2.DROPPED_REASON_NOT_SUPPORTING, f"its text does not hold: {mention.quote}"
        if covers(hit.text, statement.text):
            return search_pb2.DROPPED_REASON_UNSPECIFIED, ""
        if not hit.text and not hit.HasField("picture"):
            return search_pb2.DROPPED_REASON_NOT_SUPPORTING, "it has neither a text nor a picture"
        return None

    def _look(self, mention: Mention) -> _Look:
        """At the text where it is quoted, or all there is."""
        hit = self._hit(mention.number)
        return _Look(mention.number, bool(hit.text and (mention.quote or not hit.HasField("picture"))))

    def _hit(self, number: int) -> search_pb2.Hit:
        return self._hits[number - 1]
