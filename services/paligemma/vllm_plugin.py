"""vLLM plugin: serve PaliGemma with the attention mask it was trained with.

vLLM loads it in each of its processes through the entry-point group `vllm.general_plugins`.
"""

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def register() -> None:
    """Put the exact model in the place of vLLM's own `PaliGemmaForConditionalGeneration`."""
    from vllm import ModelRegistry

    _die_with_parent()
    ModelRegistry.register_model(
        "PaliGemmaForConditionalGeneration", "services.paligemma.exact_model:ExactPaliGemmaForConditionalGeneration"
    )


def _die_with_parent() -> None:
    """vLLM's engine outlives a server that is killed, and would hold its memory for ever."""
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:  # it died before the call above
        os.kill(os.getpid(), signal.SIGKILL)
