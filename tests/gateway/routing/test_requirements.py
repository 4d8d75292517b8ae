"""What is read of a request, from its headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2, media_pb2, models_pb2
from services.gateway.routing.requirements import Requirements
from tests.gateway.routing.asks import PNG, ask, request

IMAGE, DOCUMENT = models_pb2.MODALITY_IMAGE, models_pb2.MODALITY_DOCUMENT
VIDEO, AUDIO = models_pb2.MODALITY_VIDEO, models_pb2.MODALITY_AUDIO


@pytest.mark.parametrize(
    ("media", "modality"),
    [
        (media_pb2.Media(data=PNG), IMAGE),
        (media_pb2.Media(data=PNG, mime_type="video/mp4"), IMAGE),  # the bytes decide
        (media_pb2.Media(data=b"\0\0\0\x18ftypheic" + bytes(9)), IMAGE),
        (media_pb2.Media(data=b"\0\0\0\x18ftypisom" + bytes(9)), VIDEO),
        (media_pb2.Media(data=b"\0\0\0\x18ftypM4A " + bytes(9)), AUDIO),
        (media_pb2.Media(data=b"RIFF\0\0\0\0AVI LIST"), VIDEO),
        (media_pb2.Media(data=b"RIFF\0\0\0\0WAVEfmt "), AUDIO),
        (media_pb2.Media(data=b"\n%PDF-1.7\n"), DOCUMENT),
        (media_pb2.Media(data=b"ID3\4"), AUDIO),
        (media_pb2.Media(data=b"?", mime_type="audio/midi"), AUDIO),
        (media_pb2.Media(data=b"?"), None),
        (media_pb2.Media(uri="gs://bucket/film.mp4"), VIDEO),
        (media_pb2.Media(uri="gs://bucket/page.pdf"), DOCUMENT),
        (media_pb2.Media(uri="gs://bucket/thing", mime_type="image/png"), IMAGE),
        (media_pb2.Media(uri="gs://bucket/thing"), None),
    ],
)
async def test_the_modality_is_told_by_the_bytes_or_else_by_the_name(media: media_pb2.Media, modality: int) -> None:
    (need,) = Requirements.of(ask(request("what?", media))).media
    assert need.modality == modality
    assert need.remote == (media.WhichOneof("source") == "uri")


async def test_the_rest_is_read_off_the_request() -> None:
    asked = request("how many?" * 10, PNG, PNG, task=generation_pb2.TASK_UNSPECIFIED)
    asked.config.max_tokens = 5
    needs = Requirements.of(ask(asked, pixels=123))
    assert needs.task == generation_pb2.TASK_OPEN
    assert [need.field for need in needs.media] == ["messages[0].parts[0].media", "messages[0].parts[1].media"]
    assert (needs.pixels, needs.max_tokens, needs.conversation, needs.json_schema) == (123, 5, False, False)
    assert needs.text_tokens == 90 // 3 + 8


@given(data=st.binary(max_size=64))
async def test_any_bytes_are_of_some_kind_or_none(data: bytes) -> None:
    (need,) = Requirements.of(ask(request("what?", media_pb2.Media(data=data)))).media
    assert need.modality in (None, IMAGE, DOCUMENT, VIDEO, AUDIO)
