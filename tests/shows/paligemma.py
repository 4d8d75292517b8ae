"""paligemma: a slot freed by a killed client, SIGTERM under load. `make eval` and `make parity` show its answers."""

import asyncio
import tempfile
from pathlib import Path

from evals.figures import Figure
from tests.checkpoints import talkative
from tests.integration.slots import seconds_to_free_a_slot
from tests.shows.draining import draining


async def slot() -> list[Figure]:
    """kill -9 a client amid its stream: seconds until the engine's only slot serves another"""
    with tempfile.TemporaryDirectory() as folder:
        model = await asyncio.to_thread(talkative, Path(folder))
        seconds = await seconds_to_free_a_slot(model)
    return [Figure("killed_client_slot_free_s", round(seconds, 3), "<=", 1)]


async def drain() -> list[Figure]:
    """SIGTERM to paligemma with 32 streams in flight and 32 calls arriving"""
    return await draining("paligemma", calls=32)


SHOWS = (slot, drain)
