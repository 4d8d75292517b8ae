"""The short form of the show: a table of hostile URLs, all refused."""

import pytest

from services.gateway.media.room import Room
from services.runtime.errors import InvalidArgument
from tests.gateway.media.hostile import FIELD, try_hostile_urls
from tests.gateway.media.web import fetching, trap


async def test_no_hostile_url_is_fetched_and_nothing_inside_is_reached() -> None:
    tried = await try_hostile_urls(timeout_s=2)
    assert len(tried.urls) == len(set(tried.urls)) >= 30
    assert tried.fetched == []
    assert tried.inside == 0
    for told in tried.told:
        assert "127.0.0" not in told
        assert "test" not in told


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_the_trap_counts_who_comes(host: str) -> None:
    async with trap() as inside, fetching(ports=[inside.port], allowed=["127.0.0.1", "::1"]) as fetcher:
        with pytest.raises(InvalidArgument, match="broke off"):
            await fetcher.fetch(f"http://{host}:{inside.port}/", Room(1, 1), tenant="one", field=FIELD)
        assert inside.connections
