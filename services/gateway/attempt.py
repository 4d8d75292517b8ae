"""One attempt at an answer: the target's stream, checked, timed and put on the route."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from google.protobuf.duration_pb2 import Duration

from chiasm.v1 import generation_pb2
from services.gateway.target import Target
from services.runtime.errors import Unavailable


class Clock:
    """Times since a request or an attempt began, in seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.first_token_s: float | None = None

    def saw_token(self) -> None:
        if self.first_token_s is None:
            self.first_token_s = self.elapsed_s

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began


async def attempt(
    target: Target, request: generation_pb2.GenerateRequest, timeout_s: float, arrived: Clock
) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
    """The events of `target`, the last of them `finished` with the route and its times.

    Raises Upstream when the target fails, Unavailable when its stream ends without `finished`:
    a cut answer is never passed on as a whole one.
    """
    began = Clock()
    async with aclosing(target.stream(request, timeout_s)) as events:
        async for event in events:
            if event.HasField("delta"):
                began.saw_token()
                arrived.saw_token()
            if event.HasField("finished"):
                _add_route(event.finished, request.model, target, began, arrived)
                yield event
                return
            yield event
    raise Unavailable("the model server's answer broke off before its end")


def _add_route(finished: generation_pb2.Finished, model: str, target: Target, began: Clock, arrived: Clock) -> None:
    served = target.models.get(model)
    attempt = generation_pb2.Attempt(
        model=model,
        revision=served.revision if served else "",
        status="OK",
        time_to_first_token=_duration(began.first_token_s),
        duration=_duration(began.elapsed_s),
        usage=finished.usage,
    )
    finished.route.CopyFrom(
        generation_pb2.Route(
            attempts=[attempt],
            time_to_first_token=_duration(arrived.first_token_s),
            duration=_duration(arrived.elapsed_s),
        )
    )


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
