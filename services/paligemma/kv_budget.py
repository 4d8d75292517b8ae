"""Lets requests into the engine only while the key-value cache holds all they may come to need.

vLLM makes room by preempting: it drops a request's cache and computes it anew, with what it has
already written taken for prompt. Under PaliGemma's mask that changes the answer, silently.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class KvBudget:
    """Cache blocks that are handed out in order of asking."""

    def __init__(self, blocks: int, block_tokens: int) -> None:
        """A cache of `blocks` blocks, each for `block_tokens` tokens."""
        self._blocks = blocks
        self._block_tokens = block_tokens
        self._free = blocks
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, tokens: int) -> AsyncIterator[None]:
        """Waits for room for `tokens` tokens and keeps it; what exceeds the cache counts as all of it."""
        blocks = min(-(-tokens // self._block_tokens) + 1, self._blocks)
        await self._take(blocks)
        try:
            yield
        finally:
            self._give(blocks)

    async def _take(self, blocks: int) -> None:
        if not self._waiting and blocks <= self._free:
            self._free -= blocks
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((blocks, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(blocks)  # granted in the very turn in which it was cancelled
            else:
                with suppress(ValueError):  # a release may have passed over it already
                    self._waiting.remove((blocks, turn))
                self._give(0)  # it may have been all that the next one waited for
            raise

    def _give(self, blocks: int) -> None:
        self._free += blocks
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= wanted
                turn.set_result(None)
