"""The tiny world as something to be searched: pictures by their captions, pages by what a reader remembers of them."""

from dataclasses import dataclass

from evals.suites.tiny import drawn
from models.world import held_out


@dataclass(frozen=True)
class Picture:
    """A picture, as PNG, and the caption that it alone has."""

    id: str
    data: bytes
    caption: str


@dataclass(frozen=True)
class Query:
    """What a reader remembers, and the one page that answers it."""

    text: str
    page_id: str


def pictures(number: int) -> list[Picture]:
    """Scenes, signs and charts that nothing was trained on, the same in every run."""
    captioned = enumerate(held_out.captioned(number))
    return [Picture(f"picture-{index}", drawn(world)(), text) for index, (world, text) in captioned]


def pages(number: int) -> tuple[dict[str, bytes], list[Query]]:
    """Pages, as PNG by id, that nothing was trained on, and a query for each that has one which it alone answers."""
    worlds, queries = held_out.pages(number)
    by_id = {f"page-{index}": drawn(page)() for index, page in enumerate(worlds)}
    return by_id, [Query(query.text, f"page-{index}") for query, index in queries]
