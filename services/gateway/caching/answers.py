"""Answers as they are stored: the events of a whole answer, or the refusal of a request that is wrong in itself."""

from collections.abc import Sequence
from io import BytesIO

from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed
from google.rpc import status_pb2

from chiasm.v1 import generation_pb2
from services.gateway.flights.failures import Relayed, status_of
from services.gateway.flights.log import Event
from services.gateway.flights.retelling import CACHED
from services.runtime.errors import ChiasmError

_ANSWER = b"A"
_REFUSAL = b"R"


class Recording:
    """Takes an answer down as it passes, up to `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._events: list[Event] = []

    def take(self, event: Event) -> None:
        """What is superseded is dropped."""
        if event.HasField("superseded"):
            self._events, self._bytes = [], 0
            return
        self._bytes += event.ByteSize()
        if self._bytes <= self._max_bytes:
            self._events.append(event)

    @property
    def data(self) -> bytes | None:
        """The answer as it is stored; None of one that is too large, or that another time might well be better."""
        if self._bytes > self._max_bytes or not self._events[-1].HasField("finished"):
            return None
        started, *deltas, finished = self._events
        if not _is_good(text_of(deltas), finished.finished):
            return None
        return _stored_answer([_first(started), *deltas, _cached(finished)])


def stored_refusal(error: ChiasmError) -> bytes:
    """As it is stored."""
    return _REFUSAL + status_of(error).SerializeToString()


def restored(data: bytes) -> Sequence[Event]:
    """The events of a stored answer. Raises Relayed for a stored refusal, ValueError for what is neither."""
    kind, content = data[:1], data[1:]
    try:
        if kind == _REFUSAL:
            raise Relayed(status_pb2.Status.FromString(content))
        if kind != _ANSWER:
            raise ValueError("neither an answer nor a refusal")
        stream, events = BytesIO(content), []
        while (event := parse_length_prefixed(Event, stream)) is not None:
            events.append(event)
    except DecodeError as error:
        raise ValueError("not as it was stored") from error
    kinds = [event.WhichOneof("event") for event in events]
    if kinds != ["started", *["delta"] * (len(events) - 2), "finished"]:
        raise ValueError("no whole answer")
    return events


def text_of(events: Sequence[Event]) -> str:
    """What an answer says."""
    return "".join(event.delta.text for event in events)


def _is_good(text: str, finished: generation_pb2.Finished) -> bool:
    """Whether it says something, came to its own end, and is not what was settled for after others had failed."""
    failed = any(attempt.status != "OK" for attempt in finished.route.attempts[:-1])
    return bool(text.strip()) and finished.finish_reason == generation_pb2.FINISH_REASON_STOP and not failed


def _stored_answer(events: Sequence[Event]) -> bytes:
    stream = BytesIO()
    for event in events:
        serialize_length_prefixed(event, stream)
    return _ANSWER + stream.getvalue()


def _first(event: Event) -> Event:
    """The attempt that answered is the only one that is told of."""
    return Event(started=generation_pb2.Started(model=event.started.model, attempt=1))


def _cached(event: Event) -> Event:
    """Without what it cost and how long it took."""
    stored = Event()
    stored.CopyFrom(event)
    stored.finished.usage.cost_nanousd = 0
    revisions = [attempt.revision for attempt in event.finished.route.attempts[-1:]]
    attempt = generation_pb2.Attempt(status=CACHED, revision="".join(revisions))
    stored.finished.route.CopyFrom(generation_pb2.Route(attempts=[attempt]))
    return stored
