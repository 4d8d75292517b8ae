"""The gateway: SIGTERM under load."""

from evals.figures import Figure
from tests.shows.draining import draining


async def drain() -> list[Figure]:
    """SIGTERM to the gateway with 32 streams in flight and 32 calls arriving"""
    return await draining("gateway", calls=32)


SHOWS = (drain,)
