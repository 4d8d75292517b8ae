"""Search in the tiny world: pictures by their captions, and pages by what a reader remembers of them."""

from chiasm import Task
from evals import scorers
from evals.search import searching
from evals.suite import Document, Item, Measure, Suite
from evals.suites.tiny import drawn
from models.world import held_out


def images() -> Suite:
    captioned = held_out.captioned(200)
    documents = [Document(f"picture-{index}", drawn(world)) for index, (world, _) in enumerate(captioned)]
    items = [
        Item(f"caption-{index}", type(world).__name__.lower(), Task.OPEN, (text,), (drawn(world),), (document.id,))
        for index, ((world, text), document) in enumerate(zip(captioned, documents, strict=True))
    ]
    return Suite(
        name="tiny-image-search",
        about="200 pictures searched by the caption of each, with one vector a picture.",
        items=items,
        score=scorers.ranking("image_search", 5),
        measures=(
            Measure("image_search_recall_at_1", target=0.9),
            Measure("image_search_recall_at_5"),
            Measure("image_search_ndcg_at_5"),
        ),
        documents=documents,
        prepare=searching(late_interaction=False),
    )


def pages() -> Suite:
    drawn_pages, queries = held_out.pages(500)
    documents = [Document(f"page-{index}", drawn(page)) for index, page in enumerate(drawn_pages)]
    items = [
        Item(f"query-{index}", "page", Task.OPEN, (query.text,), (documents[index].picture,), (documents[index].id,))
        for query, index in queries
    ]
    return Suite(
        name="tiny-page-search",
        about="500 pages searched by what a reader remembers of each, with many vectors a page.",
        items=items,
        score=scorers.ranking("page_search", 5),
        measures=(
            Measure("page_search_ndcg_at_5", target=0.9),
            Measure("page_search_recall_at_1"),
            Measure("page_search_recall_at_5"),
        ),
        documents=documents,
        prepare=searching(late_interaction=True),
    )


SUITES = {"tiny-image-search": images, "tiny-page-search": pages}
