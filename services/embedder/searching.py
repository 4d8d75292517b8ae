"""From a text, a picture, or both, to what is most like it in a collection."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from chiasm.v1.errors_pb2 import ERROR_REASON_MODEL_MISMATCH
from services.embedder.batching.cache import EmbeddedItem
from services.embedder.embedding import Embedder, Media, Text
from services.embedder.explaining import Explanation, explain
from services.embedder.index.collection import Collection
from services.embedder.index.entries import CollectionSpec, Hit, Query
from services.embedder.index.filters import Filter
from services.embedder.models.model import Vectors
from services.embedder.models.served import Served, ServedModels
from services.embedder.observation import observed
from services.runtime.errors import FailedPrecondition, InvalidArgument
from services.runtime.together import together


class Mode(StrEnum):
    """What is compared."""

    MEANING = "meaning"
    WORDS = "words"
    HYBRID = "hybrid"


@dataclass(frozen=True)
class Question:
    """What is looked for, as `SearchRequest` has it."""

    text: str
    image: Media | None
    image_weight: float
    mode: Mode
    limit: int
    filter: Filter
    exact: bool
    with_picture: bool
    explain: bool
    model: str
    revision: str


@dataclass(frozen=True)
class Found:
    """The hits, best first, and what embedding the query took."""

    hits: Sequence[Hit]
    explanations: Mapping[int, Explanation]
    """By the hit's place; of texts none."""
    model: str
    """Empty where no vectors were compared, as `revision` is."""
    revision: str
    tokens: int
    media_tokens: int


class Searcher:
    """Searches with the models it is given."""

    def __init__(self, models: ServedModels, embedder: Embedder) -> None:
        self._models = models
        self._embedder = embedder

    async def search(self, collection: Collection, question: Question, deadline: float) -> Found:
        """Raises InvalidArgument naming the field, FailedPrecondition where the collection's vectors are of another
        model or revision, and what `Embedder.embed_item` and `Collection.search` raise.
        """
        spec = collection.spec
        _check_asked(spec, question)
        if question.mode is Mode.WORDS:
            return Found(await collection.search(_query(question, None)), {}, "", "", 0, 0)
        served = matching(self._models, spec.model, spec.revision)
        if question.explain and not spec.late_interaction:
            raise InvalidArgument(f"{spec.model} gives a page one vector: no word has its own part", field="explain")
        text, image = await self._embedded(served, question, deadline)
        hits = await collection.search(_query(question, _mixed(text, image, question.image_weight)))
        explanations = await self._explanations(served, question.text, text, hits, deadline) if question.explain else {}
        if question.explain and not question.with_picture:
            hits = [replace(hit, picture=None) for hit in hits]
        taken = [embedded for embedded in (text, image) if embedded is not None]
        return Found(
            hits,
            explanations,
            served.name,
            served.model.facts.revision,
            sum(embedded.tokens for embedded in taken),
            sum(embedded.media_tokens for embedded in taken),
        )

    async def _embedded(
        self, served: Served, question: Question, deadline: float
    ) -> tuple[EmbeddedItem | None, EmbeddedItem | None]:
        async def one(item: Text | Media | None) -> EmbeddedItem | None:
            if item is None:
                return None
            return await self._embedder.embed_item(served, item, document=False, patient=False, deadline=deadline)

        text = Text(question.text, "text") if question.text else None
        with observed(served.name, served.model.facts) as work:
            of_text, of_image = embedded = await together(one(text), one(question.image))
            work.items = sum(each is not None for each in embedded)
            work.tokens = sum(each.tokens for each in embedded if each is not None)
        return of_text, of_image

    async def _explanations(
        self, served: Served, text: str, embedded: EmbeddedItem, hits: Sequence[Hit], deadline: float
    ) -> dict[int, Explanation]:
        """From the pages' pictures anew: what is stored may be pooled or quantized."""
        query = await asyncio.to_thread(served.model.encode, text, document=False, field="text")

        async def one(hit: Hit) -> Explanation:
            page = await self._embedder.embed_item(
                served, Media(hit.picture, "explain", ""), document=True, patient=False, deadline=deadline
            )
            size = hit.width, hit.height
            return await asyncio.to_thread(explain, served.model, query, embedded.vectors, page.vectors, size)

        places = [i for i, hit in enumerate(hits) if hit.picture is not None]
        return dict(zip(places, await together(*(one(hits[i]) for i in places)), strict=True))


def matching(models: ServedModels, name: str, revision: str) -> Served:
    """The model that a collection's vectors are of, by its name and revision.

    Raises FailedPrecondition where it is not served here: vectors of different models or revisions must not be
    compared.
    """
    served = next((served for served in models if served.name == name), None)
    if served is None or served.model.facts.revision != revision:
        here = "does not serve it" if served is None else f"serves revision {served.model.facts.revision}"
        raise FailedPrecondition(
            f"the collection is of {name} at revision {revision}; this server {here}: serve that one, or index anew",
            reason=ERROR_REASON_MODEL_MISMATCH,
        )
    return served


def _check_asked(spec: CollectionSpec, question: Question) -> None:
    if question.model not in ("", spec.model) or question.revision not in ("", spec.revision):
        raise FailedPrecondition(
            f"the collection is of {spec.model} at revision {spec.revision}", reason=ERROR_REASON_MODEL_MISMATCH
        )


def _query(question: Question, vectors: Vectors | None) -> Query:
    return Query(
        vectors=vectors,
        words=question.text if question.mode is not Mode.MEANING else None,
        limit=question.limit,
        filter=question.filter,
        exact=question.exact,
        with_picture=question.with_picture or question.explain,
    )


def _mixed(text: EmbeddedItem | None, image: EmbeddedItem | None, image_weight: float) -> Vectors:
    """One query of both. Of several vectors an item, those of the picture weigh together what those of the text do, as
    many as they are.
    """
    if text is None or image is None:
        return (text or image).vectors
    words, patches = text.vectors, image.vectors
    if words.ndim == 1:
        mixed = (1 - image_weight) * words + image_weight * patches
        return mixed / (np.linalg.norm(mixed) or 1.0)
    share = image_weight * len(words) / len(patches)
    return np.concatenate([(1 - image_weight) * words, share * patches]).astype(np.float32)
