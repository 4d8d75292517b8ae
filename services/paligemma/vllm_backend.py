"""How vLLM is configured and read: the one place that knows its arguments.

vLLM is imported when the engine loads, so that settings and errors are read without it.
"""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.paligemma.config import PaligemmaSettings
from services.paligemma.lasting_thread import in_lasting_thread

if TYPE_CHECKING:
    from PIL import Image
    from vllm import SamplingParams
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.metrics.stats import SchedulerStats

    from services.paligemma.engine import Sampling

__all__ = [
    "AsyncLLM",
    "LatestStats",
    "RequestOutput",
    "engine_dead_error",
    "kv_blocks",
    "load",
    "render",
    "revision",
    "sampling_params",
    "shut_down",
]

_HASH_BLOCK = 2**20


class LatestStats:
    """What the engine said of itself at its last step."""

    kv_cache_usage: float = 0.0

    def record(self, scheduler: "SchedulerStats | None") -> None:
        if scheduler is not None:
            self.kv_cache_usage = scheduler.kv_cache_usage


async def load(settings: PaligemmaSettings, stats: LatestStats) -> "AsyncLLM":
    """Load the model; takes seconds to minutes. Raises what vLLM raises on a bad model or machine."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # vLLM's records then go through our own JSON handler, those of its processes to stderr as they are.
    os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(settings.kv_cache_gib))
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    llm = await in_lasting_thread(lambda: _load(settings, stats), name="vllm")
    # Built in a thread there was no running loop to start it on.
    llm._run_output_handler()
    return llm


def _load(settings: PaligemmaSettings, stats: LatestStats) -> "AsyncLLM":
    config = _engine_config(settings)
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_vllm_config(config, stat_loggers=[_stat_logger(stats)], disable_log_stats=True)


def _engine_config(settings: PaligemmaSettings) -> Any:
    from vllm import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    on_cpu = current_platform.is_cpu()
    args: dict[str, Any] = {
        "model": settings.model,
        "revision": settings.model_revision,
        "dtype": settings.dtype,
        "max_model_len": settings.max_context_tokens,
        "max_num_seqs": settings.max_running,
        "limit_mm_per_prompt": {"image": 1},
        "mm_processor_cache_gb": 0,
        # PaliGemma's mask holds only for prompts computed in one piece, and the keys and values of
        # an image depend on the prompt behind it.
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
        # Compilation needs a C++ compiler on a CPU and gains little there.
        "enforce_eager": on_cpu,
    }
    if on_cpu:
        # vLLM's sampler is compiled even then. The engine's processes, started after this, do without where there is
        # no compiler; where there is one they need it: uncompiled, a slot took 2.5 s to come free, not 0.1 s.
        if shutil.which(os.environ.get("CXX", "g++")) is None:
            os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    else:
        args["gpu_memory_utilization"] = settings.gpu_memory_share
        args["attention_backend"] = AttentionBackendEnum.TRITON_ATTN
    probe = AsyncEngineArgs(**args).create_model_config()
    args["max_num_batched_tokens"] = max(8192, 4 * probe.max_model_len)
    return AsyncEngineArgs(**args).create_engine_config()


def _stat_logger(stats: LatestStats) -> type:
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Recorder(StatLoggerBase):
        def __init__(self, vllm_config: object, engine_index: int = 0) -> None:
            pass

        def record(self, scheduler_stats: "SchedulerStats | None", *args: object, **kwargs: object) -> None:
            stats.record(scheduler_stats)

        def log_engine_initialized(self) -> None:
            pass

    return Recorder


async def shut_down(llm: "AsyncLLM") -> None:
    """End the engine's processes; seconds."""
    # Otherwise it takes the engine's planned end for a death and logs it as one.
    if llm.output_handler is not None:
        llm.output_handler.cancel()
    await asyncio.to_thread(llm.shutdown)


async def render(llm: "AsyncLLM", prompt: list[int], image: "Image.Image") -> Any:
    """The engine's own input for a prompt's token ids and a picture, made in vLLM's threads."""
    (rendered,) = await llm.renderer.render_cmpl_async(
        [{"prompt_token_ids": prompt, "multi_modal_data": {"image": image}}]
    )
    return rendered


def kv_blocks(llm: "AsyncLLM") -> tuple[int, int]:
    """How many blocks the key-value cache has for requests, and how many tokens a block."""
    cache = llm.vllm_config.cache_config
    return cache.num_gpu_blocks - 1, cache.block_size  # vLLM keeps one for padding


def sampling_params(sampling: "Sampling", max_context_tokens: int) -> "SamplingParams":
    """vLLM's parameters, with each token's log-probability and location tokens kept in the text."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=min(sampling.max_tokens or max_context_tokens, max_context_tokens),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=sampling.seed,
        stop=list(sampling.stop),
        logprobs=0,
        skip_special_tokens=False,
        output_kind=RequestOutputKind.DELTA,
    )


def engine_dead_error() -> type[Exception]:
    from vllm.v1.engine.exceptions import EngineDeadError

    return EngineDeadError


def revision(settings: PaligemmaSettings, llm: "AsyncLLM") -> str:
    """The hub's commit, or `sha256-` and 16 digits of the hash of the folder's weights."""
    folder = Path(settings.model)
    if not folder.is_dir():
        return llm.model_config.hf_config._commit_hash
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(_HASH_BLOCK):
                digest.update(block)
    return f"sha256-{digest.hexdigest()[:16]}"
