"""The gateway: drains, streams that break, one flight for equal calls, Redis gone, overload, hostile addresses."""

from evals.figures import Figure
from tests.shows import gateway_cascade, gateway_flights, gateway_media, gateway_overload, gateway_streams
from tests.shows.draining import draining


async def drain() -> list[Figure]:
    """SIGTERM to the gateway with 32 streams in flight and 32 calls arriving"""
    return await draining("gateway", calls=32)


SHOWS = (
    drain,
    gateway_streams.streams,
    *gateway_flights.SHOWS,
    *gateway_cascade.SHOWS,
    *gateway_overload.SHOWS,
    *gateway_media.SHOWS,
)
