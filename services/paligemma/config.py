"""Settings of the paligemma service: `CHIASM_PALIGEMMA_*`."""

import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from services.runtime.config import ServiceSettings
from services.runtime.requests import check_name


class PaligemmaSettings(ServiceSettings):
    service: ClassVar[str] = "paligemma"

    model: str = Field("models/tiny-paligemma", description="a folder, or a name on the Hugging Face hub")
    model_revision: str | None = Field(None, description="commit or tag on the hub; None is its newest")
    model_name: str | None = Field(
        None,
        validate_default=True,
        description="served as `models/NAME`; the folder's or hub's last part if None",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="`auto` is the checkpoint's own; for one in float32, what vLLM prefers here: mostly bfloat16",
    )
    quantization: Literal["fp8"] | None = Field(
        None, description="weights held in fewer bits, on a GPU; a checkpoint quantized ahead needs no setting"
    )
    attention_backend: Literal["auto", "flash_attn", "triton_attn"] = Field(
        "auto", description="on a GPU; `auto` is the fastest that can compute PaliGemma's mask"
    )
    adapters: Annotated[dict[str, Path], NoDecode] = Field(
        {},
        description="LoRA adapters served as `models/NAME:name`: `name=folder` separated by commas, or a JSON object",
    )
    max_context_tokens: int | None = Field(
        None, ge=2, description="image, prompt and answer together; the model's own if None"
    )
    max_running: int = Field(32, ge=1, description="requests the engine works on at once; more wait")
    kv_cache_gib: int = Field(1, ge=1, description="memory for the key-value cache on a CPU, in GiB")
    gpu_memory_share: float = Field(0.9, gt=0, le=1, description="share of the GPU's memory that the engine may take")
    mask_decoder_file: Path | None = Field(None, description="`vae-oid.npz`, which turns <seg> tokens into masks")
    max_media_bytes: int = Field(20 * 2**20, ge=1, description="most bytes of one picture")
    max_image_pixels: int = Field(64_000_000, ge=1, description="most pixels of one picture")

    @property
    def resource_name(self) -> str:
        """`models/NAME`, as requests name it."""
        return f"models/{self.model_name or _last_part(self.model)}"

    def resource_name_of(self, adapter: str | None) -> str:
        """`models/NAME:adapter`, or the base model's name for None."""
        return f"{self.resource_name}:{adapter}" if adapter else self.resource_name

    @field_validator("model_name")
    @classmethod
    def _check_model_name(cls, value: str | None, info: ValidationInfo) -> str | None:
        check_name(value or _last_part(info.data.get("model", "")))
        return value

    @field_validator("quantization", mode="before")
    @classmethod
    def _explain_int8(cls, value: object) -> object:
        if value == "int8":
            raise ValueError(
                "vLLM makes int8 of a dense model's weights on no machine: "
                "serve a checkpoint quantized ahead (compressed-tensors, W8A8) and leave this unset"
            )
        return value

    @field_validator("adapters", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.startswith("{"):
            return json.loads(value)
        adapters: dict[str, str] = {}
        for item in filter(None, (item.strip() for item in value.split(","))):
            name, equals, folder = item.partition("=")
            if not equals or not folder or name in adapters:
                raise ValueError("write `name=folder` separated by commas, each name once")
            adapters[name] = folder
        return adapters

    @field_validator("adapters")
    @classmethod
    def _check_adapter_names(cls, adapters: dict[str, Path]) -> dict[str, Path]:
        for name in adapters:
            check_name(name)
        return adapters


def _last_part(model: str) -> str:
    return Path(model.rstrip("/")).name
