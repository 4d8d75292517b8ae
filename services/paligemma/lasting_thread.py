"""Runs blocking work in a daemon thread that stays."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_lasting_thread(work: Callable[[], T], *, name: str) -> T:
    """What `work` returns or raises.

    Unlike those of `asyncio.to_thread`, the thread does not hold up the process's end, so that a
    signal amid a long load is heeded; and it stays when the work is done, because the processes it
    started die with it (`vllm_plugin._die_with_parent`).
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(result)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
            loop.call_soon_threadsafe(settle, result, error)
        threading.Event().wait()

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
