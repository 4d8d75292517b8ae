"""Files through the child processes that take them apart: damaged, hostile, left early, killed."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.v1 import errors_pb2
from services.embedder.documents.documents import Documents
from services.embedder.documents.limits import DocumentLimits
from services.embedder.documents.part import Part
from services.runtime.errors import InvalidArgument, Unavailable
from services.runtime.media import ImageLimits
from tests.embedder.documents.files import cuts, film_of, pdf_saying
from tests.media_files import claiming_mp4, encrypted_pdf, film, heic, pdf, picture, sound

FIELD = "document.media"


@pytest.fixture(scope="module")
def documents() -> Iterator[Documents]:
    documents = Documents(DocumentLimits(ImageLimits()), processes=1)
    yield documents
    asyncio.run(documents.close())


@pytest.fixture
async def own_documents() -> AsyncIterator[Documents]:
    documents = Documents(DocumentLimits(ImageLimits()), processes=1)
    before = set(multiprocessing.active_children())
    yield documents
    await documents.close()
    assert not set(multiprocessing.active_children()) - before


async def parts_of(documents: Documents, data: bytes, mime_type: str = "") -> list[Part]:
    async with aclosing(documents.parts(data, field=FIELD, mime_type=mime_type)) as parts:
        return [part async for part in parts]


async def refusal(documents: Documents, data: bytes, mime_type: str = "") -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        await parts_of(documents, data, mime_type)
    assert caught.value.field == FIELD
    return caught.value


async def test_each_kind_of_file_has_its_kind_of_parts(documents: Documents) -> None:
    for data, kinds in (
        (picture("GIF"), ["picture"]),
        (pdf_saying(["a", "b"]), ["page", "page"]),
        (film_of(cuts(20, 20)), ["moment", "moment"]),
        (film("video/webm"), ["moment"]),
    ):
        parts = await parts_of(documents, data)
        assert [part.kind for part in parts] == kinds
        assert [part.number for part in parts] == list(range(len(kinds)))
        assert all(part.of >= len(parts) for part in parts)


@pytest.mark.parametrize(
    ("data", "stated", "reason"),
    [
        (b"", "", errors_pb2.ERROR_REASON_FIELD_REQUIRED),
        (b"Once upon a time\n" * 100, "", errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/secret\n", "", errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED),
        (heic(), "", errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED),
        (sound("audio/wav", 1), "", errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED),
        (sound("audio/mp4", 1), "", errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED),
        (picture("PNG"), "image/jpeg", errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED),
        (pdf(), "video/mp4", errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED),
        (picture("PNG", 1, 1), "", errors_pb2.ERROR_REASON_MEDIA_SIZE),
        (picture("JPEG")[:100], "", errors_pb2.ERROR_REASON_MEDIA_CORRUPT),
        (encrypted_pdf(), "", errors_pb2.ERROR_REASON_MEDIA_CORRUPT),
        (film("video/mp4")[:400], "", errors_pb2.ERROR_REASON_MEDIA_CORRUPT),
    ],
)
async def test_what_is_not_taken_is_refused_with_its_reason(
    data: bytes, stated: str, reason: int, documents: Documents
) -> None:
    assert (await refusal(documents, data, stated)).reason == reason


async def test_what_is_taken_may_be_stated_by_any_of_its_names(documents: Documents) -> None:
    assert await parts_of(documents, pdf(), "application/x-pdf")
    assert await parts_of(documents, picture("JPEG"), "image/jpg")
    assert await parts_of(documents, film("video/mp4"), "VIDEO/MP4; codecs=mp4v")


async def test_files_and_documents_beyond_their_limits_are_refused() -> None:
    data = pdf(3)
    for limits in ({"max_bytes": len(data) - 1}, {"max_pages": 2}):
        documents = Documents(DocumentLimits(ImageLimits(), **limits), processes=1)
        assert (await refusal(documents, data)).reason == errors_pb2.ERROR_REASON_MEDIA_SIZE
        await documents.close()


@pytest.mark.parametrize(
    "data",
    [claiming_mp4(30_000_000, tracks=2), b"%PDF-1.4\n1 0 obj" + b"[" * 5_000_000],
    ids=["samples", "brackets"],
)
async def test_what_a_few_bytes_claim_is_refused_and_the_next_file_read(data: bytes, documents: Documents) -> None:
    assert (await refusal(documents, data)).reason == errors_pb2.ERROR_REASON_MEDIA_CORRUPT
    assert len(await parts_of(documents, pdf(2))) == 2


async def test_a_child_that_is_killed_fails_its_file_alone(own_documents: Documents) -> None:
    before = set(multiprocessing.active_children())
    async with aclosing(own_documents.parts(pdf_saying(["x"] * 200), field=FIELD, mime_type="")) as parts:
        await anext(parts)
        (child,) = set(multiprocessing.active_children()) - before
        child.kill()
        with pytest.raises(Unavailable, match="send it again"):
            async for _ in parts:
                pass
    assert len(await parts_of(own_documents, pdf(2))) == 2


async def test_a_file_that_takes_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.embedder.documents.documents._PART_TIMEOUT_S", 0.001)  # PDFium is not even loaded
    documents = Documents(DocumentLimits(ImageLimits()), processes=1)
    refused = await refusal(documents, pdf())
    assert (refused.reason, "more time or memory" in refused.message) == (errors_pb2.ERROR_REASON_MEDIA_SIZE, True)
    await documents.close()


async def test_a_film_that_takes_too_much_memory_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.embedder.documents.documents._CHILD_BYTES", 2**28)  # of which FFmpeg's code is half
    documents = Documents(DocumentLimits(ImageLimits()), processes=1)
    refused = await refusal(documents, film_of(iter([np.zeros((4_320, 7_680, 3), np.uint8)] * 3)))
    assert (refused.reason, "120 s and 0.25 GiB" in refused.message) == (errors_pb2.ERROR_REASON_MEDIA_SIZE, True)
    await documents.close()


async def test_a_file_that_is_left_makes_room_for_the_next(own_documents: Documents) -> None:
    async with aclosing(own_documents.parts(pdf_saying(["x"] * 500), field=FIELD, mime_type="")) as parts:
        assert (await anext(parts)).page == 1
    assert len(await parts_of(own_documents, film_of(cuts(20, 20)))) == 2


async def test_who_is_cancelled_makes_room_for_the_next(own_documents: Documents) -> None:
    many = pdf_saying(["x"] * 500)
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(own_documents.parts(many, field=FIELD, mime_type="")) as parts:
            async for _ in parts:
                begun.set()

    reading = asyncio.create_task(read())
    async with asyncio.timeout(30):
        await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(await parts_of(own_documents, pdf(2))) == 2


@cache
def samples() -> tuple[bytes, ...]:
    return (
        picture("PNG"),
        picture("JPEG"),
        picture("WEBP"),
        picture("GIF"),
        pdf_saying(["one", "two", "three"]),
        pdf(3),
        *(film_of(cuts(12, 12), mime_type) for mime_type in ("video/mp4", "video/webm", "video/x-msvideo")),
        film("video/mpeg", seconds=1, sound=True),
        film("video/x-matroska", seconds=1, sound=True),
    )


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(samples())))
    for _ in range(draw(st.integers(0, 12))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data) - 1))
        del data[start : start + draw(st.integers(1, len(data)))]
    salt = draw(st.binary(max_size=64))
    place = draw(st.integers(0, len(data)))
    return bytes(data[:place]) + salt + bytes(data[place:])


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged EXIF
@settings(max_examples=300)
@given(damaged_files())
def test_damaged_files_are_read_or_refused_and_nothing_else(documents: Documents, data: bytes) -> None:
    try:
        parts = asyncio.run(asyncio.wait_for(parts_of(documents, data), 30))
    except InvalidArgument as error:
        assert error.field == FIELD
        assert errors_pb2.ErrorReason.Name(error.reason).startswith(("ERROR_REASON_MEDIA_", "ERROR_REASON_FIELD_"))
    else:
        assert parts
        assert all(part.width > 0 and part.height > 0 and part.preview for part in parts)
        moments = [part for part in parts if part.kind == "moment"]
        assert all(part.start_s < part.end_s for part in moments)
        assert all(before.end_s == after.start_s for before, after in pairwise(moments))
