"""The calls of EmbeddingService and ClassificationService, as both clients have them."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from chiasm import embedding_convert as convert
from chiasm.channel import Caller
from chiasm.classification import Classification, LabelMode
from chiasm.errors import rpc_errors
from chiasm.images import image_source
from chiasm.item_streams import STREAM_S, Feed, streamed, streamed_async
from chiasm.options import EmbedItem, TextPurpose
from chiasm.results import Embedded, Embeddings
from chiasm.v1 import embedding_pb2
from chiasm.v1.classification_pb2_grpc import ClassificationServiceStub
from chiasm.v1.embedding_pb2_grpc import EmbeddingServiceStub

if TYPE_CHECKING:
    from chiasm.images import ImageLike


class EmbeddingCalls(Caller):
    """Vectors of texts and pictures. Every method raises a ChiasmError when the call fails."""

    _embedding: EmbeddingServiceStub
    _classification: ClassificationServiceStub

    def embed(
        self,
        texts: Sequence[str] = (),
        images: "Sequence[ImageLike]" = (),
        *,
        model: str = "",
        text_purpose: TextPurpose = TextPurpose.UNSPECIFIED,
        pool_factor: int = 1,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Embeddings:
        """Vectors of the texts, then of the pictures. Tried again, at most three times, while no server is available.

        `model` is `NAME` or `models/NAME`, and may be empty where the server has one alone; of a page's vectors
        `pool_factor` become one. Raises OSError when a file cannot be read.
        """
        request = convert.embed_request(
            texts,
            [image_source(image) for image in images],
            model=model,
            text_purpose=text_purpose,
            pool_factor=pool_factor,
            request_id=request_id,
        )
        with rpc_errors():
            response = self._embedding.Embed(request, **self._options(timeout_s))
        return convert.embeddings(response)

    def embed_stream(
        self,
        items: Iterable[EmbedItem],
        *,
        model: str = "",
        text_purpose: TextPurpose = TextPurpose.UNSPECIFIED,
        pool_factor: int = 1,
        request_id: str = "",
        stream_s: float = STREAM_S,
    ) -> Iterator[Embedded]:
        """What becomes of each item, in any order; one at fault does not harm the others.

        `items` are read as fast as the server takes them, in another thread. They go through as many streams as it
        takes, of `stream_s` seconds at most each.
        """
        feed = _feed(model, text_purpose, pool_factor, request_id, stream_s)
        return streamed(self._embedding.EmbedStream, items, feed, self._metadata())

    def classify(
        self,
        image: "ImageLike",
        labels: Sequence[str],
        *,
        model: str = "",
        template: str = "",
        mode: LabelMode = LabelMode.UNSPECIFIED,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Classification:
        """How well each label fits a picture; `template` is the sentence that they are put into, in the place of `{}`.

        Tried again, at most three times, while no server is available. Raises OSError when a file cannot be read.
        """
        request = convert.classify_request(
            image_source(image), labels, model=model, template=template, mode=mode, request_id=request_id
        )
        with rpc_errors():
            response = self._classification.Classify(request, **self._options(timeout_s))
        return convert.classification(response)


class AsyncEmbeddingCalls(Caller):
    """Vectors of texts and pictures. Every method raises a ChiasmError when the call fails."""

    _embedding: EmbeddingServiceStub
    _classification: ClassificationServiceStub

    async def embed(
        self,
        texts: Sequence[str] = (),
        images: "Sequence[ImageLike]" = (),
        *,
        model: str = "",
        text_purpose: TextPurpose = TextPurpose.UNSPECIFIED,
        pool_factor: int = 1,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Embeddings:
        """Vectors of the texts, then of the pictures. Tried again, at most three times, while no server is available.

        `model` is `NAME` or `models/NAME`, and may be empty where the server has one alone; of a page's vectors
        `pool_factor` become one. Raises OSError when a file cannot be read.
        """
        request = convert.embed_request(
            texts,
            [await asyncio.to_thread(image_source, image) for image in images],
            model=model,
            text_purpose=text_purpose,
            pool_factor=pool_factor,
            request_id=request_id,
        )
        with rpc_errors():
            response = await self._embedding.Embed(request, **self._options(timeout_s))
        return convert.embeddings(response)

    def embed_stream(
        self,
        items: AsyncIterable[EmbedItem] | Iterable[EmbedItem],
        *,
        model: str = "",
        text_purpose: TextPurpose = TextPurpose.UNSPECIFIED,
        pool_factor: int = 1,
        request_id: str = "",
        stream_s: float = STREAM_S,
    ) -> AsyncIterator[Embedded]:
        """What becomes of each item, in any order; one at fault does not harm the others.

        `items` are read as fast as the server takes them. They go through as many streams as it takes, of `stream_s`
        seconds at most each.
        """
        feed = _feed(model, text_purpose, pool_factor, request_id, stream_s)
        return streamed_async(self._embedding.EmbedStream, items, feed, self._metadata())

    async def classify(
        self,
        image: "ImageLike",
        labels: Sequence[str],
        *,
        model: str = "",
        template: str = "",
        mode: LabelMode = LabelMode.UNSPECIFIED,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Classification:
        """How well each label fits a picture; `template` is the sentence that they are put into, in the place of `{}`.

        Tried again, at most three times, while no server is available. Raises OSError when a file cannot be read.
        """
        source = await asyncio.to_thread(image_source, image)
        request = convert.classify_request(
            source, labels, model=model, template=template, mode=mode, request_id=request_id
        )
        with rpc_errors():
            response = await self._classification.Classify(request, **self._options(timeout_s))
        return convert.classification(response)


def _feed(
    model: str, text_purpose: TextPurpose, pool_factor: int, request_id: str, stream_s: float
) -> Feed[EmbedItem, Embedded]:
    first: embedding_pb2.EmbedStreamRequest = convert.embed_stream_start(
        model=model, text_purpose=text_purpose, pool_factor=pool_factor, request_id=request_id
    )
    return Feed(first, convert.embed_stream_request, convert.embedded, convert.not_embedded, stream_s=stream_s)
