"""A second copy of a slow call: https://research.google/pubs/the-tail-at-scale/."""

import asyncio

from services.gateway.attempts import observation
from services.gateway.attempts.attempt import Attempt
from services.gateway.attempts.course import Course


async def hedged(first: Attempt, course: Course, after_s: float | None) -> Attempt:
    """`first`, or a second attempt begun after `after_s` seconds, drained: whichever answered first.

    The other one is cancelled. Where neither says anything, one that ended well; where none did, the one that failed
    last. No second one where `after_s` is None.
    """
    async with asyncio.TaskGroup() as group:
        running = {group.create_task(first.drain()): first}
        done, _ = await asyncio.wait(running, timeout=after_s)
        second = course.hedge() if not done else None
        if second is not None:
            running[group.create_task(second.drain())] = second
        winner = await _best(running)
        for task in running:
            task.cancel()
    if second is not None:
        observation.hedged(second.candidate.model.name, won=winner is second)
    return winner


async def _best(running: dict[asyncio.Task[None], Attempt]) -> Attempt:
    ended: list[Attempt] = []
    pending = set(running)
    while pending and not any(attempt.answered for attempt in ended):
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        ended += [running[task] for task in done]
    answered = [attempt for attempt in ended if attempt.answered]
    whole = [attempt for attempt in ended if attempt.finished is not None]
    return (answered or whole or ended)[-1]
