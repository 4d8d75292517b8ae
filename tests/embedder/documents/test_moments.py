"""Films as moments: when each begins and ends, what shows it, and what is refused."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter

from chiasm.v1 import errors_pb2
from services.embedder.documents.limits import DocumentLimits
from services.embedder.documents.moments import moments
from services.embedder.documents.part import Part, Refused
from services.runtime.media import ImageLimits
from services.runtime.media_types import sniff
from tests.embedder.documents.files import Frame, cuts, film_of, still
from tests.media_files import FILMS, film, live_webm, sound


def moments_of(data: bytes, **limits: float) -> list[Part]:
    limits = {"image": ImageLimits()} | limits
    return list(moments(data, sniff(data), DocumentLimits(**limits)))


def refusal(data: bytes, **limits: float) -> Refused:
    with pytest.raises(Refused) as caught:
        moments_of(data, **limits)
    return caught.value


def spans(parts: list[Part]) -> list[tuple[float, float]]:
    return [(part.start_s, part.end_s) for part in parts]


def looks_like(part: Part, frame: Frame) -> bool:
    image = np.asarray(Image.open(BytesIO(part.picture)), float)
    return image.shape == frame.shape and np.abs(image - frame).mean() < 12


@pytest.mark.parametrize("mime_type", FILMS)
def test_a_moment_is_a_scene_to_the_frame(mime_type: str) -> None:
    parts = moments_of(film_of(cuts(15, 30, 20), mime_type))
    assert spans(parts) == [(0.0, 1.5), (1.5, 4.5), (4.5, 6.5)]
    assert [(part.kind, part.number) for part in parts] == [("moment", 0), ("moment", 1), ("moment", 2)]
    assert [looks_like(part, still(seed)) for seed, part in enumerate(parts)] == [True] * 3
    assert {(part.width, part.height, part.picture is part.preview) for part in parts} == {(96, 64, True)}


def test_times_are_those_of_the_frames_whatever_their_rate() -> None:
    ntsc = moments_of(film_of(cuts(45, 60), frames_per_second=Fraction(30_000, 1_001)))
    assert spans(ntsc) == [(0.0, 1.5015), (1.5015, 3.5035)]
    uneven = [10 * number + (number % 3) for number in range(50)]
    parts = moments_of(film_of(cuts(20, 30), times=uneven))
    assert spans(parts) == [(0.0, uneven[20] / 100), (uneven[20] / 100, pytest.approx(uneven[-1] / 100, abs=0.2))]


def test_a_scene_of_less_than_a_second_joins_the_next() -> None:
    parts = moments_of(film_of(cuts(20, 5, 20)))
    assert spans(parts) == [(0.0, 2.0), (2.0, 4.5)]
    assert looks_like(parts[1], still(2))


def test_a_film_in_which_nothing_happens_is_told_in_pieces() -> None:
    assert spans(moments_of(film_of(cuts(20)))) == [(0.0, 2.0)]
    parts = moments_of(film_of(cuts(70), frames_per_second=1))
    assert spans(parts) == [(0.0, 30.0), (30.0, 60.0), (60.0, 70.0)]


def test_the_sharpest_frame_stands_for_a_scene() -> None:
    def blurred_but(sharp: int) -> Iterator[Frame]:
        for number in range(30):
            image = Image.fromarray(still(1))
            yield np.asarray(image.filter(ImageFilter.GaussianBlur(abs(number - sharp) / 3)))

    (part,) = moments_of(film_of(blurred_but(17)))
    assert looks_like(part, still(1))


def test_a_long_film_of_many_scenes_has_no_more_moments_than_are_kept() -> None:
    data = film_of(cuts(*[12] * 20))
    assert len(moments_of(data)) == 20
    parts = moments_of(data, max_moments=6)
    assert 3 <= len(parts) <= 6
    assert (parts[0].start_s, parts[-1].end_s) == (0.0, 24.0)
    assert all(before.end_s == after.start_s for before, after in pairwise(parts))


def test_a_film_that_was_filmed_upright_is_shown_so() -> None:
    left_red = np.zeros((64, 96, 3), np.uint8)
    left_red[:, :48, 0] = left_red[:, 48:, 2] = 255
    data = film_of(iter([left_red] * 12))
    matrix = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 64 << 16, 0, 1 << 30)  # clockwise
    track = data.index(b"tkhd")
    (part,) = moments_of(data[:track] + data[track:].replace(matrix, turned, 1))
    assert (part.width, part.height) == (64, 96)
    assert looks_like(part, np.rot90(left_red, -1))


def test_pixels_that_are_not_square_are_made_so() -> None:
    (part,) = moments_of(film_of(cuts(12), aspect=Fraction(2)))
    assert (part.width, part.height) == (192, 64)


def test_pixels_that_claim_to_be_endless_are_refused() -> None:
    data = film_of(cuts(12), aspect=Fraction(3))
    ratio = data.index(b"pasp") + 4
    endless = data[:ratio] + struct.pack(">II", 2**31 - 1, 1) + data[ratio + 8 :]
    assert refusal(endless).refusal.reason == errors_pb2.ERROR_REASON_MEDIA_SIZE


def test_a_film_tells_how_many_moments_it_has_at_most() -> None:
    assert {part.of for part in moments_of(film_of(cuts(20, 30)))} == {6}
    assert {part.of for part in moments_of(film_of(cuts(20, 30)), max_moments=3)} == {3}
    assert {part.of for part in moments_of(live_webm(3), max_moments=100)} == {100}


def test_sound_beside_the_pictures_is_passed_over() -> None:
    assert spans(moments_of(film("video/mp4", seconds=3, sound=True))) == [(0.0, 3.0)]


def test_a_film_whose_header_has_no_length_is_read_to_its_end() -> None:
    assert spans(moments_of(live_webm(3))) == [(0.0, 3.0)]


def test_frames_that_are_damaged_are_passed_over() -> None:
    data = bytearray(film_of(cuts(40, 40), "video/mpeg"))
    at = len(data) // 2
    data[at : at + 188] = b"\x47" + bytes(187)
    parts = moments_of(bytes(data))
    assert (parts[0].start_s, parts[-1].end_s) == (0.0, 8.0)


@pytest.mark.parametrize(
    ("data", "reason", "said"),
    [
        (sound("audio/mp4", 1), errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED, "sound"),
        (sound("audio/ogg", 1), errors_pb2.ERROR_REASON_MEDIA_TYPE_UNSUPPORTED, "sound"),
        (film("video/mp4")[:-300], errors_pb2.ERROR_REASON_MEDIA_CORRUPT, "damaged"),
        (film("video/webm", 4)[:-1_200], errors_pb2.ERROR_REASON_MEDIA_CORRUPT, "damaged"),
    ],
    ids=["MP4 sound", "OGG sound", "cut MP4", "cut WebM"],
)
def test_what_cannot_be_read_is_refused(data: bytes, reason: int, said: str) -> None:
    refused = refusal(data)
    assert refused.refusal.reason == reason
    assert said in refused.refusal.message


def test_films_beyond_the_limits_are_refused() -> None:
    data = film_of(cuts(30))
    assert refusal(data, max_film_s=2.9).refusal.reason == errors_pb2.ERROR_REASON_MEDIA_SIZE
    assert refusal(live_webm(3), max_film_s=2).refusal.reason == errors_pb2.ERROR_REASON_MEDIA_SIZE
    small = ImageLimits(max_pixels=96 * 64 - 1)
    assert refusal(data, image=small).refusal.reason == errors_pb2.ERROR_REASON_MEDIA_SIZE


def test_a_header_that_says_less_than_there_is_makes_no_more_moments() -> None:
    """Scenes of a film without a length are counted as they come."""
    data = film_of(cuts(*[12] * 5), "video/webm")
    length = data.index(b"\x44\x89\x88")  # Duration of eight bytes: https://www.rfc-editor.org/rfc/rfc9559
    lying = data[: length + 3] + struct.pack(">d", 100.0) + data[length + 11 :]
    assert len(moments_of(lying, max_moments=5)) == 5
    assert refusal(lying, max_moments=4).refusal.reason == errors_pb2.ERROR_REASON_MEDIA_SIZE
