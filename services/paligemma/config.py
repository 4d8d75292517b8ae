"""Settings of the paligemma service: `CHIASM_PALIGEMMA_*`."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from services.runtime.config import ServiceSettings


class PaligemmaSettings(ServiceSettings):
    service: ClassVar[str] = "paligemma"

    model: str = Field("models/tiny-paligemma", description="a folder, or a name on the Hugging Face hub")
    model_revision: str | None = Field(None, description="commit or tag on the hub; None is its newest")
    model_name: str | None = Field(None, description="served as `models/NAME`; the folder's or hub's last part if None")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="`auto` is the checkpoint's own"
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
    default_timeout_s: float = Field(60.0, gt=0, description="deadline of a call whose caller gave none")
    max_timeout_s: float = Field(600.0, gt=0, description="longest deadline that is honoured")

    @property
    def resource_name(self) -> str:
        """`models/NAME`, as requests name it."""
        return f"models/{self.model_name or Path(self.model.rstrip('/')).name}"
