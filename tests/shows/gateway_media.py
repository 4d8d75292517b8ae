"""The gateway's media: what a caller with bad intent cannot make it fetch."""

import sys

from evals.figures import Figure
from tests.gateway.media.hostile import try_hostile_urls

TIMEOUT_S = 5.0


async def hostile_urls() -> list[Figure]:
    """URLs that lead inside, round and round or on without end: none is fetched, nothing inside is reached"""
    tried = await try_hostile_urls(TIMEOUT_S)
    for url in tried.fetched:
        print(f"  fetched: {url}", file=sys.stderr)
    return [
        Figure("gateway_hostile_urls", len(tried.urls), ">=", 30),
        Figure("gateway_hostile_urls_fetched", len(tried.fetched), "==", 0),
        Figure("gateway_hostile_urls_connections_inside", tried.inside, "==", 0),
    ]


SHOWS = (hostile_urls,)
