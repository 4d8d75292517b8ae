"""What a client gets back. Times are in seconds, money in nano-US-dollars, boxes in pixels."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from chiasm.errors import ChiasmError


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture after its EXIF orientation is applied; the origin is the top left corner."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True)
class Mask:
    """The pixels that a thing covers."""

    png: bytes = field(repr=False)
    """An 8-bit greyscale PNG: 255 where the thing is, 0 elsewhere."""
    x: int
    """Left edge in pixels of the picture, 0 or more."""
    y: int
    """Top edge in pixels of the picture, 0 or more."""


@dataclass(frozen=True)
class Detection:
    """One thing found in a picture."""

    label: str
    box: Box
    mask: Mask | None = None
    """Set by `segment` only."""
    confidence: float | None = None
    """The model's own probability, 0 to 1; None when it gives none."""


@dataclass(frozen=True)
class Usage:
    """What a request used and cost, every attempt included. All are 0 or more."""

    input_tokens: int = 0
    output_tokens: int = 0
    media_input_tokens: int = 0
    """Of `input_tokens`, those that stand for media."""
    cached_input_tokens: int = 0
    """Of `input_tokens`, those served from a provider's cache."""
    reasoning_output_tokens: int = 0
    """Of `output_tokens`, those that are not part of the answer."""
    cost_nanousd: int = 0


@dataclass(frozen=True)
class Attempt:
    """One attempt at an answer."""

    model: str
    revision: str
    status: str
    """The name of its final gRPC status: `OK`, `UNAVAILABLE`, ..."""
    time_to_first_token_s: float | None
    duration_s: float
    usage: Usage


@dataclass(frozen=True)
class Route:
    """How an answer came to be, as the server saw it."""

    attempts: tuple[Attempt, ...] = ()
    """In order; the last one answered."""
    time_to_first_token_s: float | None = None
    duration_s: float = 0.0


@dataclass(frozen=True)
class Started:
    """Event: an attempt begins."""

    model: str
    attempt: int
    """1 for the first attempt of the request, then 2, ..."""
    request_id: str


@dataclass(frozen=True)
class Delta:
    """Event: the answer goes on."""

    text: str
    """Text to append; may be empty."""
    logprobs: tuple[float, ...] = ()
    """Natural logarithms of the probabilities of the tokens behind it, each 0 or less."""


@dataclass(frozen=True)
class Superseded:
    """Event: the attempt is void, and so is its text. `Started` follows."""

    attempt: int
    reason: str
    """`broken`, `slow`, `unsure` or `no_answer`."""
    next_model: str


@dataclass(frozen=True)
class Finished:
    """Event: the answer is complete; the last one."""

    finish_reason: str
    """`stop`, `max_tokens`, `blocked` or `other`."""
    finish_detail: str
    """The provider's own word for it; may be empty."""
    usage: Usage
    confidence: float | None
    """How likely the answer is right, 0 to 1; None when the model gives none."""
    route: Route
    detections: tuple[Detection, ...]


Event = Started | Delta | Superseded | Finished


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    text: str
    """As the model wrote it; for `detect` and `segment` its location tokens, which `detections` decodes."""
    model: str
    """The model that answered, as `models/NAME`."""
    finish_reason: str
    """`stop`, `max_tokens`, `blocked` or `other`."""
    usage: Usage
    confidence: float | None
    """How likely the answer is right, 0 to 1; None when the model gives none."""
    detections: tuple[Detection, ...]
    route: Route
    request_id: str
    time_to_first_token_s: float | None
    """From the call to its first delta, as the client saw it; None when there was none, as in a call not streamed."""
    total_s: float
    """From the call to its end, as the client saw it."""


@dataclass(frozen=True)
class Embedding:
    """What stands for a text or a picture. Each vector is of length 1, so that a dot product is a cosine, -1 to 1.

    `numpy.asarray(embedding)` is a float32 array of its shape over the same memory, and `numpy.asarray(embeddings)` one
    of all, where they have one shape; numpy itself is not needed for anything else.
    """

    data: bytes = field(repr=False)
    """float32, little-endian, row by row."""
    shape: tuple[int, ...]
    """(dimensions,), or (vectors, dimensions) where the model gives an item several (late interaction)."""

    def tolist(self) -> list[Any]:
        """The numbers as floats: a vector, or a list of vectors."""
        rows = [list(row) for row in struct.iter_unpack(f"<{self.shape[-1]}f", self.data)]
        return rows if len(self.shape) > 1 else rows[0]

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """https://numpy.org/doc/stable/reference/arrays.interface.html"""
        return {"version": 3, "typestr": "<f4", "shape": self.shape, "data": self.data}


@dataclass(frozen=True)
class Embeddings(Sequence[Embedding]):
    """One embedding an item, in the order of the items."""

    embeddings: tuple[Embedding, ...] = field(repr=False)
    model: str
    """The model that gave them, as `models/NAME`."""
    revision: str
    """Vectors of different models or revisions must not be compared."""
    usage: Usage
    request_id: str

    def __len__(self) -> int:
        return len(self.embeddings)

    @overload
    def __getitem__(self, index: int) -> Embedding: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Embedding, ...]: ...
    def __getitem__(self, index: int | slice) -> Embedding | tuple[Embedding, ...]:
        return self.embeddings[index]

    def __iter__(self) -> Iterator[Embedding]:
        return iter(self.embeddings)


@dataclass(frozen=True)
class Embedded:
    """What became of an item of a stream."""

    index: int
    """Which of the items it is, 0 or more."""
    embedding: Embedding | None
    """None where it failed."""
    usage: Usage = Usage()
    error: ChiasmError | OSError | None = None
    """Why there is none: the server's word, or that its file cannot be read."""


@dataclass(frozen=True)
class EmbeddingInfo:
    """What a model's embeddings are."""

    late_interaction: bool
    """Whether an item has several vectors, compared by MaxSim, and not one."""
    dimensions: int
    """Numbers in a vector."""
    logit_scale: float | None
    logit_bias: float | None
    """sigmoid(logit_scale * dot product + logit_bias) is the probability that a text and a picture belong together.
    Without a bias (CLIP) softmax(logit_scale * dot products) over several texts says which of them does. Both are None
    where the model was not trained so."""


@dataclass(frozen=True)
class ModelInfo:
    """A model and what it can do."""

    name: str
    """As `models/NAME`."""
    revision: str
    provider: str
    tasks: tuple[str, ...]
    """Names of `chiasm.Task`."""
    modalities: tuple[str, ...]
    """`image`, `document`, `video`, `audio`."""
    ready: bool
    max_context_tokens: int
    max_output_tokens: int
    min_media: int
    max_media: int
    max_media_bytes: int
    max_image_pixels: int
    input_nanousd_per_million_tokens: int | None
    """None when it bills nothing."""
    output_nanousd_per_million_tokens: int | None
    running: int
    """Requests being answered, 0 or more."""
    waiting: int
    """Requests waiting, 0 or more."""
    kv_cache_usage: float
    """The share of the key-value cache in use, 0 to 1."""
    max_items: int
    """Most items to embed at once; 0 when it embeds nothing."""
    embedding: EmbeddingInfo | None
    """None when it embeds nothing."""
