"""The answer on which most sources agree, each asked alone."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from chiasm.v1 import generation_pb2, search_pb2
from services.gateway.asking.citing import Cited
from services.gateway.asking.prompt import of_picture, of_text
from services.gateway.asking.questions import Questions
from services.gateway.asking.reading import plain
from services.gateway.asking.support import canonical
from services.runtime.errors import Aborted, ChiasmError


@dataclass(frozen=True)
class _Vote:
    number: int
    """Of the source, from 1."""
    hit: search_pb2.Hit
    answered: generation_pb2.GenerateResponse
    weight: float

    @property
    def text(self) -> str:
        return plain(self.answered.text)


async def vote(
    questions: Questions, question: str, hits: Sequence[search_pb2.Hit]
) -> tuple[Cited, generation_pb2.Finished]:
    """The answer with most weight, citing who gave it, and how the weightiest of them came to be.

    A vote weighs as the source's score is to the best one's, times the answer's confidence. Sources that cannot be
    asked have none, and a blank answer is none. Raises the first one's error where there is no vote, or Aborted where
    all are blank.
    """
    words = [partial(of_picture if hit.HasField("picture") else of_text, question, hit) for hit in hits]
    answers = await questions.answers(words)
    best = max(hit.score for hit in hits)
    answered = [
        _Vote(number, hit, answer, _weight(hit.score, best, answer.finished))
        for number, (hit, answer) in enumerate(zip(hits, answers, strict=True), 1)
        if not isinstance(answer, ChiasmError)
    ]
    votes = [each for each in answered if canonical(each.text)]
    if not votes:
        blank = Aborted("of no source was anything answered")
        raise next((answer for answer in answers if isinstance(answer, ChiasmError)), blank)
    by_answer = defaultdict(list)
    for each in votes:
        by_answer[canonical(each.text)].append(each)
    winning = max(by_answer.values(), key=lambda those: sum(each.weight for each in those))
    speaker = max(winning, key=lambda each: each.weight)
    return _cited(speaker, winning, answered), speaker.answered.finished


def _weight(score: float, best: float, finished: generation_pb2.Finished) -> float:
    relative = max(score, 0.0) / best if best > 0 else 1.0
    return relative * (finished.confidence if finished.HasField("confidence") else 1.0)


def _cited(speaker: _Vote, winning: Sequence[_Vote], answered: Sequence[_Vote]) -> Cited:
    markers = "".join(f"[{number}]" for number, _ in enumerate(winning, 1))
    return Cited(
        f"{speaker.text} {markers}",
        [search_pb2.Citation(number=number, hit=each.hit) for number, each in enumerate(winning, 1)],
        [
            search_pb2.DroppedCitation(
                number=each.number,
                hit=each.hit,
                reason=search_pb2.DROPPED_REASON_NOT_USED,
                detail=f"asked alone, it says: {each.text or 'nothing'}",
            )
            for each in answered
            if each not in winning
        ],
    )
