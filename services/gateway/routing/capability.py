"""Whether a model can do what a request needs, by what its server says of it."""

from collections.abc import Iterator

from chiasm.v1 import errors_pb2, generation_pb2, models_pb2
from services.gateway.routing.plan import Cause, Refusal
from services.gateway.routing.requirements import Requirements

_TASKS = {
    generation_pb2.TASK_OPEN: "answer open prompts",
    generation_pb2.TASK_CAPTION: "caption",
    generation_pb2.TASK_ANSWER: "answer questions",
    generation_pb2.TASK_READ_TEXT: "read text",
    generation_pb2.TASK_DETECT: "detect",
    generation_pb2.TASK_SEGMENT: "segment",
}
# ModelService does not tell these of a model; they go with who runs it.
_ONE_QUESTION_ALONE = {"vllm"}
_WITHOUT_SCHEMAS = {"vllm"}
_READS_BY_ITSELF = {"gcp.gemini"}


def shortcoming(needs: Requirements, model: models_pb2.Model, input_tokens: int) -> Refusal | None:
    """The first thing that `model` cannot do; None where it can do all.

    `input_tokens` is what it is thought to read of the request.
    """
    return next(_shortcomings(needs, model, input_tokens), None)


def _shortcomings(needs: Requirements, model: models_pb2.Model, input_tokens: int) -> Iterator[Refusal]:
    if needs.task not in model.tasks:
        yield _refusal(f"does not {_TASKS[needs.task]}", "task", errors_pb2.ERROR_REASON_TASK_UNSUPPORTED)
    yield from _about_media(needs, model)
    if needs.conversation and model.provider in _ONE_QUESTION_ALONE:
        yield _refusal("takes a single turn with one text", "messages")
    if needs.json_schema and model.provider in _WITHOUT_SCHEMAS:
        yield _refusal("does not write JSON to a schema", "config.json_schema")
    yield from _about_tokens(needs, model.limits, input_tokens)


def _about_media(needs: Requirements, model: models_pb2.Model) -> Iterator[Refusal]:
    for media in needs.media:
        if media.modality and media.modality not in model.modalities:
            kind = models_pb2.Modality.Name(media.modality).removeprefix("MODALITY_").lower()
            yield _refusal(f"cannot read {kind}", media.field, errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED)
        if media.remote and model.provider not in _READS_BY_ITSELF:
            yield _refusal("cannot fetch media by itself", media.field)
    if not model.HasField("limits"):
        return
    limits, count = model.limits, len(needs.media)
    if not limits.min_media <= count <= limits.max_media:
        fixed = limits.min_media == limits.max_media
        takes = f"{limits.min_media}" if fixed else f"{limits.min_media} to {limits.max_media}"
        yield _refusal(f"takes {takes} media, not {count}", "messages", errors_pb2.ERROR_REASON_MEDIA_COUNT)
    for media in needs.media:
        if 0 < limits.max_media_bytes < media.bytes:
            yield _refusal(
                f"takes media of {limits.max_media_bytes:,} bytes at most",
                media.field,
                errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
    # Of several pictures only the sum is known, and the greatest is no smaller than their mean.
    if 0 < limits.max_image_pixels * count < needs.pixels:
        yield _refusal(
            f"takes pictures of {limits.max_image_pixels:,} pixels at most",
            needs.media[0].field,
            errors_pb2.ERROR_REASON_MEDIA_SIZE,
        )


def _about_tokens(needs: Requirements, limits: models_pb2.ModelLimits, input_tokens: int) -> Iterator[Refusal]:
    if 0 < limits.max_output_tokens < (needs.max_tokens or 1):
        yield _refusal(f"writes {limits.max_output_tokens:,} tokens at most", "config.max_tokens")
    if 0 < limits.max_context_tokens < input_tokens + (needs.max_tokens or 1):
        yield _refusal(
            f"holds {limits.max_context_tokens:,} tokens, read and written",
            "messages",
            errors_pb2.ERROR_REASON_PROMPT_TOO_LONG,
        )


def _refusal(why: str, field: str, reason: errors_pb2.ErrorReason = errors_pb2.ERROR_REASON_FIELD_INVALID) -> Refusal:
    return Refusal(Cause.CAPABILITY, why, field, reason)
