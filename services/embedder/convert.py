"""Between the contract's protos and this service's dataclasses."""

from chiasm.v1 import embedding_pb2, models_pb2, usage_pb2
from services.embedder.batching.batcher import Batcher
from services.embedder.config import EmbedderSettings
from services.embedder.embedding import Embedded, Media, Question, Text
from services.embedder.models.model import EmbeddingModel, Vectors
from services.embedder.observation import PROVIDER
from services.runtime.errors import InvalidArgument


def question_from_proto(request: embedding_pb2.EmbedRequest, model: str) -> Question:
    """The question of a request that `check_embed` has passed, to the model named `model`.

    Raises InvalidArgument where a picture is not sent as bytes.
    """
    items = tuple(_item_from_proto(item, f"items[{i}]") for i, item in enumerate(request.items))
    return Question(model, items, document=request.text_purpose == embedding_pb2.TEXT_PURPOSE_DOCUMENT)


def _item_from_proto(item: embedding_pb2.EmbedItem, field: str) -> Text | Media:
    if item.HasField("text"):
        return Text(item.text, f"{field}.text")
    source = item.media.WhichOneof("source")
    if source != "data":
        raise InvalidArgument("send the image's bytes in `data`", field=f"{field}.media.{source}")
    return Media(item.media.data, f"{field}.media.data", item.media.mime_type)


def response_to_proto(embedded: Embedded, *, model: str, revision: str, request_id: str) -> embedding_pb2.EmbedResponse:
    return embedding_pb2.EmbedResponse(
        embeddings=[embedding_pb2.Embedding(tensor=_tensor_to_proto(vectors)) for vectors in embedded.vectors],
        model=model,
        revision=revision,
        usage=usage_pb2.Usage(input_tokens=embedded.tokens, media_input_tokens=embedded.media_tokens),
        request_id=request_id,
    )


def _tensor_to_proto(vectors: Vectors) -> embedding_pb2.Tensor:
    data = vectors.astype("<f4", copy=False).tobytes()
    return embedding_pb2.Tensor(data=data, dtype=embedding_pb2.DATA_TYPE_FLOAT32, shape=vectors.shape)


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
