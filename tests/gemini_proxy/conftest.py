from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio

from services.gemini_proxy.accounts.redis_books import connect
from tests.valkey import valkey_server


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a server of this test process's own."""
    with valkey_server(save="") as server:
        yield server.connection_url


@pytest.fixture
async def client(valkey: str) -> AsyncIterator[redis.asyncio.Redis]:
    """Of an empty database."""
    client = connect(valkey, timeout_s=5)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
def redis_url(valkey: str, client: redis.asyncio.Redis) -> str:
    """Of an empty database."""
    return valkey
