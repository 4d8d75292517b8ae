"""Between the contract's protos and this service's dataclasses."""

from chiasm.v1 import errors_pb2, generation_pb2, media_pb2, models_pb2, usage_pb2
from services.paligemma.adapters import Adapter
from services.paligemma.answering import Detection, End, Piece, Question
from services.paligemma.config import PaligemmaSettings
from services.paligemma.engine import Engine, Sampling
from services.paligemma.prompts import Task
from services.runtime.errors import InvalidArgument

_TASKS = {
    generation_pb2.TASK_UNSPECIFIED: Task.OPEN,
    generation_pb2.TASK_OPEN: Task.OPEN,
    generation_pb2.TASK_CAPTION: Task.CAPTION,
    generation_pb2.TASK_ANSWER: Task.ANSWER,
    generation_pb2.TASK_READ_TEXT: Task.READ_TEXT,
    generation_pb2.TASK_DETECT: Task.DETECT,
    generation_pb2.TASK_SEGMENT: Task.SEGMENT,
}
_FINISH_REASONS = {
    "stop": generation_pb2.FINISH_REASON_STOP,
    "length": generation_pb2.FINISH_REASON_MAX_TOKENS,
}


def question_from_proto(request: generation_pb2.GenerateRequest, adapter: Adapter | None) -> Question:
    """The question, for `adapter` to answer, of a request that `check_generate` has passed.

    Raises InvalidArgument where PaliGemma takes less than the contract allows: one turn by the
    user, exactly one image sent as bytes, one text at most, and no JSON schema.
    """
    if len(request.messages) != 1:
        raise InvalidArgument("this model takes a single turn: send one message", field="messages")
    message = request.messages[0]
    if message.role not in (generation_pb2.ROLE_UNSPECIFIED, generation_pb2.ROLE_USER):
        raise InvalidArgument("this model takes a single turn by the user", field="messages[0].role")
    if request.config.json_schema:
        raise InvalidArgument("this model does not write JSON to a schema", field="config.json_schema")
    media = [
        (f"messages[0].parts[{p}].media", part.media) for p, part in enumerate(message.parts) if part.HasField("media")
    ]
    texts = [
        (f"messages[0].parts[{p}].text", part.text) for p, part in enumerate(message.parts) if part.HasField("text")
    ]
    if len(media) != 1:
        field = media[1][0] if media else "messages[0].parts"
        raise InvalidArgument(
            f"this model takes exactly one image; {len(media)} were sent",
            field=field,
            reason=errors_pb2.ERROR_REASON_MEDIA_COUNT,
        )
    if len(texts) > 1:
        raise InvalidArgument("this model takes one text", field=texts[1][0])
    image_field, image = media[0]
    if image.WhichOneof("source") != "data":
        raise InvalidArgument("send the image's bytes in `data`", field=f"{image_field}.{image.WhichOneof('source')}")
    text_field, text = texts[0] if texts else ("messages[0].parts", "")
    return Question(
        task=_TASKS[request.task],
        text=text,
        text_field=text_field,
        image=image.data,
        image_field=f"{image_field}.data",
        mime_type=image.mime_type,
        sampling=_sampling(request.config),
        adapter=adapter,
    )


def _sampling(config: generation_pb2.GenerationConfig) -> Sampling:
    return Sampling(
        max_tokens=config.max_tokens or None,
        temperature=config.temperature,
        top_p=config.top_p if config.HasField("top_p") else 1.0,
        top_k=config.top_k,
        seed=config.seed if config.HasField("seed") else None,
        stop=tuple(config.stop),
    )


def event_to_proto(event: Piece | End) -> generation_pb2.StreamGenerateResponse:
    if isinstance(event, End):
        return generation_pb2.StreamGenerateResponse(finished=_finished_to_proto(event))
    tokens = [generation_pb2.Token(id=token.id, logprob=token.logprob) for token in event.tokens]
    return generation_pb2.StreamGenerateResponse(delta=generation_pb2.Delta(text=event.text, tokens=tokens))


def _finished_to_proto(end: End) -> generation_pb2.Finished:
    return generation_pb2.Finished(
        finish_reason=_FINISH_REASONS.get(end.finish_reason, generation_pb2.FINISH_REASON_OTHER),
        finish_detail=end.finish_reason,
        usage=usage_pb2.Usage(
            input_tokens=end.input_tokens, output_tokens=end.output_tokens, media_input_tokens=end.image_tokens
        ),
        confidence=end.confidence,
        detections=[_detection_to_proto(detection) for detection in end.detections],
    )


def _detection_to_proto(detection: Detection) -> media_pb2.Detection:
    box, mask = detection.box, detection.mask
    return media_pb2.Detection(
        label=detection.label,
        box=media_pb2.BoundingBox(x_min=box.x_min, y_min=box.y_min, x_max=box.x_max, y_max=box.y_max),
        mask=media_pb2.Mask(png=mask.png, x=mask.x, y=mask.y) if mask else None,
        confidence=detection.confidence,
    )


def model_to_proto(
    settings: PaligemmaSettings, engine: Engine, adapter: Adapter | None, *, segments: bool, ready: bool
) -> models_pb2.Model:
    """The base model, or it as `adapter` changes it."""
    tasks = [task for task, ours in _TASKS.items() if task and (segments or ours is not Task.SEGMENT)]
    facts = engine.facts
    return models_pb2.Model(
        name=settings.resource_name_of(adapter and adapter.name),
        revision=f"{facts.revision}+{adapter.revision}" if adapter else facts.revision,
        provider="vllm",
        tasks=tasks,
        modalities=[models_pb2.MODALITY_IMAGE],
        limits=models_pb2.ModelLimits(
            max_context_tokens=facts.max_context_tokens,
            max_output_tokens=facts.max_context_tokens - facts.image_tokens - 3,
            min_media=1,
            max_media=1,
            max_media_bytes=settings.max_media_bytes,
            max_image_pixels=settings.max_image_pixels,
        ),
        load=models_pb2.ModelLoad(running=engine.running, waiting=engine.waiting, kv_cache_usage=engine.kv_cache_usage),
        ready=ready,
    )
