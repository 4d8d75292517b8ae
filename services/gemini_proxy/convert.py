"""Between the contract's protos and this service's dataclasses."""

from chiasm.v1 import errors_pb2, generation_pb2, media_pb2, models_pb2, usage_pb2
from services.gemini_proxy.answering import End, Piece, Report
from services.gemini_proxy.catalogue import MAX_IMAGES_PER_REQUEST, MediaResolution, Model
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.finishing import FinishReason, check_schema
from services.gemini_proxy.media_facts import MediaLimits, facts_of
from services.gemini_proxy.prices import Price
from services.gemini_proxy.question import (
    File,
    Priority,
    Question,
    Reference,
    Settings,
    Task,
    Text,
    Thinking,
    Turn,
)
from services.gemini_proxy.question import Piece as QuestionPiece
from services.gemini_proxy.usage import Modality, TokenUsage
from services.runtime.durations import duration_of
from services.runtime.errors import InvalidArgument

_TASKS = {
    generation_pb2.TASK_UNSPECIFIED: Task.OPEN,
    generation_pb2.TASK_OPEN: Task.OPEN,
    generation_pb2.TASK_CAPTION: Task.CAPTION,
    generation_pb2.TASK_ANSWER: Task.ANSWER,
    generation_pb2.TASK_READ_TEXT: Task.READ_TEXT,
    generation_pb2.TASK_DETECT: Task.DETECT,
}
_WITHOUT_TEXT = (Task.CAPTION, Task.READ_TEXT)
# https://ai.google.dev/api/generate-content#GenerationConfig
_MAX_STOPS = 5
_PRIORITIES = {
    generation_pb2.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    generation_pb2.PRIORITY_LOW: Priority.LOW,
    generation_pb2.PRIORITY_NORMAL: Priority.NORMAL,
    generation_pb2.PRIORITY_HIGH: Priority.HIGH,
}
_THINKING = {
    generation_pb2.THINKING_LEVEL_MINIMAL: Thinking.MINIMAL,
    generation_pb2.THINKING_LEVEL_LOW: Thinking.LOW,
    generation_pb2.THINKING_LEVEL_MEDIUM: Thinking.MEDIUM,
    generation_pb2.THINKING_LEVEL_HIGH: Thinking.HIGH,
}
_RESOLUTIONS = {
    generation_pb2.MEDIA_RESOLUTION_UNSPECIFIED: MediaResolution.UNSPECIFIED,
    generation_pb2.MEDIA_RESOLUTION_LOW: MediaResolution.LOW,
    generation_pb2.MEDIA_RESOLUTION_MEDIUM: MediaResolution.MEDIUM,
    generation_pb2.MEDIA_RESOLUTION_HIGH: MediaResolution.HIGH,
}
_FINISH_REASONS = {
    FinishReason.STOP: generation_pb2.FINISH_REASON_STOP,
    FinishReason.MAX_TOKENS: generation_pb2.FINISH_REASON_MAX_TOKENS,
    FinishReason.BLOCKED: generation_pb2.FINISH_REASON_BLOCKED,
    FinishReason.OTHER: generation_pb2.FINISH_REASON_OTHER,
}
_MODALITIES = {
    Modality.IMAGE: models_pb2.MODALITY_IMAGE,
    Modality.DOCUMENT: models_pb2.MODALITY_DOCUMENT,
    Modality.VIDEO: models_pb2.MODALITY_VIDEO,
    Modality.AUDIO: models_pb2.MODALITY_AUDIO,
}


