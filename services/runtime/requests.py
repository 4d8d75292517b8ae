"""What every server checks of a request, whatever model answers."""

import json
import re
import uuid
from typing import TypeAlias

from opentelemetry import trace

from chiasm.v1 import classification_pb2, embedding_pb2, errors_pb2, generation_pb2, media_pb2, search_pb2
from services.runtime import names
from services.runtime.errors import InvalidArgument
from services.runtime.json_schema import check_involved

MAX_MESSAGES = 64
MAX_PARTS = 4_096
MAX_TEXT_BYTES = 64 * 2**10
MAX_STOPS = 8
MAX_STOP_CHARACTERS = 64
MAX_SEED = 2**63 - 1
MAX_POOL_FACTOR = 16

Request: TypeAlias = (
    generation_pb2.GenerateRequest
    | embedding_pb2.EmbedRequest
    | embedding_pb2.EmbedStreamRequest
    | classification_pb2.ClassifyRequest
    | search_pb2.SearchRequest
    | search_pb2.AskRequest
)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MODEL = re.compile(rf"models/{_NAME.pattern}(:{_NAME.pattern})?")


def check_generate(request: generation_pb2.GenerateRequest) -> None:
    """Raises InvalidArgument naming the first field that is missing or out of its range."""
    check_names(request)
    check_enum(generation_pb2.Task, request.task, "task")
    _check_messages(request)
    _check_config(request.config)
    _check_routing(request.routing)


def check_embed(request: embedding_pb2.EmbedRequest, *, max_items: int) -> None:
    """Raises InvalidArgument naming the first field that is missing or out of its range."""
    _check_embedding(request)
    if not request.items:
        raise _required("items", "send at least one item")
    if len(request.items) > max_items:
        raise InvalidArgument(f"{len(request.items)} items; at most {max_items} are taken", field="items")
    text_bytes = 0
    for i, item in enumerate(request.items):
        text_bytes += _check_part(item, f"items[{i}]", MAX_TEXT_BYTES - text_bytes)


def check_embed_stream(first: embedding_pb2.EmbedStreamRequest) -> None:
    """What the first message says of the others; its item is for `check_embed_item`.

    Raises InvalidArgument naming the first field that is out of its range.
    """
    _check_embedding(first)


def check_embed_item(item: embedding_pb2.EmbedItem, field: str) -> None:
    """Of a stream. Raises InvalidArgument naming what is missing or out of its range, as a part of `field`."""
    _check_part(item, field, MAX_TEXT_BYTES)


def check_classify(request: classification_pb2.ClassifyRequest, *, max_labels: int) -> None:
    """Raises InvalidArgument naming the first field that is missing or out of its range."""
    check_names(request)
    check_enum(classification_pb2.LabelMode, request.mode, "mode")
    check_media(request.image, "image")
    check_text(request.template, "template", MAX_TEXT_BYTES)
    if not request.labels:
        raise _required("labels", "send at least one label")
    if len(request.labels) > max_labels:
        raise InvalidArgument(f"{len(request.labels)} labels; at most {max_labels} are taken", field="labels")
    text_bytes = 0
    for i, label in enumerate(request.labels):
        text_bytes += check_text(label, f"labels[{i}]", MAX_TEXT_BYTES - text_bytes)
        if not label.strip():
            raise _required(f"labels[{i}]", "send a label that is not blank")
    if len(set(request.labels)) < len(request.labels):
        raise InvalidArgument("two labels are alike", field="labels")


def check_media(media: media_pb2.Media, field: str) -> None:
    """Raises InvalidArgument where it has no source."""
    if media.WhichOneof("source") is None:
        raise _required(field, "set `data`, `uri` or `name`")


def check_text(text: str, field: str, bytes_left: int) -> int:
    """The bytes it takes of those that a request may have of text. Raises InvalidArgument naming `field`."""
    size = len(text.encode())
    if size > bytes_left:
        raise InvalidArgument(
            f"the text has {size:,} bytes; at most {MAX_TEXT_BYTES:,} are taken in a request",
            field=field,
            reason=errors_pb2.ERROR_REASON_PROMPT_TOO_LONG,
        )
    if "\0" in text:
        raise InvalidArgument("the text holds a NUL character", field=field)
    return size


def check_name(name: str) -> None:
    """Raises ValueError on a name of a model or adapter that no request could ask for."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: 1 to 128 letters, digits, `.`, `_` or `-`, a letter or digit first")


def name_request(request: Request) -> str:
    """The request's name, made where the caller gave none, and put on the call's span."""
    request.request_id = request.request_id or uuid.uuid4().hex
    trace.get_current_span().set_attribute(names.REQUEST_ID, request.request_id)
    return request.request_id


def check_model(name: str, field: str) -> None:
    """Raises InvalidArgument where a model's name, which may be empty, is of the wrong form."""
    if name and not _MODEL.fullmatch(name):
        raise InvalidArgument("a model is named `models/NAME`", field=field)


