"""Between the contract's protos of embeddings and this service's dataclasses."""

from datetime import UTC, datetime

from chiasm.v1 import embedding_pb2, errors_pb2, models_pb2, usage_pb2
from services.gemini_proxy.catalogue import Model
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.embedding import Embedded
from services.gemini_proxy.embedding_question import (
    MAX_AUDIO_S,
    MAX_ITEMS,
    MAX_PAGES,
    EmbeddingQuestion,
    Purpose,
    as_asked,
    task_type_of,
    unfit,
)
from services.gemini_proxy.media_facts import MediaLimits, facts_of
from services.gemini_proxy.observation import PROVIDER
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.question import File, Text
from services.runtime.errors import InvalidArgument

_PURPOSES = {
    embedding_pb2.TEXT_PURPOSE_UNSPECIFIED: Purpose.ANY,
    embedding_pb2.TEXT_PURPOSE_QUERY: Purpose.QUERY,
    embedding_pb2.TEXT_PURPOSE_DOCUMENT: Purpose.DOCUMENT,
}


async def question_from_proto(
    request: embedding_pb2.EmbedRequest, *, model: Model, tenant: str, settings: GeminiSettings
) -> EmbeddingQuestion:
    """The question to `model` of a request that `check_embed` has passed and that has a `request_id`.

    Raises InvalidArgument naming the first item that the model does not take.
    """
    purpose = _PURPOSES[request.text_purpose]
    limits = MediaLimits(max_bytes=settings.max_media_bytes, max_pages=MAX_PAGES, max_seconds=MAX_AUDIO_S)
    return EmbeddingQuestion(
        model=model.name,
        items=tuple([await _item(item, f"items[{i}]", model, purpose, limits) for i, item in enumerate(request.items)]),
        task_type=task_type_of(purpose, model.name),
        dimensions=settings.embedding_dimensions,
        tenant=tenant,
        request_id=request.request_id,
    )


async def _item(
    item: embedding_pb2.EmbedItem, field: str, model: Model, purpose: Purpose, limits: MediaLimits
) -> Text | File:
    if item.HasField("text"):
        if not item.text.strip():
            raise InvalidArgument(
                "the text is blank", field=f"{field}.text", reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED
            )
        return Text(as_asked(item.text, purpose, model.name))
    source = item.media.WhichOneof("source")
    if source != "data":
        raise InvalidArgument("send the media's bytes in `data`", field=f"{field}.media.{source}")
    at = f"{field}.media.data"
    facts = await facts_of(item.media.data, field=at, mime_type=item.media.mime_type, limits=limits)
    why = unfit(facts) if facts.modality in model.modalities else f"{model.name} embeds no {facts.modality.lower()}"
    if why:
        raise InvalidArgument(why, field=at, reason=errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED)
    return File(item.media.data, facts, at)


def response_to_proto(embedded: Embedded, question: EmbeddingQuestion) -> embedding_pb2.EmbedResponse:
    return embedding_pb2.EmbedResponse(
        embeddings=[
            embedding_pb2.Embedding(
                tensor=embedding_pb2.Tensor(
                    data=vector, dtype=embedding_pb2.DATA_TYPE_FLOAT32, shape=[question.dimensions]
                )
            )
            for vector in embedded.vectors
        ],
        model=f"models/{question.model}",
        revision=_revision(question.model, question.dimensions),
        usage=usage_pb2.Usage(
            input_tokens=sum(result.usage.input_tokens for result in embedded.results),
            media_input_tokens=sum(result.usage.media_tokens for result in embedded.results),
            cost_nanousd=sum(result.cost_nanousd for result in embedded.results),
        ),
        request_id=question.request_id,
    )


def model_to_proto(
    model: Model, prices: Prices, settings: GeminiSettings, *, running: int, waiting: int, ready: bool
) -> models_pb2.Model:
    """`running` and `waiting` are calls, of every model together."""
    return models_pb2.Model(
        name=f"models/{model.name}",
        revision=_revision(model.name, settings.embedding_dimensions),
        provider=PROVIDER,
        modalities=[models_pb2.Modality.Value(f"MODALITY_{modality}") for modality in sorted(model.modalities)],
        limits=models_pb2.ModelLimits(
            max_context_tokens=model.context_tokens,
            max_media=MAX_ITEMS if model.modalities else 0,
            max_media_bytes=settings.max_media_bytes,
            max_image_pixels=2**31,
            max_items=MAX_ITEMS,
        ),
        price=usage_pb2.Price(
            input_nanousd_per_million_tokens=prices.price_of(model.name, datetime.now(UTC)).input,
        ),
        load=models_pb2.ModelLoad(running=running, waiting=waiting),
        ready=ready,
        embedding=models_pb2.EmbeddingInfo(
            form=models_pb2.EMBEDDING_FORM_SINGLE_VECTOR, dimensions=settings.embedding_dimensions
        ),
    )


def _revision(model: str, dimensions: int) -> str:
    """Gemini names none but the model's own; vectors of other sizes are not to be compared either."""
    return f"{model}-{dimensions}d"
