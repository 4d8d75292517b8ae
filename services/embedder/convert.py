"""Between the contract's protos and this service's dataclasses."""

from chiasm.v1 import embedding_pb2, media_pb2, models_pb2, usage_pb2
from services.embedder.batching.batcher import Batcher
from services.embedder.config import EmbedderSettings
from services.embedder.embedding import Embedded, EmbeddedItem, Media, Question, Text, is_found
from services.embedder.models.model import EmbeddingModel, Vectors
from services.embedder.observation import PROVIDER
from services.embedder.shaping import Shaping
from services.embedder.vectors.precision import Precision
from services.runtime.errors import InvalidArgument

_DATA_TYPES = {
    Precision.FLOAT32: embedding_pb2.DATA_TYPE_FLOAT32,
    Precision.FLOAT16: embedding_pb2.DATA_TYPE_FLOAT16,
    Precision.INT8: embedding_pb2.DATA_TYPE_INT8,
    Precision.BINARY: embedding_pb2.DATA_TYPE_BINARY,
}
_PRECISIONS = {data_type: precision for precision, data_type in _DATA_TYPES.items()}


def question_from_proto(request: embedding_pb2.EmbedRequest, model: str) -> Question:
    """The question of a request that `check_embed` has passed, to the model named `model`.

    Raises InvalidArgument where a picture is not sent as bytes.
    """
    items = tuple(item_from_proto(item, f"items[{i}]") for i, item in enumerate(request.items))
    return Question(model, items, is_document(request.text_purpose), shaping_from_proto(request.vectors))


def is_document(text_purpose: embedding_pb2.TextPurpose) -> bool:
    """Whether texts are to be found, and no questions."""
    return text_purpose == embedding_pb2.TEXT_PURPOSE_DOCUMENT


def shaping_from_proto(options: embedding_pb2.VectorOptions) -> Shaping:
    """Of options that `check_embed` or `check_embed_stream` has passed."""
    return Shaping(_PRECISIONS.get(options.dtype, Precision.FLOAT32), options.pool_factor or 1)


def item_from_proto(item: embedding_pb2.EmbedItem, field: str) -> Text | Media:
    """Raises InvalidArgument where a picture is not sent as bytes."""
    if item.HasField("text"):
        return Text(item.text, f"{field}.text")
    return media_from_proto(item.media, f"{field}.media")


def media_from_proto(media: media_pb2.Media, field: str) -> Media:
    """Raises InvalidArgument where it is not sent as bytes."""
    source = media.WhichOneof("source")
    if source != "data":
        raise InvalidArgument("send the image's bytes in `data`", field=f"{field}.{source}")
    return Media(media.data, f"{field}.data", media.mime_type)


def response_to_proto(
    embedded: Embedded, question: Question, *, revision: str, request_id: str
) -> embedding_pb2.EmbedResponse:
    """Blocks: pooling takes milliseconds a page."""
    return embedding_pb2.EmbedResponse(
        embeddings=[
            embedding_to_proto(vectors, question.shaping, found=is_found(item, document=question.document))
            for item, vectors in zip(question.items, embedded.vectors, strict=True)
        ],
        model=question.model,
        revision=revision,
        usage=usage_to_proto(embedded),
        request_id=request_id,
    )


def embedding_to_proto(vectors: Vectors, shaping: Shaping, *, found: bool) -> embedding_pb2.Embedding:
    """Blocks, as `response_to_proto` does; `found` is as `is_found` says."""
    shaped = shaping.apply(vectors, found=found)
    numbers, scales = shaped.numbers, shaped.scales
    tensor = embedding_pb2.Tensor(
        data=numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).tobytes(),
        dtype=_DATA_TYPES[shaping.precision],
        shape=(*numbers.shape[:-1], vectors.shape[-1]),
        scales=b"" if scales is None else scales.astype("<f4", copy=False).tobytes(),
    )
    return embedding_pb2.Embedding(tensor=tensor)


def usage_to_proto(embedded: Embedded | EmbeddedItem) -> usage_pb2.Usage:
    return usage_pb2.Usage(input_tokens=embedded.tokens, media_input_tokens=embedded.media_tokens)


def model_to_proto(name: str, model: EmbeddingModel, settings: EmbedderSettings, batcher: Batcher) -> models_pb2.Model:
    facts = model.facts
    late, single = models_pb2.EMBEDDING_FORM_LATE_INTERACTION, models_pb2.EMBEDDING_FORM_SINGLE_VECTOR
    return models_pb2.Model(
        name=name,
        revision=facts.revision,
        provider=PROVIDER,
        modalities=[models_pb2.MODALITY_IMAGE],
        limits=models_pb2.ModelLimits(
            max_context_tokens=facts.max_text_tokens,
            max_media=settings.max_items,
            max_media_bytes=settings.max_media_bytes,
            max_image_pixels=settings.max_image_pixels,
            max_items=settings.max_items,
        ),
        load=models_pb2.ModelLoad(running=batcher.running(model), waiting=batcher.waiting(model)),
        ready=True,
        embedding=models_pb2.EmbeddingInfo(
            form=late if facts.late_interaction else single,
            dimensions=facts.dimensions,
            logit_scale=facts.logit_scale,
            logit_bias=facts.logit_bias,
        ),
    )
