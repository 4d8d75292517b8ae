"""Reading pictures' text by the real engine, in its own process."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from PIL import Image

from models.world.page import sample_page
from models.world.sign import sample_sign
from services.gateway.cascade import ocr
from services.gateway.cascade.ocr import IN_HAND, TextReader
from tests.pictures import bad_images, encoded, png_header

SIGN = (Path(__file__).parents[3] / "docs" / "sign.png").read_bytes()
SIGN_TEXT = "QHJY"
GRACE_S = 60.0
_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def reader() -> Iterator[TextReader]:
    before = set(multiprocessing.active_children())
    reader = TextReader(1)
    yield reader
    asyncio.run(reader.close())
    assert not set(multiprocessing.active_children()) - before


async def read(reader: TextReader, *pictures: bytes, within_s: float = GRACE_S) -> list[str] | None:
    found = await reader.read(pictures, asyncio.get_running_loop().time() + within_s)
    assert found is None or all(0 <= line.score <= 1 for line in found)
    return None if found is None else [line.text for line in found]


async def test_text_of_one_picture_and_of_several(reader: TextReader) -> None:
    page = sample_page(3)
    texts = await read(reader, SIGN, encoded(page.draw(448, 448), "JPEG"))
    assert texts[0] == SIGN_TEXT
    assert " ".join(texts[1:]).split() == [page.heading.text, *(word.text for word in page.words)]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_every_kind_of_picture_is_read(reader: TextReader, kind: str) -> None:
    sign = sample_sign(4)
    assert await read(reader, encoded(sign.draw(448, 448), kind)) == [sign.text]


async def test_a_picture_is_read_upright(reader: TextReader) -> None:
    sign, exif = sample_sign(4), Image.Exif()
    exif[_ORIENTATION] = 6  # to be turned by a quarter, clockwise
    lying = sign.draw(448, 448).transpose(Image.Transpose.ROTATE_90)
    assert await read(reader, encoded(lying, "JPEG", exif=exif)) == [sign.text]


async def test_a_picture_without_text_has_none(reader: TextReader) -> None:
    assert await read(reader, encoded(Image.new("RGB", (64, 64)))) == []


async def test_what_is_no_picture_that_is_read_leaves_the_check_out(reader: TextReader) -> None:
    for data in (*(data for data, _ in bad_images().values()), png_header(30_000, 30_000)):
        assert await read(reader, data) is None
    assert await read(reader, SIGN, b"%PDF-1.7") is None
    assert await read(reader, SIGN) == [SIGN_TEXT]


async def test_what_comes_too_late_is_left_out_and_the_next_is_read(reader: TextReader) -> None:
    for within_s in (-1, 0, 0.001):
        assert await read(reader, SIGN, within_s=within_s) is None
    assert await read(reader, SIGN) == [SIGN_TEXT]


async def test_more_than_may_wait_are_left_out_at_once(reader: TextReader) -> None:
    calls = [asyncio.create_task(read(reader, SIGN)) for _ in range(IN_HAND)]
    await asyncio.sleep(0)
    assert await read(reader, SIGN) is None
    assert not any(call.done() for call in calls)
    assert await asyncio.gather(*calls) == IN_HAND * [[SIGN_TEXT]]
    assert await read(reader, SIGN) == [SIGN_TEXT]


async def test_who_leaves_makes_room(reader: TextReader) -> None:
    for _ in range(3):
        calls = [asyncio.create_task(read(reader, SIGN)) for _ in range(IN_HAND)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert all(call.cancelled() for call in calls)
    assert await read(reader, SIGN) == [SIGN_TEXT]


async def test_a_process_that_ends_is_told_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "_PICTURE_TIMEOUT_S", 0.01)  # the engine takes longer to start
    reader = TextReader(1)
    assert await read(reader, SIGN) is None
    assert [record.why for record in caplog.records] == ["the child ended with -14"]
    await reader.close()


async def test_what_became_of_readings_is_counted(reader: TextReader, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = InMemoryMetricReader()
    counter = MeterProvider([metrics]).get_meter("test").create_counter("readings")
    monkeypatch.setattr(ocr, "_readings", counter)
    calls = [asyncio.create_task(read(reader, SIGN)) for _ in range(IN_HAND)]
    await asyncio.sleep(0)
    await read(reader, SIGN)
    await asyncio.gather(*calls)
    await read(reader, SIGN, within_s=0)
    await read(reader, SIGN[:100])
    (resource,) = metrics.get_metrics_data().resource_metrics
    points = resource.scope_metrics[0].metrics[0].data.data_points
    counts = {point.attributes["outcome"]: point.value for point in points}
    assert counts == {"read": IN_HAND, "busy": 1, "late": 1, "unreadable": 1}
