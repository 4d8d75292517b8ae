"""What requests weigh."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chiasm.v1.embedding_pb2 import EmbedItem, EmbedRequest
from chiasm.v1.generation_pb2 import GenerateRequest, Message, Part
from chiasm.v1.media_pb2 import Media
from services.gateway.answerer import Weight
from services.gateway.media.weighing import weigh


def picture(kind: str, width: int = 320, height: int = 200, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind)
    return buffer.getvalue()


def request(*files: bytes) -> GenerateRequest:
    return GenerateRequest(messages=[Message(parts=[Part(text="x"), Part(media=Media(data=data))]) for data in files])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_pictures_weigh_their_pixels(kind: str) -> None:
    data = picture(kind)
    assert await weigh(request(data, data)) == Weight(bytes=2 * len(data), pixels=2 * 320 * 200)


async def test_a_great_picture_is_not_decoded() -> None:
    data = picture("PNG", 20_000, 10_000, mode="1")
    assert await weigh(request(data)) == Weight(bytes=len(data), pixels=200_000_000)


async def test_other_media_weigh_their_bytes() -> None:
    names = [Media(name="media/x"), Media(uri="gs://bucket/x"), Media(data=b"%PDF-1.7"), Media(data=b"")]
    items = [EmbedItem(text="a text"), *(EmbedItem(media=media) for media in names)]
    assert await weigh(EmbedRequest(items=items)) == Weight(bytes=8, pixels=0)
    assert await weigh(GenerateRequest()) == Weight(bytes=0, pixels=0)


PICTURES = [picture(kind, 8, 8) for kind in ("PNG", "JPEG", "WEBP", "GIF")]


@given(st.sampled_from(PICTURES), st.integers(0, 2_000), st.binary(max_size=64))
async def test_damaged_files_weigh_their_bytes_at_least(data: bytes, at: int, noise: bytes) -> None:
    data = data[:at] + noise
    weight = await weigh(request(data))
    assert weight.bytes == len(data)
    assert weight.pixels >= 0
