"""PDFs as pages: their pictures, their texts, and what is refused."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from chiasm.v1 import errors_pb2
from services.embedder.documents.limits import DocumentLimits
from services.embedder.documents.pages import pages
from services.embedder.documents.part import Part, Refused
from services.runtime.media import ImageLimits
from tests.embedder.documents.files import pdf_saying
from tests.media_files import encrypted_pdf, pdf


def pages_of(data: bytes, **limits: int) -> list[Part]:
    return list(pages(data, DocumentLimits(ImageLimits(), **limits)))


def refusal(data: bytes, **limits: int) -> Refused:
    with pytest.raises(Refused) as caught:
        pages_of(data, **limits)
    return caught.value


def size_of(picture: bytes) -> tuple[int, int]:
    return Image.open(BytesIO(picture)).size


def test_each_page_has_its_picture_its_text_and_its_number() -> None:
    parts = pages_of(pdf_saying(["Annual report", "Income", ""], 300, 400))
    assert [(part.kind, part.number, part.page, part.text) for part in parts] == [
        ("page", 0, 1, "Annual report"),
        ("page", 1, 2, "Income"),
        ("page", 2, 3, ""),
    ]
    for part in parts:
        assert (part.width, part.height) == (300, 400)
        assert size_of(part.preview) == (768, 1_024)
        assert part.picture is part.preview
        image = np.asarray(Image.open(BytesIO(part.picture)), float)
        assert np.allclose(image[-100, 100], (255, 0, 0), atol=12)  # the square that the page shows
        assert np.allclose(image[-100, -100], (255, 255, 255), atol=12)


@pytest.mark.parametrize(
    ("points", "pixels"),
    [((612, 792), (791, 1_024)), ((20, 20), (1_024, 1_024)), ((14_400, 3), (1_024, 2)), ((3, 14_400), (2, 1_024))],
)
def test_a_page_of_any_size_is_drawn_as_large_as_models_read(points: Sequence[int], pixels: Sequence[int]) -> None:
    (part,) = pages_of(pdf_saying(["x"], *points))
    assert (part.width, part.height) == points
    assert size_of(part.picture) == pytest.approx(pixels, abs=1)
    assert max(size_of(part.picture)) == 1_024


def test_a_turned_page_is_upright() -> None:
    (part,) = pages_of(pdf_saying(["x"], 300, 400).replace(b"/MediaBox", b"/Rotate 90/MediaBox"))
    assert (part.width, part.height) == (400, 300)
    assert size_of(part.picture) == (1_024, 768)


def test_a_page_says_no_more_than_can_be_kept() -> None:
    line = "abcdefghij" * 1_000
    (part,) = pages_of(pdf_saying([") Tj (".join([line] * 10)]))
    assert part.text == (line * 10)[:65_536]


def test_a_pdf_without_a_table_of_its_objects_is_read() -> None:
    data = pdf_saying(["Found", "again"])
    parts = pages_of(data[: data.index(b"xref")] + b"trailer\n<</Root 1 0 R>>\n")
    assert [part.text for part in parts] == ["Found", "again"]


@pytest.mark.parametrize(
    ("data", "reason", "said"),
    [
        (encrypted_pdf(), errors_pb2.ERROR_REASON_MEDIA_CORRUPT, "encrypted"),
        (pdf_saying(["x"])[:200], errors_pb2.ERROR_REASON_MEDIA_CORRUPT, "damaged"),
        (b"%PDF-1.7\n", errors_pb2.ERROR_REASON_MEDIA_CORRUPT, "damaged"),
        (pdf(0), errors_pb2.ERROR_REASON_MEDIA_CORRUPT, "damaged"),
    ],
    ids=["encrypted", "cut", "header alone", "no pages"],
)
def test_what_cannot_be_read_is_refused(data: bytes, reason: int, said: str) -> None:
    refused = refusal(data)
    assert refused.refusal.reason == reason
    assert said in refused.refusal.message


def test_a_page_that_cannot_be_read_is_named() -> None:
    data = pdf_saying(["one", "two", "three"])
    broken = data.replace(b"Kids[4 0 R 6 0 R", b"Kids[4 0 R 3 0 R")  # which is a font
    assert "page 2" in refusal(broken).refusal.message


def test_a_page_whose_size_no_answer_could_tell_is_refused() -> None:
    refused = refusal(pdf_saying(["one"], 2_147_483_600, 5))
    assert refused.refusal.reason == errors_pb2.ERROR_REASON_MEDIA_SIZE
    assert "page 1" in refused.refusal.message


def test_more_pages_than_are_taken_are_refused() -> None:
    assert [part.of for part in pages_of(pdf(3), max_pages=3)] == [3, 3, 3]
    refused = refusal(pdf(3), max_pages=2)
    assert refused.refusal.reason == errors_pb2.ERROR_REASON_MEDIA_SIZE
    assert "3 pages" in refused.refusal.message
