"""Every kind of bad request, what it must be answered with, and the field that must be named."""

from dataclasses import dataclass

import grpc

from chiasm.v1 import generation_pb2, media_pb2
from tests.pictures import bad_images, scene_png

IMAGE_FIELD = "messages[0].parts[0].media.data"
TEXT_FIELD = "messages[0].parts[1].text"


@dataclass(frozen=True)
class BadRequest:
    request: generation_pb2.GenerateRequest
    field: str
    reason: str
    code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT


def bad_requests() -> dict[str, BadRequest]:
    """What is wrong -> the request and its answer."""
    _, png = scene_png()
    cases = {name: BadRequest(_ask(image=data), IMAGE_FIELD, reason) for name, (data, reason) in bad_images().items()}
    return cases | {
        "two images": BadRequest(_ask(extra=[_image(png)]), "messages[0].parts[2].media", "MEDIA_COUNT"),
        "no image": BadRequest(_request([_text("why?")]), "messages[0].parts", "MEDIA_COUNT"),
        "empty prompt": BadRequest(_ask(text=""), TEXT_FIELD, "FIELD_REQUIRED"),
        "blank prompt": BadRequest(_ask(text=" \n"), TEXT_FIELD, "FIELD_REQUIRED"),
        "1 MB prompt": BadRequest(_ask(text="why " * 2**18), TEXT_FIELD, "PROMPT_TOO_LONG"),
        "prompt beyond the context": BadRequest(_ask(text="why not? " * 600), TEXT_FIELD, "PROMPT_TOO_LONG"),
        "prompt with NUL": BadRequest(_ask(text="why\0not"), TEXT_FIELD, "FIELD_INVALID"),
        "prompt with a control token": BadRequest(_ask(text="what <image> is it?"), TEXT_FIELD, "FIELD_INVALID"),
        "no messages": BadRequest(generation_pb2.GenerateRequest(), "messages", "FIELD_REQUIRED"),
        "two turns": BadRequest(_ask(turns=2), "messages", "FIELD_INVALID"),
        "unknown model": BadRequest(_ask(model="models/absent"), "model", "MODEL_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
        "malformed model": BadRequest(_ask(model="../etc/passwd"), "model", "FIELD_INVALID"),
    }


def _ask(
    *,
    image: bytes | None = None,
    text: str = "how many shapes are there?",
    model: str = "",
    turns: int = 1,
    extra: tuple | list = (),
) -> generation_pb2.GenerateRequest:
    data = scene_png()[1] if image is None else image
    return _request([_image(data), _text(text), *extra], model=model, turns=turns)


def _request(parts: list[generation_pb2.Part], model: str = "", turns: int = 1) -> generation_pb2.GenerateRequest:
    message = generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=parts)
    return generation_pb2.GenerateRequest(model=model, task=generation_pb2.TASK_ANSWER, messages=[message] * turns)


def _image(data: bytes) -> generation_pb2.Part:
    return generation_pb2.Part(media=media_pb2.Media(data=data))


def _text(text: str) -> generation_pb2.Part:
    return generation_pb2.Part(text=text)
