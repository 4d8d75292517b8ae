"""Whatever the targets do, a call ends once, whole, within its caps, and leaves nothing running."""

import asyncio
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2 as generation
from services.gateway.attempts import course
from services.gateway.policy import CascadePolicy, FallbackPolicy, HedgePolicy, Policy
from services.runtime.errors import (
    Aborted,
    ChiasmError,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Overloaded,
    Unavailable,
)
from tests.gateway.attempts.scene import Event, Scene, delta, finished, question, saying, started

ERRORS = [
    Unavailable("away"),
    Overloaded("full"),
    Aborted("broken"),
    DeadlineExceeded("late"),
    Internal("fault"),
    FailedPrecondition("no key"),
    InvalidArgument("bad", field="f"),
]
FINISHES = [
    finished(confidence=0.1),
    finished(confidence=0.9),
    finished(generation.FINISH_REASON_MAX_TOKENS),
    finished(generation.FINISH_REASON_BLOCKED),
]
answers = st.builds(
    lambda words, end: [started(), *(delta(word) for word in words), end],
    st.lists(st.sampled_from(["a", "b ", " ", ""]), max_size=3),
    st.sampled_from(FINISHES),
)
breaks = st.builds(
    lambda answer, length, error: [*answer[:length], error],
    answers,
    st.integers(0, 4),
    st.sampled_from([*ERRORS, None, Event()]),
)
scripts = st.lists(st.one_of(answers, breaks), min_size=1, max_size=3)
fallbacks = st.builds(
    FallbackPolicy,
    on=st.sets(st.sampled_from(["unavailable", "timeout", "quota", "broken", "blocked", "empty"])),
    max_attempts=st.integers(1, 5),
)


@given(
    targets=st.lists(st.tuples(st.sampled_from("abc"), scripts), min_size=1, max_size=4),
    fallback=fallbacks,
    allow=st.sampled_from([None, True, False]),
    least_confidence=st.sampled_from([0.0, 0.3]),
    hedge=st.booleans(),
)
def test_a_call_ends_once_and_whole(
    targets: list, fallback: FallbackPolicy, allow: bool | None, least_confidence: float, hedge: bool
) -> None:
    policy = Policy(fallback=fallback, hedging=HedgePolicy(share=1), cascade=CascadePolicy(escalation_share=1))
    scene = Scene(policy, least_confidence=least_confidence)
    for number, (model, played) in enumerate(targets):
        scene.candidate(model, *(saying(*events) for events in played), address=f"{number}")

    async def told() -> tuple[list[Event], ChiasmError | None]:
        events = []
        try:
            async for event in scene.layer().events(question(whole=hedge, allow_fallback=allow)):
                events.append(event)
        except ChiasmError as error:
            return events, error
        return events, None

    with mock.patch.object(course, "_FIRST_PAUSE_S", 1e-4):
        events, error = asyncio.run(told())

    kinds = [event.WhichOneof("event") for event in events]
    assert kinds.count("finished") == (0 if error else 1)
    follow_the_contract(events)
    asked = [scene.candidates[number].target for number in range(len(targets))]
    attempts = sum(len(target.asked) for target in asked)
    assert 1 <= attempts <= fallback.max_attempts
    assert all(target.at_work == 0 and target.closed == len(target.asked) for target in asked)
    if error is None:
        assert kinds[-1] == "finished"
        last = events[-1].finished
        assert len(last.route.attempts) == attempts
        assert last.route.attempts[-1].status == "OK"
        assert any(whole(events) == text for _, played in targets for text in whole_texts(played))


def follow_the_contract(events: list[Event]) -> None:
    number, open_ = 0, False
    for event in events:
        match event.WhichOneof("event"):
            case "started":
                number += 1
                assert not open_
                assert event.started.attempt == number
                open_ = True
            case "superseded":
                assert open_
                assert event.superseded.attempt == number
                assert event.superseded.reason != generation.SUPERSEDED_REASON_UNSPECIFIED
                open_ = False
            case _:
                assert open_


def whole(events: list[Event]) -> str:
    """What the caller is left with."""
    last = max(i for i, event in enumerate(events) if event.HasField("started"))
    return "".join(event.delta.text for event in events[last:])


def whole_texts(played: list) -> list[str]:
    """The texts of the scripts that are whole answers; an error after `finished` does not undo one."""
    told = [[event for event in events if not isinstance(event, ChiasmError)] for events in played]
    return [
        "".join(event.delta.text for event in events)
        for events in told
        if events and events[-1] is not None and events[-1].HasField("finished")
    ]
