"""A flight's events as one caller is told of them: under its own request's name, what is void struck out."""

from chiasm.v1 import generation_pb2
from services.gateway.answerer import Ask
from services.gateway.flights.log import Break, Event, Item
from services.runtime.durations import duration_of

CACHED = "CACHED"
"""The status of an attempt that was a look at stored answers."""
JOINED = "JOINED"
"""The status of an attempt that was to listen to another call's: the cost is on that call's answer."""


class Retelling:
    """`started` is held back until something follows it, so that an attempt that said nothing leaves no trace."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._started: generation_pb2.Started | None = None
        self._model = ""
        self._shown = 0
        self._open = False
        self._void: generation_pb2.SupersededReason | None = None
        self._offset = 0

    def tell(self, item: Item, *, own: bool) -> list[Event]:
        """What the caller is told now; `own` where its question is the one that was asked."""
        if isinstance(item, Break):
            self._break(item.reason)
            return []
        match item.WhichOneof("event"):
            case "started":
                self._started = item.started
                return []
            case "superseded":
                return self._superseded(item.superseded)
            case "finished":
                return [*self._begin(), self._finished(item, own)]
        self._ask.arrived.saw_token()
        return [*self._begin(), item]

    def _break(self, reason: generation_pb2.SupersededReason) -> None:
        self._started = None
        self._offset = self._shown
        if self._open:
            self._void = reason

    def _superseded(self, superseded: generation_pb2.Superseded) -> list[Event]:
        if self._started is not None:
            self._started = None
            return []
        self._open = False
        told = generation_pb2.Superseded(
            attempt=self._shown, reason=superseded.reason, next_model=superseded.next_model
        )
        return [Event(superseded=told)]

    def _begin(self) -> list[Event]:
        if self._started is None:
            return []
        started, self._started = self._started, None
        events = []
        if self._void is not None:
            void = generation_pb2.Superseded(attempt=self._shown, reason=self._void, next_model=started.model)
            events.append(Event(superseded=void))
            self._void = None
        self._model, self._shown, self._open = started.model, self._offset + started.attempt, True
        told = generation_pb2.Started(model=started.model, attempt=self._shown, request_id=self._ask.request.request_id)
        return [*events, Event(started=told)]

    def _finished(self, event: Event, own: bool) -> Event:
        attempts = event.finished.route.attempts
        cached = bool(attempts) and attempts[-1].status == CACHED
        if own and not cached:
            return event
        told = Event()
        told.CopyFrom(event)
        told.finished.usage.cost_nanousd = 0
        clock = self._ask.arrived
        first_token, duration = duration_of(clock.first_token_s), duration_of(clock.elapsed_s)
        attempt = generation_pb2.Attempt(
            model=self._model,
            revision=attempts[-1].revision if attempts else "",
            status=CACHED if cached else JOINED,
            time_to_first_token=first_token,
            duration=duration,
            usage=told.finished.usage,
        )
        route = generation_pb2.Route(attempts=[attempt], time_to_first_token=first_token, duration=duration)
        told.finished.route.CopyFrom(route)
        return told
