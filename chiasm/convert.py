"""Between the contract's messages and the client's own types. No other file of the client reads or builds messages, but
`usage_convert`, `search_convert`, `embedding_convert` and `uploads`."""

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from chiasm import results
from chiasm.errors import InvalidArgument
from chiasm.options import Task
from chiasm.v1 import generation_pb2, media_pb2, models_pb2, usage_pb2


def generate_request(
    prompt: str,
    images: Sequence[bytes | str],
    task: Task,
    *,
    model: str = "",
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
    stop: Sequence[str] = (),
    json_schema: str = "",
    allow_fallback: bool | None = None,
    min_confidence: float | None = None,
    max_cost_nanousd: int | None = None,
    request_id: str = "",
) -> generation_pb2.GenerateRequest:
    """The request for one turn: the pictures, then the prompt, if any. Fields are those of `chiasm.options.Options`.

    Raises InvalidArgument when a value does not fit its field, such as a number of more than 32 bits.
    """
    try:
        parts = [generation_pb2.Part(media=media_of(image)) for image in images]
        if prompt:
            parts.append(generation_pb2.Part(text=prompt))
        return generation_pb2.GenerateRequest(
            model=model_name(model),
            task=generation_pb2.Task.Value(f"TASK_{task.name}"),
            messages=[generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=parts)],
            config=generation_pb2.GenerationConfig(
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
                seed=seed,
                stop=stop,
                json_schema=json_schema,
            ),
            routing=generation_pb2.Routing(
                allow_fallback=allow_fallback, min_confidence=min_confidence, max_cost_nanousd=max_cost_nanousd
            ),
            request_id=request_id,
        )
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID") from error


def media_of(source: bytes | str) -> media_pb2.Media:
    """A file's bytes, an upload's name or an address, as `image_source` gives them."""
    if isinstance(source, bytes):
        return media_pb2.Media(data=source)
    return media_pb2.Media(name=source) if source.startswith("media/") else media_pb2.Media(uri=source)


def get_model_request(name: str) -> models_pb2.GetModelRequest:
    """Asks for a model, named `NAME` or `models/NAME`."""
    return models_pb2.GetModelRequest(name=model_name(name))


def list_models_request(page_token: str) -> models_pb2.ListModelsRequest:
    """Asks for the page of models that `page_token` names; empty for the first."""
    return models_pb2.ListModelsRequest(page_token=page_token)


def model_name(name: str) -> str:
    """`models/NAME` for `NAME` or `models/NAME`; empty stays empty."""
    return name if not name or name.startswith("models/") else f"models/{name}"


def event(message: generation_pb2.StreamGenerateResponse) -> results.Event | None:
    """The event in a message of a stream; None for a kind that this client does not know yet."""
    match message.WhichOneof("event"):
        case "started":
            return results.Started(message.started.model, message.started.attempt, message.started.request_id)
        case "delta":
            return results.Delta(message.delta.text, tuple(token.logprob for token in message.delta.tokens))
        case "superseded":
            reason = word(generation_pb2.SupersededReason, message.superseded.reason)
            return results.Superseded(message.superseded.attempt, reason, message.superseded.next_model)
        case "finished":
            return _finished(message.finished)
    return None


def answer(response: generation_pb2.GenerateResponse, total_s: float) -> results.Answer:
    """The answer of an unary call that took `total_s` seconds."""
    return answer_of(
        _finished(response.finished),
        text=response.text,
        model=response.model,
        request_id=response.request_id,
        time_to_first_token_s=None,
        total_s=total_s,
    )


def answer_of(
    finished: results.Finished,
    *,
    text: str,
    model: str,
    request_id: str,
    time_to_first_token_s: float | None,
    total_s: float,
) -> results.Answer:
    """An answer from its last event and what came before."""
    return results.Answer(
        text=text,
        model=model,
        finish_reason=finished.finish_reason,
        usage=finished.usage,
        confidence=finished.confidence,
        detections=finished.detections,
        route=finished.route,
        request_id=request_id,
        time_to_first_token_s=time_to_first_token_s,
        total_s=total_s,
    )


