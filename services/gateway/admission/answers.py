"""The layers that admit: what is behind them works at no more than the policy's bounds."""

from collections.abc import Callable
from contextlib import aclosing

from services.gateway.admission.byte_room import ByteRoom
from services.gateway.admission.gate import Gate
from services.gateway.admission.priority import priority_of
from services.gateway.answerer import Answerer, Ask, Events
from services.gateway.policy import Policy


class HeldBytes:
    """An Answerer: makes room for the bytes of a question from its arrival to its end.

    Args:
        inner: the next layer.
        policy: as it is now.
    """

    def __init__(self, inner: Answerer, policy: Callable[[], Policy]) -> None:
        self._inner = inner
        self.room = ByteRoom(lambda: policy().admission)

    async def events(self, ask: Ask) -> Events:
        """Raises InvalidArgument and Overloaded as `ByteRoom.held` does, and whatever the next layer does."""
        with self.room.held(ask.account.name, ask.weight.bytes, priority_of(ask)):
            async with aclosing(self._inner.events(ask)) as events:
                async for event in events:
                    yield event


class AdmittedAnswers:
    """An Answerer: holds a place in the gate from an answer's beginning to its end.

    It stands behind stored answers and flights: who has their answer takes no place.

    Args:
        inner: the next layer.
        policy: as it is now.
    """

    def __init__(self, inner: Answerer, policy: Callable[[], Policy]) -> None:
        self._inner = inner
        self.gate = Gate(lambda: policy().admission)

    async def events(self, ask: Ask) -> Events:
        """Raises InvalidArgument and Overloaded as `Gate.admitted` does, and whatever the next layer does."""
        admitted = self.gate.admitted(
            ask.account.name,
            ask.weight.pixels,
            priority=priority_of(ask),
            deadline=ask.deadline,
            share=ask.account.weight,
            kind=(ask.request.model, ask.request.task),
        )
        async with admitted as admission, aclosing(self._inner.events(ask)) as events:
            async for event in events:
                if event.HasField("finished"):
                    admission.answered()
                yield event
