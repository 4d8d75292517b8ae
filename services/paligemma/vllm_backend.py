"""How vLLM is started, asked and read; how it is configured: `vllm_config.py`.

vLLM is imported when the engine loads, so that settings and errors are read without it.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.paligemma.adapters import Adapter
from services.paligemma.config import PaligemmaSettings
from services.paligemma.key_names import check_key_names
from services.paligemma.lasting_thread import in_lasting_thread
from services.paligemma.vllm_config import engine_config, set_environment
from services.runtime.revision import checkpoint_revision

if TYPE_CHECKING:
    from PIL import Image
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest
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
    "lora_request",
    "render",
    "revision",
    "sampling_params",
    "shut_down",
]


class LatestStats:
    """What the engine said of itself at its last step."""

    kv_cache_usage: float = 0.0

    def record(self, scheduler: "SchedulerStats | None") -> None:
        if scheduler is not None:
            self.kv_cache_usage = scheduler.kv_cache_usage


async def load(settings: PaligemmaSettings, adapters: Sequence[Adapter], stats: LatestStats) -> "AsyncLLM":
    """Load the model; takes seconds to minutes. Raises what vLLM raises on a bad model, adapter or machine."""
    set_environment(settings)
    llm = await in_lasting_thread(lambda: _load(settings, adapters, stats), name="vllm")
    # Built in a thread there was no running loop to start it on.
    llm._run_output_handler()
    for adapter in adapters:
        await llm.add_lora(lora_request(adapter))
    return llm


def _load(settings: PaligemmaSettings, adapters: Sequence[Adapter], stats: LatestStats) -> "AsyncLLM":
    folder = Path(settings.model)
    if folder.is_dir():
        check_key_names(folder)
    config = engine_config(settings, adapters)
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_vllm_config(config, stat_loggers=[_stat_logger(stats)], disable_log_stats=True)


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


def lora_request(adapter: Adapter) -> "LoRARequest":
    from vllm.lora.request import LoRARequest

    return LoRARequest(adapter.name, adapter.id, str(adapter.folder))


def engine_dead_error() -> type[Exception]:
    from vllm.v1.engine.exceptions import EngineDeadError

    return EngineDeadError


def revision(settings: PaligemmaSettings) -> str:
    """The hub's commit, or the folder's hash."""
    from transformers.utils import cached_file, extract_commit_hash

    config = cached_file(settings.model, "config.json", revision=settings.model_revision)
    return extract_commit_hash(config, None) or checkpoint_revision(Path(settings.model))
