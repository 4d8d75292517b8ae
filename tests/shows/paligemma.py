"""paligemma: right answers on unseen pictures, a slot freed by a killed client, SIGTERM under load."""

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path

from chiasm import AsyncClient
from tests.checkpoints import TINY, talkative
from tests.integration.held_out import ask_all
from tests.integration.slots import seconds_to_free_a_slot
from tests.shows.draining import draining
from tests.shows.figures import Figure
from tests.stacks import gateway, running


async def answers() -> list[Figure]:
    """colour and counting questions about 300 pictures it never saw"""
    async with running(TINY) as stack, AsyncClient(gateway(stack)) as client:
        asked = await ask_all(client, pictures=300)
    right: dict[str, list[bool]] = defaultdict(list)
    for example, text in asked:
        right[example.kind].append(text == example.answer)
    return [Figure(f"held_out_{kind}_exact", sum(hits) / len(hits), ">=", 0.9) for kind, hits in sorted(right.items())]


async def slot() -> list[Figure]:
    """kill -9 a client amid its stream: seconds until the engine's only slot serves another"""
    with tempfile.TemporaryDirectory() as folder:
        model = await asyncio.to_thread(talkative, Path(folder))
        seconds = await seconds_to_free_a_slot(model)
    return [Figure("killed_client_slot_free_s", round(seconds, 3), "<=", 1)]


async def drain() -> list[Figure]:
    """SIGTERM to paligemma with 32 streams in flight and 32 calls arriving"""
    return await draining("paligemma", calls=32)


SHOWS = (answers, slot, drain)
