"""All attempts in flight, those whose callers left among them: their leases are renewed, their ends awaited."""

import asyncio
import logging

from services.gemini_proxy.accounts.books import Books
from services.gemini_proxy.attempt import Attempt, Plan, Result, Sender
from services.gemini_proxy.observation import Observation
from services.gemini_proxy.prices import Prices
from services.runtime.errors import ChiasmError

logger = logging.getLogger(__name__)


class Attempts:
    """Begins attempts and keeps them until they are settled. `run` keeps their leases alive."""

    def __init__(self, books: Books, prices: Prices, *, lease_s: float) -> None:
        self._books = books
        self._prices = prices
        self._lease_s = lease_s
        self._live: dict[str, Attempt] = {}

    def __len__(self) -> int:
        return len(self._live)

    def begin(self, plan: Plan, sender: Sender, *, waited_s: float) -> Attempt:
        """Sends the question, for which `plan.lease` was waited for `waited_s` seconds."""
        observation = Observation(plan, waited_s=waited_s)
        attempt = Attempt(plan, sender, self._books, self._prices)
        self._live[attempt.attempt_id] = attempt
        attempt.task.add_done_callback(lambda task: self._ended(attempt.attempt_id, task, observation))
        return attempt

    async def run(self) -> None:
        """Renews leases, and books those of dead replicas, for ever."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                if self._live:
                    await self._books.renew(list(self._live))
                await self._books.sweep()
            except ChiasmError as error:
                logger.warning("leases could not be renewed: %s", error.message)

    async def drain(self, timeout_s: float) -> None:
        """Waits for the last one for `timeout_s` seconds; what is left is cut and booked at its worst case."""
        tasks = [attempt.task for attempt in self._live.values()]
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=timeout_s)
        for task in left:
            task.cancel()
        if left:
            logger.warning("attempts cut by the shutdown", extra={"attempts": len(left)})
            await asyncio.wait(left)

    def _ended(self, attempt_id: str, task: asyncio.Task[Result], observation: Observation) -> None:
        del self._live[attempt_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("attempt %s failed by a fault of this server", attempt_id, exc_info=error)
        observation.end(None if task.cancelled() or task.exception() else task.result())
