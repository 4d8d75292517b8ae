"""Settings of the embedder: `CHIASM_EMBEDDER_*`."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from services.runtime.config import Names, ServiceSettings
from services.runtime.requests import check_name


class EmbedderSettings(ServiceSettings):
    service: ClassVar[str] = "embedder"

    max_message_bytes: int = Field(32 * 2**20, ge=64 * 2**10, le=2**31 - 1)
    """Most bytes of one message, either way; a request whose embeddings would take more is refused."""
    models: Annotated[Names, Field(min_length=1)] = ("models/tiny-siglip",)
    """Checkpoints, separated by commas or as a JSON list: folders, or names on the Hugging Face hub. Each is served
    as `models/NAME`, by the last part of its own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the models compute in; `auto` is float32 on a CPU and the checkpoint's own elsewhere."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """Where they compute; `auto` is a GPU where there is one."""
    max_items: int = Field(256, ge=1)
    """Most items of a request."""
    max_batch_tokens: int = Field(16_384, ge=1)
    """Most tokens that go through a model at once, padding included; an item that has more goes alone."""
    max_queued_tokens: int = Field(262_144, ge=1)
    """Most tokens that are accepted and not yet embedded; a request beyond them is refused with RESOURCE_EXHAUSTED."""
    max_media_bytes: int = Field(20 * 2**20, ge=1)
    """Most bytes of one picture."""
    max_image_pixels: int = Field(64_000_000, ge=1)
    """Most pixels of one picture."""

    @field_validator("models")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for model in value:
            check_name(_last_part(model))
        if len({resource_name(model) for model in value}) < len(value):
            raise ValueError("two models end in the same name")
        return value


def resource_name(model: str) -> str:
    """`models/NAME` of a checkpoint's folder or hub name, as requests name it."""
    return f"models/{_last_part(model)}"


def _last_part(model: str) -> str:
    return Path(model.rstrip("/")).name
