"""What vLLM is told: its environment and its engine's configuration.

vLLM is imported when the engine loads, so that settings and errors are read without it.
"""

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from services.paligemma.adapters import Adapter
from services.paligemma.config import PaligemmaSettings
from services.runtime.config import BadSetting

if TYPE_CHECKING:
    from vllm.config import VllmConfig

ADAPTER_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks vLLM makes room for (`vllm.config.lora.MaxLoRARanks`)."""
QUANTIZATION = {"fp8": "fp8_per_channel"}
"""Our names for what vLLM calls a weight quantization at load time (`vllm.config.quantization`)."""


def set_environment(settings: PaligemmaSettings) -> None:
    """For this process and the engine's; before vLLM is imported."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # vLLM's records then go through our own JSON handler, those of its processes to stderr as they are.
    os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(settings.kv_cache_gib))
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")


def engine_config(settings: PaligemmaSettings, adapters: Sequence[Adapter]) -> "VllmConfig":
    """Raises BadSetting on one that a CPU cannot honour, and ValueError on others that vLLM refuses."""
    from vllm import AsyncEngineArgs
    from vllm.config import AttentionConfig
    from vllm.platforms import current_platform

    on_cpu = current_platform.is_cpu()
    args: dict[str, Any] = {
        "model": settings.model,
        "revision": settings.model_revision,
        "dtype": settings.dtype,
        "max_model_len": settings.max_context_tokens,
        "max_num_seqs": settings.max_running,
        "limit_mm_per_prompt": {"image": 1},
        "mm_processor_cache_gb": 0,
        # Why not: exact_model.py. Without chunked prefill a step has room for the longest prompt.
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
        # Attention both ways over images alone is stock vLLM's mask, and not every back end has it.
        "hf_overrides": {"is_mm_prefix_lm": False},
        # Compilation needs a C++ compiler on a CPU and gains little there.
        "enforce_eager": on_cpu,
        **_adapter_args(adapters),
    }
    if on_cpu:
        check_cpu(settings)
        # vLLM's sampler is compiled even then. The engine's processes, started after this, do without where there is
        # no compiler; where there is one they need it: uncompiled, a slot took 2.5 s to come free, not 0.1 s.
        if shutil.which(os.environ.get("CXX", "g++")) is None:
            os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    else:
        backend = None if settings.attention_backend == "auto" else settings.attention_backend.upper()
        # vLLM then takes the fastest back end that can attend both ways, or says why the one named cannot.
        args["attention_config"] = AttentionConfig(use_non_causal=True, backend=backend)
        args["gpu_memory_utilization"] = settings.gpu_memory_share
        args["quantization"] = QUANTIZATION.get(settings.quantization or "")
    return AsyncEngineArgs(**args).create_engine_config()


def check_cpu(settings: PaligemmaSettings) -> None:
    """Raises BadSetting on one that needs a GPU."""
    if settings.attention_backend != "auto":
        raise BadSetting(
            "attention_backend",
            f"{settings.attention_backend} needs a GPU; vLLM has one for a CPU, which auto takes",
        )
    if settings.quantization is not None:
        raise BadSetting("quantization", f"{settings.quantization} is for a GPU; leave it unset on a CPU")


def _adapter_args(adapters: Sequence[Adapter]) -> dict[str, Any]:
    if not adapters:
        return {}
    rank = max(adapter.rank for adapter in adapters)
    return {
        "enable_lora": True,
        "max_loras": len(adapters),
        "max_lora_rank": next(room for room in ADAPTER_RANKS if room >= rank),
        "enable_tower_connector_lora": any(adapter.sees for adapter in adapters),
    }