def model_info(model: models_pb2.Model) -> results.ModelInfo:
    """What a server says of a model."""
    limits, load = model.limits, model.load
    priced = model.HasField("price")
    return results.ModelInfo(
        name=model.name,
        revision=model.revision,
        provider=model.provider,
        tasks=tuple(word(generation_pb2.Task, task) for task in model.tasks),
        modalities=tuple(word(models_pb2.Modality, modality) for modality in model.modalities),
        ready=model.ready,
        max_context_tokens=limits.max_context_tokens,
        max_output_tokens=limits.max_output_tokens,
        min_media=limits.min_media,
        max_media=limits.max_media,
        max_media_bytes=limits.max_media_bytes,
        max_image_pixels=limits.max_image_pixels,
        input_nanousd_per_million_tokens=model.price.input_nanousd_per_million_tokens if priced else None,
        output_nanousd_per_million_tokens=model.price.output_nanousd_per_million_tokens if priced else None,
        running=load.running,
        waiting=load.waiting,
        kv_cache_usage=load.kv_cache_usage,
        max_items=limits.max_items,
        embedding=_embedding_info(model.embedding) if model.HasField("embedding") else None,
    )


def _embedding_info(message: models_pb2.EmbeddingInfo) -> results.EmbeddingInfo:
    return results.EmbeddingInfo(
        late_interaction=message.form == models_pb2.EMBEDDING_FORM_LATE_INTERACTION,
        dimensions=message.dimensions,
        logit_scale=optional(message, "logit_scale"),
        logit_bias=optional(message, "logit_bias"),
    )


def _finished(message: generation_pb2.Finished) -> results.Finished:
    return results.Finished(
        finish_reason=word(generation_pb2.FinishReason, message.finish_reason),
        finish_detail=message.finish_detail,
        usage=usage_of(message.usage),
        confidence=optional(message, "confidence"),
        route=route_of(message.route),
        detections=tuple(_detection(detection) for detection in message.detections),
    )


def route_of(message: generation_pb2.Route) -> results.Route:
    """How an answer came to be."""
    return results.Route(
        attempts=tuple(_attempt(attempt) for attempt in message.attempts),
        time_to_first_token_s=_optional_seconds(message),
        duration_s=seconds(message.duration),
    )


def _attempt(message: generation_pb2.Attempt) -> results.Attempt:
    return results.Attempt(
        model=message.model,
        revision=message.revision,
        status=message.status,
        time_to_first_token_s=_optional_seconds(message),
        duration_s=seconds(message.duration),
        usage=usage_of(message.usage),
    )


def _detection(message: media_pb2.Detection) -> results.Detection:
    box, mask = message.box, message.mask
    return results.Detection(
        label=message.label,
        box=results.Box(box.x_min, box.y_min, box.x_max, box.y_max),
        mask=results.Mask(mask.png, mask.x, mask.y) if message.HasField("mask") else None,
        confidence=optional(message, "confidence"),
    )


def usage_of(message: usage_pb2.Usage) -> results.Usage:
    """What was used and what it cost."""
    return results.Usage(
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        media_input_tokens=message.media_input_tokens,
        cached_input_tokens=message.cached_input_tokens,
        reasoning_output_tokens=message.reasoning_output_tokens,
        cost_nanousd=message.cost_nanousd,
    )


def optional(message: Message, name: str) -> float | None:
    """A field that may be absent."""
    return getattr(message, name) if message.HasField(name) else None


def _optional_seconds(message: generation_pb2.Route | generation_pb2.Attempt) -> float | None:
    return seconds(message.time_to_first_token) if message.HasField("time_to_first_token") else None


def seconds(duration: Duration) -> float:
    """To the microsecond."""
    return duration.ToTimedelta().total_seconds()


def word(enum: type, number: int) -> str:
    """`stop` for `FINISH_REASON_STOP`; the number for a value newer than this client."""
    if number not in enum.values():
        return str(number)
    return enum.Name(number).removeprefix(enum.Name(0).removesuffix("UNSPECIFIED")).lower()
