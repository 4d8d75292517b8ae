"""vLLM's own PaliGemma in the place of ours."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stock_environment() -> Iterator[dict[str, str]]:
    """Variables under which vLLM loads `register` below, as an installed plugin, and not ours."""
    with tempfile.TemporaryDirectory() as folder:
        installed = Path(folder) / "stock_paligemma-0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: stock-paligemma\nVersion: 0\n")
        (installed / "entry_points.txt").write_text(f"[vllm.general_plugins]\nstock = {__name__}:register\n")
        yield {"PYTHONPATH": folder, "VLLM_PLUGINS": "stock"}


def register() -> None:
    """Changes nothing but a look-up that imports torchvision, which the CPU set does without."""
    from vllm.model_executor.models.paligemma import PaliGemmaProcessingInfo
    from vllm.model_executor.models.siglip import SiglipEncoderInfo

    PaliGemmaProcessingInfo.get_vision_encoder_info = lambda self: SiglipEncoderInfo(self.get_hf_config())
