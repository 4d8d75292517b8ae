"""What a request needs of a model, from headers alone: nothing is decoded."""

import mimetypes
from dataclasses import dataclass

from chiasm.v1 import generation_pb2, media_pb2, models_pb2
from services.gateway.answerer import Ask
from services.runtime.media_types import picture_type

# SentencePiece's tokens are about four bytes of most scripts (https://ai.google.dev/gemini-api/docs/tokens). Fewer are
# reckoned with: a model that is thought too small costs a little more, one that is too small costs the answer.
_BYTES_PER_TOKEN = 3
_TOKENS_PER_MESSAGE = 8

_MODALITIES = {
    "image": models_pb2.MODALITY_IMAGE,
    "video": models_pb2.MODALITY_VIDEO,
    "audio": models_pb2.MODALITY_AUDIO,
    "application/pdf": models_pb2.MODALITY_DOCUMENT,
}


@dataclass(frozen=True)
class MediaNeed:
    """A media of the request."""

    field: str
    """Where it stands, as a path such as `messages[0].parts[1].media`."""
    modality: int | None
    """A `models_pb2.Modality`; None where neither its bytes nor its name tell."""
    bytes: int
    """0 for one that the provider reads by itself."""
    remote: bool
    """Whether the provider has to read it by itself."""


@dataclass(frozen=True)
class Requirements:
    """What an answer needs."""

    task: int
    """A `generation_pb2.Task`, never unspecified."""
    media: tuple[MediaNeed, ...]
    pixels: int
    """Of all pictures, as they decode."""
    text_tokens: int
    """An estimate, rather too high."""
    max_tokens: int | None
    """Most tokens to write; None leaves it to the model."""
    conversation: bool
    """Whether there is more than one turn by the user with one text."""
    json_schema: bool

    @classmethod
    def of(cls, ask: Ask) -> "Requirements":
        """Those of a request that was checked."""
        request = ask.request
        texts = [part.text for message in request.messages for part in message.parts if part.HasField("text")]
        text_bytes = sum(len(text.encode()) for text in (*texts, request.config.json_schema))
        return cls(
            task=request.task or generation_pb2.TASK_OPEN,
            media=tuple(
                _media_need(part.media, f"messages[{m}].parts[{p}].media")
                for m, message in enumerate(request.messages)
                for p, part in enumerate(message.parts)
                if part.HasField("media")
            ),
            pixels=ask.weight.pixels,
            text_tokens=text_bytes // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * len(request.messages),
            max_tokens=request.config.max_tokens if request.config.HasField("max_tokens") else None,
            conversation=len(request.messages) > 1
            or len(texts) > 1
            or request.messages[0].role == generation_pb2.ROLE_SYSTEM,
            json_schema=bool(request.config.json_schema),
        )


def _media_need(item: media_pb2.Media, field: str) -> MediaNeed:
    remote = item.WhichOneof("source") != "data"
    stated = item.mime_type or (mimetypes.guess_type(item.uri)[0] or "" if remote else "")
    data = item.data  # a copy, each time
    return MediaNeed(field, _modality(_sniffed(data) or stated), len(data), remote)


def _modality(mime_type: str) -> int | None:
    return _MODALITIES.get(mime_type) or _MODALITIES.get(mime_type.partition("/")[0])


def _sniffed(data: bytes) -> str:
    """What the first bytes say, as finely as routing needs it; empty where they say nothing."""
    head = data[:1024]
    if picture := picture_type(head):
        return picture.mime_type
    if b"%PDF-" in head:  # readers accept a header within the first KiB
        return "application/pdf"
    if head[4:8] == b"ftyp":  # https://mp4ra.org/registered-types/brands
        brand = head[8:12]
        if brand in (b"avif", b"avis", b"mif1", b"msf1", b"heif", b"heic", b"heix", b"heim", b"heis"):
            return "image/heif"
        return "audio/mp4" if brand.startswith(b"M4A") else "video/mp4"
    return next((mime for starts, mime in _SIGNATURES.items() if head.startswith(starts)), _riff(head))


def _riff(head: bytes) -> str:
    return {b"AVI ": "video/x-msvideo", b"WAVE": "audio/wav"}.get(head[8:12], "") if head.startswith(b"RIFF") else ""


_SIGNATURES = {
    b"\x1aE\xdf\xa3": "video/webm",
    b"\x00\x00\x01\xba": "video/mpeg",
    b"\x00\x00\x01\xb3": "video/mpeg",
    b"OggS": "audio/ogg",
    b"fLaC": "audio/flac",
    b"FORM": "audio/aiff",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
    b"\xff\xf3": "audio/mpeg",
    b"\xff\xf1": "audio/aac",
    b"\xff\xf9": "audio/aac",
}
