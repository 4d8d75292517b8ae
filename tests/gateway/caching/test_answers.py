"""What is stored of an answer, and what is not taken for one."""

from io import BytesIO

import pytest
from google.protobuf.proto import serialize_length_prefixed
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2
from services.gateway.caching.answers import Recording, restored, stored_refusal, text_of
from services.gateway.flights.failures import Relayed
from services.runtime.errors import InvalidArgument
from tests.client.scripted import delta, finished, started
from tests.gateway.flights.answering import Event


def stored(*events: Event) -> bytes | None:
    recording = Recording(10_000)
    for event in events:
        recording.take(event)
    return recording.data


def as_an_answer(*events: Event) -> bytes:
    """Whatever they are."""
    stream = BytesIO()
    for event in events:
        serialize_length_prefixed(event, stream)
    return b"A" + stream.getvalue()


WHOLE = stored(started(), delta("two "), delta("circles"), finished())


def test_an_answer_comes_back_as_it_was() -> None:
    events = restored(WHOLE)
    assert text_of(events) == "two circles"
    assert [event.WhichOneof("event") for event in events] == ["started", "delta", "delta", "finished"]
    with pytest.raises(Relayed, match="not so"):
        restored(stored_refusal(InvalidArgument("not so", field="task")))


@pytest.mark.parametrize(
    ("text", "statuses", "kept"),
    [
        ("", ["OK"], False),
        (" \n", ["OK"], False),
        ("two", ["UNAVAILABLE", "OK"], False),
        ("two", ["OK", "CANCELLED", "OK"], False),
        ("two", ["OK", "OK"], True),
    ],
    ids=["empty", "blank", "fallback", "hedge", "escalation"],
)
def test_an_answer_that_another_time_may_be_better_is_not_stored(text: str, statuses: list[str], kept: bool) -> None:
    end = finished()
    attempts = [generation_pb2.Attempt(model="models/tiny", revision="abc", status=status) for status in statuses]
    end.finished.route.CopyFrom(generation_pb2.Route(attempts=attempts))
    assert (stored(started(), delta(text), end) is not None) is kept


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"A",
        b"?",
        b"R",
        b"R\x08\x63",
        b"A\xff\xff",
        as_an_answer(started()),
        as_an_answer(started(), delta("two")),
        as_an_answer(delta("two"), finished()),
        as_an_answer(started(), Event(), finished()),
    ],
    ids=repr,
)
def test_what_is_no_whole_answer_is_none(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own ones too
        restored(data)


@given(st.binary(max_size=200) | st.integers(0, len(WHOLE)).map(lambda end: WHOLE[:end]))
def test_whatever_is_stored_is_an_answer_or_a_refusal_or_neither(data: bytes) -> None:
    try:
        events = restored(data)
    except (ValueError, Relayed):
        return
    assert events[0].HasField("started")
    assert events[-1].HasField("finished")