def check_names(request: Request) -> None:
    """Raises InvalidArgument where the model's or the request's own name is of the wrong form."""
    check_model(request.model, "model")
    if request.request_id and not _REQUEST_ID.fullmatch(request.request_id):
        raise InvalidArgument("1 to 128 letters, digits, `.`, `_` or `-`", field="request_id")


def _check_embedding(request: embedding_pb2.EmbedRequest | embedding_pb2.EmbedStreamRequest) -> None:
    check_names(request)
    check_enum(embedding_pb2.TextPurpose, request.text_purpose, "text_purpose")
    check_enum(embedding_pb2.DataType, request.vectors.dtype, "vectors.dtype")
    if not 0 <= request.vectors.pool_factor <= MAX_POOL_FACTOR:
        raise InvalidArgument(
            f"{request.vectors.pool_factor} is not from 1 to {MAX_POOL_FACTOR}", field="vectors.pool_factor"
        )


def _check_messages(request: generation_pb2.GenerateRequest) -> None:
    if not request.messages:
        raise _required("messages", "send at least one message")
    if len(request.messages) > MAX_MESSAGES:
        raise InvalidArgument(f"{len(request.messages)} messages; at most {MAX_MESSAGES} are taken", field="messages")
    text_bytes = 0
    for m, message in enumerate(request.messages):
        check_enum(generation_pb2.Role, message.role, f"messages[{m}].role")
        if not message.parts:
            raise _required(f"messages[{m}].parts", "send at least one part")
        if len(message.parts) > MAX_PARTS:
            raise InvalidArgument(
                f"{len(message.parts)} parts; at most {MAX_PARTS} are taken", field=f"messages[{m}].parts"
            )
        for p, part in enumerate(message.parts):
            field = f"messages[{m}].parts[{p}]"
            text_bytes += _check_part(part, field, MAX_TEXT_BYTES - text_bytes)


def _check_part(part: generation_pb2.Part | embedding_pb2.EmbedItem, field: str, text_bytes_left: int) -> int:
    match part.WhichOneof("kind"):
        case None:
            raise _required(field, "set `text` or `media`")
        case "media":
            check_media(part.media, f"{field}.media")
            return 0
    return check_text(part.text, f"{field}.text", text_bytes_left)


def _check_config(config: generation_pb2.GenerationConfig) -> None:
    _check_range(config, "max_tokens", 1, 2**31 - 1)
    _check_range(config, "temperature", 0, 2)
    _check_range(config, "top_p", 1e-6, 1)
    _check_range(config, "top_k", 1, 2**31 - 1)
    _check_range(config, "seed", 0, MAX_SEED)
    if len(config.stop) > MAX_STOPS or any(not 1 <= len(stop) <= MAX_STOP_CHARACTERS for stop in config.stop):
        raise InvalidArgument(
            f"at most {MAX_STOPS} texts of 1 to {MAX_STOP_CHARACTERS} characters", field="config.stop"
        )
    if config.json_schema:
        _check_schema(config.json_schema)


def _check_schema(text: str) -> None:
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise InvalidArgument(f"at most {MAX_TEXT_BYTES:,} bytes", field="config.json_schema")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("not JSON", field="config.json_schema") from error
    if not isinstance(schema, dict):
        raise InvalidArgument("a schema is a JSON object", field="config.json_schema")
    try:
        check_involved(schema)
    except ValueError as error:
        raise InvalidArgument(str(error), field="config.json_schema") from None


def _check_routing(routing: generation_pb2.Routing) -> None:
    _check_range(routing, "min_confidence", 0, 1, prefix="routing")
    _check_range(routing, "max_cost_nanousd", 0, 2**63 - 1, prefix="routing")
    check_enum(generation_pb2.CacheControl, routing.cache_control, "routing.cache_control")
    check_enum(generation_pb2.Priority, routing.priority, "routing.priority")


def _check_range(message, name: str, least: float, most: float, prefix: str = "config") -> None:
    # Written so that NaN is out of range.
    if message.HasField(name) and not least <= getattr(message, name) <= most:
        raise InvalidArgument(f"{getattr(message, name)} is not from {least:g} to {most:g}", field=f"{prefix}.{name}")


def check_enum(enum, value: int, field: str) -> None:
    if value not in enum.values():
        raise InvalidArgument(f"{value} is not a {enum.DESCRIPTOR.name}", field=field)


def _required(field: str, advice: str) -> InvalidArgument:
    return InvalidArgument(f"nothing is set: {advice}", field=field, reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED)