async def question_from_proto(
    request: generation_pb2.GenerateRequest, *, model: Model, tenant: str, settings: GeminiSettings
) -> Question:
    """The question to `model` of a request that `check_generate` has passed and that has a `request_id`.

    Raises InvalidArgument where Gemini takes less than the contract allows.
    """
    task = _task(request)
    limits = MediaLimits(max_bytes=settings.max_media_bytes)
    system: list[Text] = []
    turns: list[Turn] = []
    for m, message in enumerate(request.messages):
        pieces = [await _piece(part, f"messages[{m}].parts[{p}]", limits) for p, part in enumerate(message.parts)]
        if message.role == generation_pb2.ROLE_SYSTEM:
            system += _texts_alone(pieces, f"messages[{m}]")
        else:
            turns.append(Turn(message.role == generation_pb2.ROLE_MODEL, tuple(pieces)))
    last = f"messages[{len(request.messages) - 1}]"
    if not turns or turns[-1].by_model or request.messages[-1].role == generation_pb2.ROLE_SYSTEM:
        raise InvalidArgument("the last message must be the user's", field=f"{last}.role")
    question = Question(
        model=model.name,
        task=task,
        system=tuple(system),
        turns=tuple(turns),
        settings=_settings(request.config, model, settings),
        tenant=tenant,
        request_id=request.request_id,
        priority=_PRIORITIES[request.routing.priority],
    )
    _check_task(question, f"{last}.parts")
    if sum(file.facts.modality is Modality.IMAGE for file in question.files) > MAX_IMAGES_PER_REQUEST:
        raise InvalidArgument(
            f"at most {MAX_IMAGES_PER_REQUEST:,} pictures",
            field="messages",
            reason=errors_pb2.ERROR_REASON_MEDIA_COUNT,
        )
    return question


def _task(request: generation_pb2.GenerateRequest) -> Task:
    if request.task not in _TASKS:
        raise InvalidArgument(
            f"Gemini does not do {generation_pb2.Task.Name(request.task)}",
            field="task",
            reason=errors_pb2.ERROR_REASON_TASK_UNSUPPORTED,
        )
    return _TASKS[request.task]


async def _piece(part: generation_pb2.Part, field: str, limits: MediaLimits) -> QuestionPiece:
    if part.HasField("text"):
        return Text(part.text)
    media, field = part.media, f"{field}.media"
    match media.WhichOneof("source"):
        case "data":
            facts = await facts_of(media.data, field=f"{field}.data", mime_type=media.mime_type, limits=limits)
            return File(media.data, facts, f"{field}.data")
        case "uri":
            return _reference(media, field)
    raise InvalidArgument("uploads are resolved by the gateway: send `data` or `uri`", field=f"{field}.name")


def _reference(media: media_pb2.Media, field: str) -> Reference:
    if not media.uri.startswith(("gs://", "https://")) or len(media.uri) > 2_048:
        raise InvalidArgument("a `gs://` or `https://` address of at most 2,048 characters", field=f"{field}.uri")
    if not media.mime_type:
        raise InvalidArgument(
            "say what it is: the provider fetches it and guesses nothing",
            field=f"{field}.mime_type",
            reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED,
        )
    return Reference(media.uri, media.mime_type, f"{field}.uri")


def _texts_alone(pieces: list[QuestionPiece], field: str) -> list[Text]:
    for p, piece in enumerate(pieces):
        if not isinstance(piece, Text):
            raise InvalidArgument("instructions are text", field=f"{field}.parts[{p}].media")
    return [piece for piece in pieces if isinstance(piece, Text)]


def _settings(config: generation_pb2.GenerationConfig, model: Model, settings: GeminiSettings) -> Settings:
    if config.max_tokens > model.output_tokens:
        raise InvalidArgument(
            f"{config.max_tokens} is more than {model.name} writes, {model.output_tokens}", field="config.max_tokens"
        )
    if config.json_schema:
        check_schema(config.json_schema, "config.json_schema")
    if len(config.stop) > _MAX_STOPS:
        raise InvalidArgument(f"Gemini takes at most {_MAX_STOPS} stop texts", field="config.stop")
    if config.seed > 2**31 - 1:
        raise InvalidArgument("Gemini takes seeds to 2,147,483,647", field="config.seed")
    for name, enum in (("thinking_level", _THINKING), ("media_resolution", _RESOLUTIONS)):
        if getattr(config, name) not in (0, *enum):
            raise InvalidArgument("not one of its values", field=f"config.{name}")
    return Settings(
        max_tokens=config.max_tokens or min(settings.default_max_tokens, model.output_tokens),
        temperature=config.temperature if config.HasField("temperature") else None,
        top_p=config.top_p if config.HasField("top_p") else None,
        top_k=config.top_k if config.HasField("top_k") else None,
        seed=config.seed if config.HasField("seed") else None,
        stop=tuple(config.stop),
        json_schema=config.json_schema,
        thinking=_THINKING.get(config.thinking_level),
        media_resolution=_RESOLUTIONS[config.media_resolution],
    )


