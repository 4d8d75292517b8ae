"""Settings of the embedder: `CHIASM_EMBEDDER_*`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from services.embedder.index.settings import IndexSettings
from services.runtime.config import Names
from services.runtime.requests import check_name


class EmbedderSettings(IndexSettings):
    max_message_bytes: int = Field(32 * 2**20, ge=64 * 2**10, le=2**31 - 1)
    """Most bytes of one message, either way; a request whose embeddings would take more is refused."""
    models: Annotated[Names, Field(min_length=1)] = ("models/tiny-siglip",)
    """Checkpoints, separated by commas or as a JSON list: folders, or names on the Hugging Face hub, where
    `NAME@REVISION` pins a commit, a tag or a branch. Each is served as `models/NAME`, by the last part of its own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the models compute in; `auto` is float32 on a CPU and the checkpoint's own elsewhere. A CPU with AVX512-BF16
    is 1.4 to 1.8 times as fast in bfloat16, whose vectors differ a little (a cosine of 0.9999)."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """Where they compute; `auto` is a GPU where there is one."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether torch.compile makes programs of them, which takes minutes at the start; `auto` does on a GPU. On a CPU
    it needs a C++ compiler, and gains little."""
    max_items: int = Field(256, ge=1)
    """Most items of a request; of a stream, those that are read and not yet answered."""
    max_batch_tokens: int = Field(16_384, ge=1)
    """Most tokens that go through a model at once, padding included; an item that has more goes alone."""
    batch_timeout_s: float = Field(300.0, gt=0)
    """Seconds after which a batch that has not come out of its model ends the service: its device is lost."""
    max_queued_tokens: int = Field(262_144, ge=1)
    """Most tokens that are accepted and not yet embedded; a request beyond them is refused with RESOURCE_EXHAUSTED.
    Streams wait instead, in a line of their own."""
    max_queued_bytes: int = Field(512 * 2**20, ge=1)
    """Most bytes of texts and pictures that are accepted and not yet embedded; a request beyond them is refused with
    RESOURCE_EXHAUSTED. A stream has `max_message_bytes` of its own instead."""
    cache_bytes: int = Field(64 * 2**20, ge=0)
    """Most bytes of embeddings that are kept for the next who asks for the same; 0 keeps none."""
    max_media_bytes: int = Field(20 * 2**20, ge=1)
    """Most bytes of one picture."""
    max_image_pixels: int = Field(64_000_000, ge=1)
    """Most pixels of one picture."""
    max_document_bytes: int = Field(256 * 2**20, ge=1)
    """Most bytes of one PDF or film; `max_message_bytes` bounds them too."""
    max_pages: int = Field(2_000, ge=1)
    """Most pages of one PDF."""
    max_film_seconds: float = Field(3_600.0, gt=0)
    """Longest film. Each frame is decoded: of 1080p some hundred a second."""
    max_moments: int = Field(2_000, ge=1)
    """Most moments of one film; the scenes of a longer one are told apart less finely."""
    document_processes: int = Field(2, ge=1)
    """PDFs and films that are taken apart at once, each in a child process; others wait."""
    max_index_streams: int = Field(16, ge=1)
    """Streams of documents that are taken at once; a further one is refused with RESOURCE_EXHAUSTED."""
    documents_at_once: int = Field(16, ge=1)
    """Documents of one stream that are at work at once, and parts of one document."""
    max_indexing_bytes: int = Field(64 * 2**20, ge=1)
    """Most bytes of one stream's documents that are at work at once; the next wait."""
    document_timeout_s: float = Field(600.0, gt=0)
    """Seconds that each step of a document may take: to look whether it is there, to embed a page or scene, to store it
    whole."""

    @field_validator("models")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for model in value:
            source, pinned = split_pin(model)
            check_name(Path(source).name)
            if pinned is not None:
                check_name(pinned)
        if len({resource_name(model) for model in value}) < len(value):
            raise ValueError("two models end in the same name")
        return value


def resource_name(model: str) -> str:
    """`models/NAME` of a checkpoint's folder or hub name, as requests name it."""
    return f"models/{_last_part(model)}"


def split_pin(model: str) -> tuple[str, str | None]:
    """A checkpoint's folder or hub name, and the revision that it is pinned to."""
    source = model.rstrip("/")
    if "@" not in Path(source).name:
        return source, None
    source, _, revision = source.rpartition("@")
    return source, revision


def _last_part(model: str) -> str:
    source, _ = split_pin(model)
    return Path(source).name
