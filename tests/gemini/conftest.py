"""google-genai's own client on an emulator, and a clock that stands until it is moved."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from google import genai
from google.genai import types
from google.genai.client import AsyncClient

from tests.gemini.config import TEST_KEY, default_config
from tests.gemini.server import Emulator, emulator

MIDNIGHT = 1_800_000_000.0
"""Pacific: 2027-01-15 00:00."""


class Clock:
    def __init__(self) -> None:
        self.now_s = MIDNIGHT

    def __call__(self) -> float:
        return self.now_s


def directed(text: str = "", **directive: Any) -> str:
    """A prompt with a directive."""
    return text + json.dumps({"emulate": directive})


@asynccontextmanager
async def client_of(base_url: str, *, key: str = TEST_KEY, vertex: bool = False) -> AsyncIterator[AsyncClient]:
    """No retries of its own; and its session is ours, because the one that google-genai makes warns of itself."""
    async with aiohttp.ClientSession() as session:
        options = types.HttpOptions(
            base_url=base_url,
            api_version="v1",
            timeout=20_000,
            retry_options=types.HttpRetryOptions(attempts=1),
            aiohttp_client=session,
        )
        client = genai.Client(vertexai=vertex, api_key=key, http_options=options)
        try:
            yield client.aio
        finally:
            await client.aio.aclose()
            client.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def gemini() -> AsyncIterator[Emulator]:
    async with emulator(default_config()) as running:
        yield running


@pytest.fixture
async def client(gemini: Emulator) -> AsyncIterator[AsyncClient]:
    async with client_of(gemini.base_url) as aio:
        yield aio


@pytest.fixture
async def vertex(gemini: Emulator) -> AsyncIterator[AsyncClient]:
    async with client_of(gemini.base_url, vertex=True) as aio:
        yield aio
