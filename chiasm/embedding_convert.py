"""Between the contract's messages of embeddings and classification and the client's own types."""

from collections.abc import Sequence

from chiasm.classification import Classification, LabelMode, LabelScore
from chiasm.convert import media_of, model_name, usage_of, word
from chiasm.errors import ChiasmError, Internal, InvalidArgument, from_packed_status
from chiasm.images import image_source
from chiasm.options import EmbedItem, TextPurpose
from chiasm.results import Embedded, Embedding, Embeddings
from chiasm.v1 import classification_pb2, embedding_pb2


def embed_request(
    texts: Sequence[str],
    images: Sequence[bytes | str],
    *,
    model: str = "",
    text_purpose: TextPurpose = TextPurpose.UNSPECIFIED,
    pool_factor: int = 1,
    request_id: str = "",
) -> embedding_pb2.EmbedRequest:
    """The request for embeddings of the texts, then the pictures. Raises InvalidArgument when a value does not fit."""
    if isinstance(texts, str):  # a sequence of texts too, each of one letter
        raise InvalidArgument("texts is one text: put it into a list", reason="FIELD_INVALID", field="texts")
    try:
        items = [embedding_pb2.EmbedItem(text=text) for text in texts]
        items += [embedding_pb2.EmbedItem(media=media_of(image)) for image in images]
        return embedding_pb2.EmbedRequest(
            model=model_name(model),
            items=items,
            text_purpose=_purpose(text_purpose),
            vectors=embedding_pb2.VectorOptions(pool_factor=pool_factor),
            request_id=request_id,
        )
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID") from error


def embed_stream_start(
    *, model: str, text_purpose: TextPurpose, pool_factor: int, request_id: str
) -> embedding_pb2.EmbedStreamRequest:
    """The first request of a stream. Raises InvalidArgument when a value does not fit."""
    try:
        return embedding_pb2.EmbedStreamRequest(
            model=model_name(model),
            text_purpose=_purpose(text_purpose),
            vectors=embedding_pb2.VectorOptions(pool_factor=pool_factor),
            request_id=request_id,
        )
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID") from error


def embed_stream_request(item: EmbedItem) -> embedding_pb2.EmbedStreamRequest:
    """An item of a stream; reads its file. Raises InvalidArgument and OSError."""
    try:
        if item.image is None:
            made = embedding_pb2.EmbedItem(text=item.text)
        else:
            made = embedding_pb2.EmbedItem(media=media_of(image_source(item.image)))
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID") from error
    return embedding_pb2.EmbedStreamRequest(item=made)


def embedded(response: embedding_pb2.EmbedStreamResponse, index: int) -> Embedded:
    """What became of an item. Raises Internal when a tensor is of a kind newer than this client."""
    failed = response.WhichOneof("outcome") != "embedding"
    return Embedded(
        index=index,
        embedding=None if failed else _embedding(response.embedding.tensor),
        usage=usage_of(response.usage),
        error=from_packed_status(response.error) if failed else None,
    )


def not_embedded(item: EmbedItem, index: int, error: OSError | ChiasmError) -> Embedded:
    """What became of an item that was not sent."""
    return Embedded(index=index, embedding=None, error=error)


def embeddings(response: embedding_pb2.EmbedResponse) -> Embeddings:
    """What was embedded. Raises Internal when a tensor is of a kind newer than this client."""
    return Embeddings(
        embeddings=tuple(_embedding(embedding.tensor) for embedding in response.embeddings),
        model=response.model,
        revision=response.revision,
        usage=usage_of(response.usage),
        request_id=response.request_id,
    )


def classify_request(
    image: bytes | str, labels: Sequence[str], *, model: str, template: str, mode: LabelMode, request_id: str
) -> classification_pb2.ClassifyRequest:
    """The request for a picture's labels. Raises InvalidArgument when a value does not fit."""
    if isinstance(labels, str):  # a sequence of texts too, each of one letter
        raise InvalidArgument("labels is one text: put it into a list", reason="FIELD_INVALID", field="labels")
    try:
        return classification_pb2.ClassifyRequest(
            model=model_name(model),
            image=media_of(image),
            labels=labels,
            template=template,
            mode=classification_pb2.LabelMode.Value(f"LABEL_MODE_{mode.name}"),
            request_id=request_id,
        )
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID") from error


def classification(response: classification_pb2.ClassifyResponse) -> Classification:
    """The labels of a picture."""
    return Classification(
        scores=tuple(LabelScore(score.label, score.probability, score.similarity) for score in response.scores),
        model=response.model,
        revision=response.revision,
        mode=LabelMode(word(classification_pb2.LabelMode, response.mode)),
        usage=usage_of(response.usage),
        request_id=response.request_id,
    )


def _purpose(purpose: TextPurpose) -> embedding_pb2.TextPurpose:
    return embedding_pb2.TextPurpose.Value(f"TEXT_PURPOSE_{purpose.name}")


def _embedding(tensor: embedding_pb2.Tensor) -> Embedding:
    if tensor.dtype != embedding_pb2.DATA_TYPE_FLOAT32:
        raise Internal(f"vectors of kind {tensor.dtype} are newer than this client", reason="INTERNAL")
    return Embedding(tensor.data, tuple(tensor.shape))
