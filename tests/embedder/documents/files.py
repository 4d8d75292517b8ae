"""PDFs that say something, and films whose scenes begin at known frames."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
from numpy.typing import NDArray

from tests.media_files import FILMS

Frame = NDArray[np.uint8]


def pdf_saying(texts: Sequence[str], width: int = 300, height: int = 400) -> bytes:
    """A page for each text, in Latin letters."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(texts)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(texts)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, text in enumerate(texts):
        drawn = f"BT /F 24 Tf 20 {height - 60} Td ({text}) Tj ET 1 0 0 rg 20 20 80 80 re f"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]"
            f"/Resources<</Font<</F 3 0 R>>>>/Contents {5 + 2 * number} 0 R>>"
        )
        objects.append(f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream")
    out = BytesIO(b"%PDF-1.4\n")
    out.seek(0, 2)
    places = []
    for number, content in enumerate(objects, 1):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n{content}\nendobj\n".encode())
    table = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.writelines(f"{place:010} 00000 n \n".encode() for place in places)
    out.write(f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF\n".encode())
    return out.getvalue()


def still(seed: int, width: int = 96, height: int = 64) -> Frame:
    """A picture of large coloured patches, other ones for each seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return np.kron(patches, np.ones((height // 4, width // 6, 1), np.uint8))


def cuts(*lengths: int) -> Iterator[Frame]:
    """A scene of each length in frames, in which nothing moves."""
    for seed, length in enumerate(lengths):
        for _ in range(length):
            yield still(seed)


def film_of(
    frames: Iterator[Frame],
    mime_type: str = "video/mp4",
    frames_per_second: Fraction | int = 10,
    times: Sequence[int] | None = None,
    aspect: Fraction | None = None,
) -> bytes:
    """Of frames shown one after the other, or from `times` on, in hundredths of a second."""
    container_format, codec, _ = FILMS[mime_type]
    out = BytesIO()
    with av.open(out, "w", format=container_format) as container:
        video = None
        for number, frame in enumerate(frames):
            if video is None:
                video = container.add_stream(codec, rate=frames_per_second)
                video.height, video.width, video.pix_fmt = *frame.shape[:2], "yuv420p"
                video.bit_rate = 4_000_000
                if aspect:
                    video.codec_context.sample_aspect_ratio = aspect
                if times:
                    video.codec_context.time_base = Fraction(1, 100)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = number, 1 / Fraction(frames_per_second)
            if times:
                picture.pts, picture.time_base = times[number], Fraction(1, 100)
            container.mux(video.encode(picture))
        container.mux(video.encode())
    return out.getvalue()
