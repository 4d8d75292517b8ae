"""Asks an embedding server: embeds a corpus of pictures once, then ranks it for each query."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm import AsyncClient, FailedPrecondition, Options, TextPurpose
from evals.retries import persistently
from evals.suite import Ask, Document, Item, Reply

KEPT = 100
"""Length of the rankings that are kept."""
_AT_ONCE = 32


@dataclass(frozen=True)
class Corpus:
    """Documents as vectors."""

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    """[all vectors, dimensions]: those of the first document, then those of the next."""
    starts: NDArray[np.intp]
    """Where each document's vectors begin."""

    def rank(self, query: NDArray[np.float32]) -> tuple[str, ...]:
        """Ids by MaxSim, the best first, of a query of [vectors, dimensions].

        Its sum over query vectors of the largest dot product with a document's: Khattab and Zaharia, "ColBERT", 2020,
        section 3.3. With one vector on each side it is their dot product.
        """
        largest = np.maximum.reduceat(query @ self.vectors.T, self.starts, axis=1)
        return tuple(self.ids[index] for index in np.argsort(-largest.sum(0), kind="stable")[:KEPT])


def searching(*, late_interaction: bool) -> Callable[[AsyncClient, Sequence[Document], Options], Awaitable[Ask]]:
    """Embeds documents with the model asked for, or else with the first served that has this kind of embedding."""

    async def prepare(client: AsyncClient, documents: Sequence[Document], options: Options) -> Ask:
        model = options["model"] or await _model(client, late_interaction)
        timeout_s = options["timeout_s"]
        corpus = await _embedded(documents, client, model, timeout_s)

        async def ask(item: Item) -> tuple[Reply, ...]:
            began = time.monotonic()
            said = await client.embed(item.prompts, model=model, text_purpose=TextPurpose.QUERY, timeout_s=timeout_s)
            rankings = [await asyncio.to_thread(corpus.rank, _rows(query)) for query in said]
            seconds = time.monotonic() - began
            return tuple(
                Reply(
                    ranking=ranking,
                    model=said.model,
                    revision=said.revision,
                    input_tokens=said.usage.input_tokens,
                    cost_nanousd=said.usage.cost_nanousd,
                    seconds=seconds,
                )
                for ranking in rankings
            )

        return ask

    return prepare


async def _model(client: AsyncClient, late_interaction: bool) -> str:
    for model in await client.models():
        if model.embedding and model.embedding.late_interaction == late_interaction:
            return model.name
    kind = "several vectors an item (late interaction)" if late_interaction else "one vector an item"
    raise FailedPrecondition(f"{client.address} serves no model that gives {kind}", reason="TASK_UNSUPPORTED")


async def _embedded(documents: Sequence[Document], client: AsyncClient, model: str, timeout_s: float) -> Corpus:
    rows: list[NDArray[np.float32]] = []
    for at in range(0, len(documents), _AT_ONCE):
        pictures = [await asyncio.to_thread(one.picture) for one in documents[at : at + _AT_ONCE]]
        rows += map(_rows, await persistently(lambda: client.embed(images=pictures, model=model, timeout_s=timeout_s)))  # noqa: B023 - awaited at once
    lengths = [len(vectors) for vectors in rows]
    starts = np.cumsum([0, *lengths[:-1]])
    return Corpus(tuple(document.id for document in documents), np.concatenate(rows), starts)


def _rows(embedding: object) -> NDArray[np.float32]:
    vectors = np.asarray(embedding)
    return vectors.reshape(-1, vectors.shape[-1])
