"""One stack for many tests: it takes some twenty seconds to start. All of them run on its event loop."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chiasm import AsyncClient
from chiasm.command.stack import Stack
from tests.checkpoints import TINY, talkative
from tests.otlp_receiver import OtlpReceiver
from tests.stacks import gateway, running


@pytest.fixture(scope="session")
def talkative_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talkative(tmp_path_factory.mktemp("talkative"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def receiver() -> AsyncIterator[OtlpReceiver]:
    """Where the stack sends its traces and metrics."""
    async with OtlpReceiver() as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(receiver: OtlpReceiver) -> AsyncIterator[Stack]:
    """The trained tiny model behind a gateway."""
    async with running(TINY, {"CHIASM_OTLP_ENDPOINT": receiver.endpoint}) as stack:
        yield stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(stack: Stack) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(gateway(stack)) as client:
        yield client
