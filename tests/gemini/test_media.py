"""Tokens of media by the rules of each family, and media by every way in."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from google.genai import errors, types
from google.genai.client import AsyncClient
from PIL import Image

from tests.gemini.config import Fault, FaultRule, default_config
from tests.gemini.conftest import Clock, client_of, directed
from tests.gemini.server import Emulator, emulator
from tests.gemini.tokens import Facts, media_tokens, tiles

OLD, NEW = "gemini-2.5-flash", "gemini-3.8-flash"


def picture(width: int, height: int, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, kind, **options)
    return file.getvalue()


def pdf(pages: int) -> bytes:
    more = [Image.new("RGB", (60, 80), "blue")] * (pages - 1)
    return picture(60, 80, "PDF", save_all=True, append_images=more)


def video(seconds: int, *, sound: bool) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        audio = container.add_stream("aac", rate=8_000) if sound else None
        for _ in range(10 * seconds):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode())
        if audio:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8_000 * seconds), np.float32), "fltp", "mono")
            silence.sample_rate = 8_000
            container.mux(audio.encode(silence))
            container.mux(audio.encode())
    return file.getvalue()


def wave(seconds: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8_000 * seconds), np.int16), "s16", "mono")
        silence.sample_rate = 8_000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(384, 384, 1), (1, 1, 1), (385, 384, 4), (960, 540, 6), (1024, 1024, 4), (3000, 600, 16), (540, 960, 6)],
)
def test_tiles_of_a_2x_image(width: int, height: int, expected: int) -> None:
    assert tiles(width, height) == expected


@pytest.mark.parametrize(
    ("kind", "facts", "model", "level", "clip", "expected"),
    [
        ("image", Facts(960, 540), OLD, "", {}, {"IMAGE": 6 * 258}),
        ("image", Facts(960, 540), NEW, "", {}, {"IMAGE": 1120}),
        ("image", Facts(960, 540), NEW, "LOW", {}, {"IMAGE": 280}),
        ("image", Facts(960, 540), NEW, "MEDIUM", {}, {"IMAGE": 560}),
        ("image", Facts(960, 540), NEW, "ULTRA_HIGH", {}, {"IMAGE": 2240}),
        ("application", Facts(pages=3), OLD, "LOW", {}, {"DOCUMENT": 3 * 258}),
        ("application", Facts(pages=3), NEW, "", {}, {"DOCUMENT": 3 * 560}),
        ("application", Facts(pages=3), NEW, "HIGH", {}, {"DOCUMENT": 3 * 1120}),
        ("audio", Facts(seconds=9.5), OLD, "", {}, {"AUDIO": 304}),
        ("audio", Facts(seconds=9.5), NEW, "", {}, {"AUDIO": 238}),
        ("video", Facts(seconds=10), OLD, "", {}, {"VIDEO": 2580}),
        ("video", Facts(seconds=10), OLD, "LOW", {}, {"VIDEO": 660}),
        ("video", Facts(seconds=10), NEW, "HIGH", {}, {"VIDEO": 2800}),
        ("video", Facts(seconds=10, sound=True), NEW, "", {"fps": 2}, {"VIDEO": 1400, "AUDIO": 250}),
        ("video", Facts(seconds=10), NEW, "", {"start_offset": "2s", "endOffset": "6s"}, {"VIDEO": 280}),
        ("video", Facts(seconds=0.2), NEW, "", {"fps": 0.5}, {"VIDEO": 70}),
    ],
)
def test_tokens_of_media(
    kind: str, facts: Facts, model: str, level: str, clip: dict[str, Any], expected: dict[str, int]
) -> None:
    assert media_tokens(kind, facts, model, level, clip) == Counter(expected)


async def modalities(client: AsyncClient, *parts: types.Part, model: str = NEW, **config: Any) -> dict[str, int]:
    answer = await client.models.generate_content(model=model, contents=list(parts), config=config)
    details = answer.usage_metadata.prompt_tokens_details
    assert sum(detail.token_count for detail in details) == answer.usage_metadata.prompt_token_count
    return {detail.modality.value: detail.token_count for detail in details}


async def test_inline_media_are_read_from_their_headers(gemini: Emulator, client: AsyncClient) -> None:
    image = types.Part.from_bytes(data=picture(960, 540, "JPEG"), mime_type="image/jpeg")
    document = types.Part.from_bytes(data=pdf(3), mime_type="application/pdf")
    film = types.Part.from_bytes(data=video(4, sound=False), mime_type="video/mp4")
    loud = types.Part.from_bytes(data=video(4, sound=True), mime_type="video/mp4")
    speech = types.Part.from_bytes(data=wave(6), mime_type="audio/wav")
    text = types.Part.from_text(text="What?")
    assert await modalities(client, text, image, document) == {"TEXT": 2, "IMAGE": 1120, "DOCUMENT": 1680}
    assert await modalities(client, image, image, model=OLD) == {"IMAGE": 2 * 6 * 258}
    assert await modalities(client, image, document, media_resolution="MEDIA_RESOLUTION_LOW") == {
        "IMAGE": 280,
        "DOCUMENT": 840,
    }
    assert await modalities(client, film, model=OLD) == {"VIDEO": 4 * 258}
    assert await modalities(client, speech) == {"AUDIO": 150}
    assert (await modalities(client, loud))["AUDIO"] == pytest.approx(100, abs=5)
    image.media_resolution = types.PartMediaResolution(level="MEDIA_RESOLUTION_ULTRA_HIGH")
    assert await modalities(client, image, media_resolution="MEDIA_RESOLUTION_LOW") == {"IMAGE": 2240}
    film.video_metadata = types.VideoMetadata(fps=5, start_offset="1s", end_offset="3s")
    assert await modalities(client, film) == {"VIDEO": 10 * 70}
    assert gemini.bill.lines[0].usage.input == {"TEXT": 2, "IMAGE": 1120, "DOCUMENT": 1680}


async def test_the_system_instruction_counts(client: AsyncClient) -> None:
    assert await modalities(client, types.Part.from_text(text="1234"), system_instruction="12345678") == {"TEXT": 3}


# google-genai hands 8 MiB at once to aiohttp, which warns of more than one.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_file_is_uploaded_in_pieces_processed_and_used(gemini: Emulator, client: AsyncClient) -> None:
    data = picture(960, 540, "BMP") + bytes(16 * 2**20)  # what follows a BMP is of no matter
    file = await client.files.upload(
        file=io.BytesIO(data), config={"mime_type": "image/bmp", "display_name": "a frog", "name": "frog"}
    )
    assert (file.name, file.display_name, file.state) == ("files/frog", "a frog", "PROCESSING")
    assert file.size_bytes == len(data)
    with pytest.raises(errors.ClientError, match="not in an ACTIVE state"):
        await modalities(client, types.Part.from_uri(file_uri=file.uri, mime_type="image/bmp"))
    assert [(await client.files.get(name=file.name)).state for _ in range(2)] == ["PROCESSING", "ACTIVE"]
    for model, tokens in ((NEW, 1120), (OLD, 6 * 258)):
        part = types.Part.from_uri(file_uri=file.uri, mime_type="image/bmp")
        assert await modalities(client, part, model=model) == {"IMAGE": tokens}
    assert [f.name async for f in await client.files.list()] == ["files/frog"]
    with pytest.raises(errors.ClientError, match="already exists"):
        await client.files.upload(file=io.BytesIO(b"x"), config={"mime_type": "image/png", "name": "frog"})
    await client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError) as caught:
        await modalities(client, types.Part.from_uri(file_uri=file.uri, mime_type="image/bmp"))
    assert caught.value.code == 403
    assert len(gemini.bill.lines) == 2


async def test_files_end_after_48_hours_and_are_the_projects_own(clock: Clock) -> None:
    async with emulator(default_config(file_polls=0), clock=clock) as gemini, client_of(gemini.base_url) as client:
        file = await client.files.upload(file=io.BytesIO(picture(9, 9)), config={"mime_type": "image/png"})
        assert (file.expiration_time - file.create_time).total_seconds() == 48 * 3600
        clock.now_s += 48 * 3600 - 1
        assert (await client.files.get(name=file.name)).state == "ACTIVE"
        clock.now_s += 1
        with pytest.raises(errors.ClientError, match="may not exist"):
            await client.files.get(name=file.name)


async def test_a_file_may_fail(client: AsyncClient, gemini: Emulator) -> None:
    gemini.faults.rules = (FaultRule(Fault("file_failed", times=1), at="upload"),)
    states = []
    for _ in range(2):
        file = await client.files.upload(file=io.BytesIO(picture(9, 9)), config={"mime_type": "image/png"})
        await client.files.get(name=file.name)
        states.append((await client.files.get(name=file.name)).state.value)
    assert states == ["FAILED", "ACTIVE"]


async def test_remote_media_are_where_the_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(picture(960, 540))
    uri = "gs://bucket/cat.png"
    async with (
        emulator(default_config(remote={uri: str(tmp_path / "cat.png")})) as gemini,
        client_of(gemini.base_url, vertex=True) as vertex,
    ):
        part = types.Part.from_uri(file_uri=uri, mime_type="image/png")
        assert await modalities(vertex, part, types.Part.from_text(text=directed(answer="x"))) != {}
        counted = await vertex.models.count_tokens(model=NEW, contents=part)
        assert counted.total_tokens == 1120
