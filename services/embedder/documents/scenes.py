"""The scenes of a film, each with the frame that shows it best."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, repeat

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

MAX_SCENE_S = 30
"""Longest scene in seconds; one that goes on is told in pieces of this length."""
_SMALL = 256, 144
"""Width and height in pixels of the copies that are compared, whatever the frames' shape: that may change."""
_LEAST_CHANGE = 15.0
"""From the frame before a scene's first to it: the mean over pixels and colours, of 255."""
_LEAST_RATIO = 3.0
"""Of that change to those of the frames near it: where all change much, the camera moves."""
_NEAR = 2
"""Frames before and behind that are near; in films of few frames a second, those of half a second."""
_NEAR_S = Fraction(1, 2)


@dataclass(frozen=True)
class Shown:
    """A frame, and from when to when it is shown, in seconds from the film's first frame."""

    frame: VideoFrame
    start_s: Fraction
    end_s: Fraction


@dataclass
class Scene:
    """From when to when it lasts, and the sharpest of its frames."""

    start_s: Fraction
    end_s: Fraction
    frame: VideoFrame
    sharpness: float


@dataclass(frozen=True)
class _Seen:
    """A frame, and what its small copy shows."""

    shown: Shown
    sharpness: float
    """The variance of its Laplacian: little where it is blurred, black or blank."""
    change: float
    """From the frame before."""


def scenes(film: Iterable[Shown], min_scene_s: float) -> Iterator[Scene]:
    """The scenes of `film`, whose frames come in order; one begins where the one before it ends.

    What is shorter than `min_scene_s` seconds is told as the beginning of the next scene, whose frames stand for both;
    only the last scene may be shorter.
    """
    scene: Scene | None = None
    for seen, is_first in _told_apart(_seen(film)):
        shown = seen.shown
        lasted_s = shown.start_s - scene.start_s if scene else 0
        if scene and (lasted_s >= MAX_SCENE_S or (is_first and lasted_s >= min_scene_s)):
            yield scene
            scene = None
        if scene is None:
            scene = Scene(shown.start_s, shown.end_s, shown.frame, seen.sharpness)
            continue
        scene.end_s = shown.end_s
        if is_first or seen.sharpness > scene.sharpness:
            scene.frame, scene.sharpness = shown.frame, seen.sharpness
    if scene:
        yield scene


def _told_apart(film: Iterable[_Seen]) -> Iterator[tuple[_Seen, bool]]:
    """Each frame, and whether a scene begins with it.

    As PySceneDetect's AdaptiveDetector, but of red, green and blue: the hue that it compares is noise in dark and in
    grey frames.
    """
    near: deque[_Seen | None] = deque([None] * (2 * _NEAR + 1), maxlen=2 * _NEAR + 1)
    for newest in chain(film, repeat(None, _NEAR)):
        near.append(newest)
        if seen := near[_NEAR]:
            others = [other.change for other in near if other and other is not seen and _is_near(other, seen)]
            usual = sum(others) / len(others) if others else 0.0
            yield seen, seen.change >= max(_LEAST_CHANGE, _LEAST_RATIO * usual)


def _is_near(one: _Seen, other: _Seen) -> bool:
    return abs(one.shown.start_s - other.shown.start_s) <= _NEAR_S


def _seen(film: Iterable[Shown]) -> Iterator[_Seen]:
    scaler = VideoReformatter()  # what it is made ready for it keeps
    before: NDArray[np.int16] | None = None
    for shown in film:
        small = _small(shown.frame, scaler)
        change = 0.0 if before is None else float(np.abs(small - before).mean())
        yield _Seen(shown, _sharpness(small), change)
        before = small


def _small(frame: VideoFrame, scaler: VideoReformatter) -> NDArray[np.int16]:
    """The frame as RGB of shape [rows, columns, 3], 0 to 255."""
    small = scaler.reformat(frame, *_SMALL, "rgb24", interpolation=Interpolation.AREA)
    return small.to_ndarray().astype(np.int16)


def _sharpness(small: NDArray[np.int16]) -> float:
    grey = small[..., 0] + small[..., 1] + small[..., 2]
    middle = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle).var())
