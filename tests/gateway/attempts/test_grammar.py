"""Which streams are answers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2 as generation
from services.gateway.attempts.grammar import checked
from services.runtime.errors import Aborted, ChiasmError, Internal, Unavailable
from tests.gateway.attempts.scene import Event, delta, finished, never, saying, started

SUPERSEDED = Event(superseded=generation.Superseded(attempt=1, next_model="models/b"))
UNSPECIFIED = finished(generation.FINISH_REASON_UNSPECIFIED)


async def parts(*events: object) -> list[object]:
    return [part async for part in checked(saying(*events)())]


async def test_a_whole_answer_passes() -> None:
    assert await parts(started(), delta("a"), delta("b"), finished()) == [
        delta("a").delta,
        delta("b").delta,
        finished().finished,
    ]


async def test_an_answer_of_nothing_passes() -> None:
    assert await parts(started(), finished()) == [finished().finished]


@pytest.mark.parametrize("length", [0, 1, 2, 3])
async def test_a_cut_answer_does_not(length: int) -> None:
    with pytest.raises(Unavailable, match="broke off"):
        await parts(*[started(), delta("a"), delta("b"), finished()][:length])


@pytest.mark.parametrize(
    "events",
    [
        [delta("a"), finished()],
        [finished()],
        [started(), started(), delta("a"), finished()],
        [started(), delta("a"), started(), finished()],
        [started(), SUPERSEDED, finished()],
        [started(), Event(), finished()],
        [started(), None, finished()],
        [started(), delta("a"), UNSPECIFIED],
        [started(), delta("a"), finished(), delta("b")],
        [started(), delta("a"), finished(), finished()],
        [started(), delta("a"), finished(), None],
    ],
)
async def test_what_is_no_answer_is_refused(events: list[Event | None]) -> None:
    with pytest.raises(Aborted, match="could not be read"):
        await parts(*events)


@pytest.mark.parametrize("end", [Internal("late"), Unavailable("late")])
async def test_how_a_stream_ends_after_the_answer_does_not_matter(end: ChiasmError) -> None:
    assert (await parts(started(), delta("a"), finished(), end))[-1] == finished().finished


async def test_a_stream_that_does_not_end_is_not_waited_for() -> None:
    async with asyncio.timeout(5):
        assert (await parts(started(), finished(), never()))[-1] == finished().finished


EVENTS = {"s": started(), "d": delta("a"), "f": finished(), "x": SUPERSEDED, "-": None, "u": UNSPECIFIED}


@given(word=st.text("sdfx-u", max_size=6))
def test_exactly_the_words_of_the_grammar_pass(word: str) -> None:
    whole = word[:1] == "s" and word[-1:] == "f" and set(word[1:-1]) <= {"d"} and len(word) > 1
    try:
        heard = asyncio.run(parts(*(EVENTS[letter] for letter in word)))
    except (Aborted, Unavailable):
        heard = []
    assert bool(heard) == whole
