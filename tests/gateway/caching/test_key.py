"""What makes two questions the same."""

import copy
import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2, media_pb2
from services.gateway.answerer import Ask, Weight
from services.gateway.caching import key as keys
from services.gateway.caching.key import key_of, question_of
from services.gateway.clock import Clock

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
PARTS = st.one_of(
    st.builds(lambda text: generation_pb2.Part(text=text), TEXTS),
    st.builds(lambda data: generation_pb2.Part(media=media_pb2.Media(data=data)), st.binary(min_size=1, max_size=4)),
    st.builds(lambda name: generation_pb2.Part(media=media_pb2.Media(uri=f"gs://{name}")), TEXTS),
)
MESSAGES = st.builds(
    generation_pb2.Message, role=st.sampled_from([1, 2, 3]), parts=st.lists(PARTS, min_size=1, max_size=3)
)
CONFIGS = st.builds(
    generation_pb2.GenerationConfig,
    max_tokens=st.none() | st.integers(1, 4),
    temperature=st.none() | st.sampled_from([0.0, 0.5]),
    seed=st.none() | st.integers(0, 2),
    stop=st.lists(st.sampled_from(["a", "b", "ab"]), max_size=2),
)
ROUTINGS = st.builds(
    generation_pb2.Routing,
    allow_fallback=st.none() | st.booleans(),
    min_confidence=st.none() | st.sampled_from([0.0, 0.5]),
    max_cost_nanousd=st.none() | st.integers(0, 2),
    cache_control=st.sampled_from([0, 2]),
    priority=st.sampled_from([0, 1, 2, 3]),
)
REQUESTS = st.builds(
    generation_pb2.GenerateRequest,
    model=st.sampled_from(["", "models/a", "models/b"]),
    task=st.sampled_from([1, 2, 3]),
    messages=st.lists(MESSAGES, min_size=1, max_size=2),
    config=st.none() | CONFIGS,
    routing=st.none() | ROUTINGS,
    request_id=st.sampled_from(["", "one", "two"]),
)
ASKS = st.builds(
    lambda request, tenant: Ask(request, tenant, 0.0, Clock(), Weight(0, 0)), REQUESTS, st.sampled_from(["a", "b"])
)


def essence(ask: Ask) -> object:
    """All that the answer depends on, written down in another way than the key."""
    request = ask.request
    config, routing = request.config, request.routing
    return (
        ask.tenant,
        request.model,
        request.task,
        [(message.role, [essence_of_part(part) for part in message.parts]) for message in request.messages],
        [(name.name, str(value)) for name, value in config.ListFields()],
        [
            (field.name, str(value))
            for field, value in routing.ListFields()
            if field.name not in ("cache_control", "priority")
        ],
    )


def essence_of_part(part: generation_pb2.Part) -> tuple[str, object]:
    if part.HasField("text"):
        return "text", unicodedata.normalize("NFC", part.text)
    source = part.media.WhichOneof("source")
    return source, getattr(part.media, source)


@given(ASKS, ASKS)
async def test_equal_if_and_only_if_the_answer_depends_on_nothing_else(one: Ask, two: Ask) -> None:
    assert (await key_of(one, "g") == await key_of(two, "g")) == (essence(one) == essence(two))


@given(ASKS)
async def test_a_copy_has_the_same_key_and_is_not_changed_by_it(ask: Ask) -> None:
    before = copy.deepcopy(ask.request)
    other = Ask(copy.deepcopy(ask.request), ask.tenant, 5.0, Clock(), Weight(0, 0))
    other.request.request_id = "another"
    assert await key_of(ask, "g") == await key_of(other, "g")
    assert ask.request == before


@given(ASKS, TEXTS, TEXTS)
async def test_nobody_has_the_key_of_another_tenant_or_of_other_models(ask: Ask, tenant: str, generation: str) -> None:
    other = Ask(ask.request, tenant, ask.deadline, ask.arrived, ask.weight)
    assert (await key_of(ask, "g") == await key_of(other, generation)) == ((ask.tenant, "g") == (tenant, generation))


@given(ASKS)
async def test_the_question_is_the_same_whatever_the_pictures_show(ask: Ask) -> None:
    other = Ask(copy.deepcopy(ask.request), ask.tenant, ask.deadline, ask.arrived, ask.weight)
    for message in other.request.messages:
        for part in message.parts:
            if part.HasField("media"):
                part.media.data = b"something else"
    assert question_of(ask, "g") == question_of(other, "g")


async def test_media_are_their_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whichever way they came; large ones are hashed in a thread."""
    data = b"x" * 100
    digest = "09ecb6ebc8bcefc733f6f2ec44f791abeed6a99edf0cc31519637898aebd52d8"
    sent = generation_pb2.Part(media=media_pb2.Media(data=data))
    named = generation_pb2.Part(media=media_pb2.Media(name=f"media/sha256-{digest}"))
    one, two = (
        Ask(
            generation_pb2.GenerateRequest(messages=[generation_pb2.Message(parts=[part])]),
            "a",
            0,
            Clock(),
            Weight(100, 0),
        )
        for part in (sent, named)
    )
    assert await key_of(one, "g") == await key_of(two, "g")
    threads = []
    monkeypatch.setattr(keys, "HASHED_OFF_THE_LOOP_BYTES", 10)
    monkeypatch.setattr(keys, "_key", lambda ask, generation: threads.append(threading.current_thread()))
    await key_of(one, "g")
    assert threads != [threading.main_thread()]