def _check_task(question: Question, field: str) -> None:
    last = question.turns[-1].pieces
    texts = [piece for piece in last if isinstance(piece, Text)]
    if question.task is Task.OPEN:
        return
    if len(texts) == len(last):
        raise InvalidArgument("this task needs media", field=field, reason=errors_pb2.ERROR_REASON_MEDIA_COUNT)
    if question.task in _WITHOUT_TEXT and texts:
        raise InvalidArgument("this task takes no text", field=field)
    if question.task not in _WITHOUT_TEXT and not any(text.text.strip() for text in texts):
        raise InvalidArgument(
            "say in a text what is wanted", field=field, reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED
        )
    if question.task is Task.DETECT:
        pictures = [piece for turn in question.turns for piece in turn.pieces if not isinstance(piece, Text)]
        one = len(pictures) == 1 and isinstance(pictures[0], File)
        if not one or pictures[0].facts.modality is not Modality.IMAGE:
            raise InvalidArgument(
                "boxes are found in exactly one picture, sent in `data`",
                field=field,
                reason=errors_pb2.ERROR_REASON_MEDIA_COUNT,
            )
        if question.settings.json_schema:
            raise InvalidArgument("boxes have a form of their own", field="config.json_schema")


def event_to_proto(
    event: Piece | End, *, arrived_s: float, first_token_s: float | None
) -> generation_pb2.StreamGenerateResponse:
    """`arrived_s` and `first_token_s`: seconds from the request's arrival to now, and to its first piece."""
    if isinstance(event, Piece):
        return generation_pb2.StreamGenerateResponse(delta=generation_pb2.Delta(text=event.text))
    reports = [report for report in event.attempts if report.result is not None]
    finished = generation_pb2.Finished(
        finish_reason=_FINISH_REASONS[event.reason],
        finish_detail=event.detail,
        usage=_sum([usage_to_proto(report.result.usage, report.result.cost_nanousd) for report in reports]),
        route=generation_pb2.Route(
            attempts=[_attempt_to_proto(report) for report in event.attempts],
            time_to_first_token=duration_of(first_token_s),
            duration=duration_of(arrived_s),
        ),
        detections=[
            media_pb2.Detection(
                label=found.label,
                box=media_pb2.BoundingBox(x_min=found.x_min, y_min=found.y_min, x_max=found.x_max, y_max=found.y_max),
            )
            for found in event.detections
        ],
    )
    return generation_pb2.StreamGenerateResponse(finished=finished)


def usage_to_proto(usage: TokenUsage, cost_nanousd: int) -> usage_pb2.Usage:
    return usage_pb2.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        media_input_tokens=usage.media_tokens,
        cached_input_tokens=usage.cached_tokens,
        reasoning_output_tokens=usage.thinking,
        cost_nanousd=cost_nanousd,
    )


def _sum(usages: list[usage_pb2.Usage]) -> usage_pb2.Usage:
    names = [descriptor.name for descriptor in usage_pb2.Usage.DESCRIPTOR.fields]
    return usage_pb2.Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in names})


def _attempt_to_proto(report: Report) -> generation_pb2.Attempt:
    result = report.result
    attempt = generation_pb2.Attempt(model=f"models/{report.model}", status=report.status)
    if result is not None:
        attempt.revision = result.model
        attempt.usage.CopyFrom(usage_to_proto(result.usage, result.cost_nanousd))
        attempt.duration.CopyFrom(duration_of(result.seconds))
        if result.first_token_s is not None:
            attempt.time_to_first_token.CopyFrom(duration_of(result.first_token_s))
    return attempt


def model_to_proto(
    model: Model, price: Price, settings: GeminiSettings, *, running: int, waiting: int, ready: bool
) -> models_pb2.Model:
    return models_pb2.Model(
        name=f"models/{model.name}",
        provider="gcp.gemini",
        tasks=[task for task in _TASKS if task],
        modalities=[_MODALITIES[modality] for modality in sorted(model.modalities)],
        limits=models_pb2.ModelLimits(
            max_context_tokens=model.context_tokens,
            max_output_tokens=model.output_tokens,
            min_media=0,
            max_media=MAX_IMAGES_PER_REQUEST,
            max_media_bytes=settings.max_media_bytes,
            max_image_pixels=2**31,
        ),
        price=usage_pb2.Price(
            input_nanousd_per_million_tokens=price.input, output_nanousd_per_million_tokens=price.output
        ),
        load=models_pb2.ModelLoad(running=running, waiting=waiting),
        ready=ready,
    )
