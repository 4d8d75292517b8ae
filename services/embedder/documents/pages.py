"""The pages of a PDF. Only in a child process: what a few bytes claim can take gigabytes, or a crash."""

from collections.abc import Iterator

import pypdfium2
from pypdfium2 import PdfDocument, PdfiumError, PdfPage

from chiasm.v1 import errors_pb2
from services.embedder.documents.limits import DocumentLimits
from services.embedder.documents.part import Part, Refused
from services.embedder.documents.previews import SIDE, jpeg, shrunk

_MAX_CHARACTERS = 65_536
_MAX_POINTS = 1_000_000  # 350 metres


def pages(data: bytes, limits: DocumentLimits) -> Iterator[Part]:
    """Each page, drawn when it is asked for. A PDF of which a page cannot be read is not read past it.

    Raises Refused.
    """
    document = _opened(data)
    try:
        count = len(document)
        if count > limits.max_pages:
            raise Refused(
                f"the PDF has {count:,} pages; at most {limits.max_pages:,} are taken",
                errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
        if not count:
            raise _damaged()
        document.init_forms()  # or what was filled in would not be drawn
        for number in range(count):
            try:
                yield _part(document[number], number, count)
            except PdfiumError as error:
                raise Refused(
                    f"page {number + 1} of the PDF is damaged", errors_pb2.ERROR_REASON_MEDIA_CORRUPT
                ) from error
    finally:
        document.close()


def _opened(data: bytes) -> PdfDocument:
    try:
        return PdfDocument(data)
    except PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise Refused(
                "the PDF is encrypted: send it without its password", errors_pb2.ERROR_REASON_MEDIA_CORRUPT
            ) from error
        raise _damaged() from error


def _damaged() -> Refused:
    return Refused("the PDF is cut short or damaged", errors_pb2.ERROR_REASON_MEDIA_CORRUPT)


def _part(page: PdfPage, number: int, count: int) -> Part:
    try:
        width, height = page.get_size()
        if max(width, height) > _MAX_POINTS:
            raise Refused(
                f"page {number + 1} of the PDF is {width:,.0f} x {height:,.0f} points; at most {_MAX_POINTS:,} a side "
                "are taken",
                errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
        # A little less than the side, as what is drawn is rounded up to whole pixels.
        bitmap = page.render(scale=(SIDE - 0.5) / max(width, height, 1), rev_byteorder=True)
        picture = jpeg(shrunk(bitmap.to_pil().convert("RGB")))
        bitmap.close()
        text = page.get_textpage()
        said = text.get_text_range(0, min(text.count_chars(), _MAX_CHARACTERS))
        text.close()
    finally:
        page.close()
    return Part(
        "page",
        number,
        picture,
        picture,
        max(1, round(width)),
        max(1, round(height)),
        text=said.replace("\r\n", "\n").replace("\0", "")[:_MAX_CHARACTERS],
        page=number + 1,
        of=count,
    )
