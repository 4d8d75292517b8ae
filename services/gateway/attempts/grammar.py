"""What a model server's stream must look like: `started`, any number of `delta`, `finished`, and its end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from chiasm.v1 import generation_pb2
from services.gateway.answerer import Events
from services.runtime.errors import Aborted, ChiasmError, Unavailable

# The end of a stream travels with `finished`. An answer is whole without it, and does not wait for it long.
END_S = 0.1


async def checked(events: Events) -> AsyncGenerator[generation_pb2.Delta | generation_pb2.Finished, None]:
    """The deltas of a stream and, as the last, its `finished`; closes `events` at the end.

    A cut answer is never passed on as a whole one. Raises Unavailable where the stream ends too early, Aborted where
    it is not of the form above, and what `events` raise.
    """
    async with aclosing(events):
        begun = False
        async for event in events:
            # What cannot be parsed comes as None from grpc.aio.
            match event.WhichOneof("event") if event is not None else None:
                case "started" if not begun:
                    begun = True
                case "delta" if begun:
                    yield event.delta
                case "finished" if begun and event.finished.finish_reason in _REASONS:
                    if await _goes_on(events):
                        raise _unreadable()
                    yield event.finished
                    return
                case _:
                    raise _unreadable()
        raise Unavailable("the model server's answer broke off before its end")


_REASONS = set(generation_pb2.FinishReason.values()) - {generation_pb2.FINISH_REASON_UNSPECIFIED}


async def _goes_on(events: Events) -> bool:
    """Whether something comes after `finished`. How the stream ends does not matter any more."""
    try:
        async with asyncio.timeout(END_S):
            await anext(events)
    except (StopAsyncIteration, TimeoutError, ChiasmError):
        return False
    return True


def _unreadable() -> Aborted:
    return Aborted("the model server's answer could not be read")
