"""The answer as it is shown: its text with the numbers of what holds, and what was dropped."""

from collections.abc import Sequence
from dataclasses import dataclass

from chiasm.v1 import search_pb2
from services.gateway.asking.checking import Checked


@dataclass(frozen=True)
class Cited:
    """An answer with its sources."""

    text: str
    citations: Sequence[search_pb2.Citation]
    """By number, from 1."""
    dropped: Sequence[search_pb2.DroppedCitation]


def cite(statements: Sequence[Checked], hits: Sequence[search_pb2.Hit]) -> Cited:
    """Sources are numbered anew, in the order in which the text names them."""
    numbers: dict[int, int] = {}
    quotes: dict[int, str] = {}
    texts = []
    for statement in statements:
        markers = []
        for mention in statement.holding:
            markers.append(f"[{numbers.setdefault(mention.number, len(numbers) + 1)}]")
            quotes[mention.number] = quotes.get(mention.number) or mention.quote
        if statement.text:
            texts.append(" ".join(filter(None, (statement.text, "".join(markers)))))
    citations = [
        search_pb2.Citation(number=number, hit=hits[given - 1], quote=quotes[given])
        for given, number in numbers.items()
    ]
    return Cited(" ".join(texts), citations, _dropped(statements, hits))


def _dropped(statements: Sequence[Checked], hits: Sequence[search_pb2.Hit]) -> list[search_pb2.DroppedCitation]:
    """Each source once for each reason."""
    dropped = {
        (mention.number, reason): search_pb2.DroppedCitation(
            number=mention.number,
            hit=hits[mention.number - 1] if 1 <= mention.number <= len(hits) else None,
            reason=reason,
            detail=detail,
        )
        for statement in reversed(statements)
        for mention, reason, detail in statement.failing
    }
    return sorted(dropped.values(), key=lambda each: (each.number, each.reason))


def without_pictures(response: search_pb2.AskResponse) -> search_pb2.AskResponse:
    """Itself, its hits' pictures taken out."""
    for each in (*response.citations, *response.dropped):
        if each.HasField("hit"):
            each.hit.ClearField("picture")
    return response
