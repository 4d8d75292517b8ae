"""A layer that answers as a test tells it to, and questions for it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from chiasm.v1 import generation_pb2, media_pb2
from services.gateway.answerer import UNNAMED, Ask, Events, Weight
from services.gateway.clock import Clock
from services.gateway.policy import TenantPolicy
from services.runtime.streams import collect
from tests.client.scripted import delta, finished, started

Event = generation_pb2.StreamGenerateResponse
Script = Callable[[Ask], Events]


def ask(
    text: str = "how many?",
    picture: bytes | str = b"a picture",
    *,
    tenant: str = "default",
    timeout_s: float = 20.0,
    routing: generation_pb2.Routing | None = None,
    config: generation_pb2.GenerationConfig | None = None,
    model: str = "",
    account: TenantPolicy = UNNAMED,
) -> Ask:
    """About a picture; `picture` is its bytes, or where it is."""
    media = media_pb2.Media(uri=picture) if isinstance(picture, str) else media_pb2.Media(data=picture)
    parts = [
        generation_pb2.Part(media=media),
        generation_pb2.Part(text=text),
    ]
    request = generation_pb2.GenerateRequest(
        model=model,
        task=generation_pb2.TASK_ANSWER,
        messages=[generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=parts)],
        request_id=uuid.uuid4().hex,
        routing=routing,
        config=config,
    )
    deadline = asyncio.get_running_loop().time() + timeout_s if timeout_s else 0.0
    return Ask(request, tenant, deadline, Clock(), Weight(len(picture), 100), account)


class Answering:
    """Says `two circles`, and waits before the second word until `go` is set."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self.running = 0
        self.began = asyncio.Event()
        self.idle = asyncio.Event()
        self.go = asyncio.Event()
        self.script: Script = self.two_circles

    async def events(self, ask: Ask) -> Events:
        self.asks.append(ask)
        self.running += 1
        self.began.set()
        self.idle.clear()
        try:
            async with aclosing(self.script(ask)) as events:
                async for event in events:
                    yield event
        finally:
            self.running -= 1
            if not self.running:
                self.idle.set()

    async def until_running(self, count: int) -> None:
        """Waits until it is asked so many questions at once."""
        while self.running < count:  # noqa: ASYNC110 - of any number
            await asyncio.sleep(0)

    async def two_circles(self, ask: Ask) -> Events:
        yield started()
        yield delta("two ")
        await self.go.wait()
        yield delta("circles")
        yield finished()


async def whole(events: AsyncIterator[Event]) -> generation_pb2.GenerateResponse:
    """The answer, after a check that it came as the contract has it."""
    told = [event async for event in events]
    check(told)
    return await collect(_each(told))


async def landed() -> None:
    """Waits until no flight is left: an answer is stored after its last event."""
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name().startswith("flight ")))


def check(told: list[Event]) -> None:
    """`started`, deltas, `finished`; `superseded` and the next `started` in between."""
    kinds = [event.WhichOneof("event") for event in told]
    assert kinds[0] == "started", kinds
    assert kinds[-1] == "finished", kinds
    assert kinds.count("finished") == 1
    attempt = 0
    for i, event in enumerate(told):
        match kinds[i]:
            case "started":
                assert i == 0 or kinds[i - 1] == "superseded", kinds
                assert event.started.attempt > attempt
                attempt = event.started.attempt
            case "superseded":
                assert event.superseded.attempt == attempt
                assert kinds[i + 1] == "started", kinds


async def _each(told: list[Event]) -> AsyncIterator[Event]:
    for event in told:
        yield event
