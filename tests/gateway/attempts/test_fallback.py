"""What callers are shown when an attempt fails, and whom is asked next."""

import asyncio
import dataclasses

import pytest

from chiasm.v1 import generation_pb2 as generation
from chiasm.v1.errors_pb2 import ERROR_REASON_MESSAGE_SIZE
from services.gateway.policy import CircuitPolicy, FallbackPolicy, Policy, TenantPolicy
from services.runtime.errors import (
    Aborted,
    ChiasmError,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    Overloaded,
    Unavailable,
)
from tests.gateway.attempts.scene import (
    Scene,
    answering,
    delta,
    finished,
    never,
    question,
    read,
    saying,
    started,
    statuses,
)

BLOCKED = finished(generation.FINISH_REASON_BLOCKED)
FAILURES = {
    "unavailable": Unavailable("away"),
    "timeout": DeadlineExceeded("late"),
    "quota": Overloaded("full"),
    "broken": Aborted("broken"),
    "internal": Internal("fault"),
    "precondition": FailedPrecondition("no key"),
    "too large": InvalidArgument("9 bytes", field="messages", reason=ERROR_REASON_MESSAGE_SIZE),
}
ANSWERED_BY_B = ["started 1 models/b", "two", "finished STOP"]


async def test_a_good_answer_passes_as_it_comes() -> None:
    scene = Scene()
    gate = never()
    target = scene.candidate("a", saying(started(), delta("one "), gate, delta("two"), finished()))
    events = scene.layer().events(question())
    assert read([await anext(events), await anext(events)]) == ["started 1 models/a", "one "]
    assert target.at_work == 1
    gate.set()
    rest = [event async for event in events]
    assert read(rest) == ["two", "finished STOP"]
    assert statuses(rest) == [("models/a", "OK")]
    assert target.at_work == 0


async def test_the_target_is_asked_for_the_model_on_the_tenants_account() -> None:
    scene = Scene()
    target = scene.candidate("a", answering("two"))
    ask = question(timeout_s=7)
    events = [event async for event in scene.layer().events(ask)]
    (asked,) = target.asked
    assert asked.request.model == "models/a"
    assert asked.metadata == {"chiasm-tenant": "search"}
    assert 6 < asked.timeout_s <= 7
    assert ask.request.model == ""
    assert events[0].started.request_id == "request-1"
    assert events[-1].finished.confidence == 0.25
    assert events[-1].finished.route.attempts[0].revision == "a-1"


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
async def test_before_the_first_delta_a_fallback_is_invisible(error: ChiasmError) -> None:
    scene = Scene()
    scene.candidate("a", saying(started(), error))
    scene.candidate("b", answering("two"))
    events = await scene.told()
    assert read(events) == ANSWERED_BY_B
    assert statuses(events) == [("models/a", error.code.name), ("models/b", "OK")]


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
async def test_after_it_the_attempt_is_superseded(error: ChiasmError) -> None:
    scene = Scene()
    scene.candidate("a", saying(started(), delta("on"), error))
    scene.candidate("b", answering("two"))
    reason = "SLOW" if isinstance(error, DeadlineExceeded) else "BROKEN"
    assert read(await scene.told()) == [
        "started 1 models/a",
        "on",
        f"superseded 1 {reason} models/b",
        "started 2 models/b",
        "two",
        "finished STOP",
    ]


@pytest.mark.parametrize(
    ("reason", "script"),
    [
        ("blocked", saying(started(), BLOCKED)),
        ("empty", saying(started(), finished())),
        ("empty", saying(started(), delta(" \n"), finished())),
    ],
)
async def test_no_answer_is_no_answer(reason: str, script) -> None:
    scene = Scene()
    scene.candidate("a", script)
    replica = scene.candidate("a", script, address="a:2")
    scene.candidate("b", answering("two"))
    assert read(await scene.told()) == ANSWERED_BY_B
    assert replica.asked == []  # the same model would not say more
    scene.policy = Policy(fallback=FallbackPolicy(on={"unavailable"}))
    assert read(await scene.told())[0] == "started 1 models/a"


async def test_where_nobody_else_answers_no_answer_is_the_answer() -> None:
    scene = Scene()
    scene.candidate("a", saying(started(), delta("I must"), BLOCKED))
    scene.candidate("b", saying(started(), Unavailable("away")))
    events = await scene.told()
    assert read(events) == ["started 1 models/a", "I must", "finished BLOCKED"]
    assert statuses(events) == [("models/b", "UNAVAILABLE"), ("models/a", "OK")]


@pytest.mark.parametrize("error", [InvalidArgument("bad", field="f"), NotFound("none")])
async def test_what_is_wrong_with_the_request_passes_at_once(error: ChiasmError) -> None:
    scene = Scene()
    scene.candidate("a", saying(started(), error))
    other = scene.candidate("b", answering("two"))
    with pytest.raises(type(error)):
        await scene.told()
    assert other.asked == []


@pytest.mark.parametrize(
    ("on", "allow", "falls_back"),
    [
        ({"unavailable"}, None, True),
        ({"quota"}, None, False),
        ({"quota"}, True, True),
        ({"unavailable"}, False, False),
    ],
)
async def test_the_policy_says_when_and_the_caller_may_overrule(on: set, allow: bool | None, falls_back: bool) -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(on=on, retry_ratio=0, max_attempts=2)))
    scene.candidate("a", saying(Unavailable("away")))
    scene.candidate("b", answering("two"))
    if falls_back:
        assert read(await scene.told(allow_fallback=allow)) == ANSWERED_BY_B
    else:
        with pytest.raises(Unavailable):
            await scene.told(allow_fallback=allow)


async def test_a_replica_is_no_other_model() -> None:
    scene = Scene()
    scene.candidate("a", saying(Unavailable("away")))
    scene.candidate("a", answering("two"), address="a:2")
    assert read(await scene.told(allow_fallback=False))[0] == "started 1 models/a"


async def test_nothing_multiplies_attempts_beyond_the_cap() -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(max_attempts=3)))
    targets = [scene.candidate(name, saying(Unavailable("away"))) for name in "abcde"]
    with pytest.raises(Unavailable):
        await scene.told()
    assert [len(target.asked) for target in targets] == [1, 1, 1, 0, 0]


async def test_what_is_too_dear_is_not_tried() -> None:
    scene = Scene()
    scene.candidate("a", saying(started(), finished(cost=60)))
    dear = scene.candidate("b", answering("two"), cost=50)
    scene.candidate("c", answering("three"), cost=40)
    events = await scene.told(max_cost_nanousd=100)
    assert read(events)[0] == "started 1 models/c"
    assert dear.asked == []


async def test_the_usage_is_that_of_all_attempts() -> None:
    scene = Scene()
    scene.candidate("a", saying(started(), finished(cost=60)))
    scene.candidate("b", answering("two", cost=5))
    last = (await scene.told())[-1].finished
    assert (last.usage.cost_nanousd, last.usage.input_tokens) == (65, 20)
    assert [attempt.usage.cost_nanousd for attempt in last.route.attempts] == [60, 5]


async def test_a_slow_one_is_given_up_while_another_can_make_it() -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(slow_share=0.1)))
    slow = scene.candidate("a", saying(started(), never()))
    scene.candidate("b", answering("two"))
    assert read(await scene.told(timeout_s=2)) == ANSWERED_BY_B
    assert slow.closed == 1
    assert slow.at_work == 0


@pytest.mark.parametrize("other_s", [1.9, 60])
async def test_it_is_not_given_up_for_one_that_could_not_make_it(other_s: float) -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(slow_share=0.1)))
    gate = never()
    scene.candidate("a", saying(started(), gate, delta("one"), gate, finished()))
    other = scene.candidate("b", answering("two"))
    scene.candidates[1].expected_s = other_s
    asyncio.get_running_loop().call_later(0.4, gate.set)
    assert read(await scene.told(timeout_s=2)) == ["started 1 models/a", "one", "finished STOP"]
    assert other.asked == []


async def test_it_is_given_up_for_the_one_that_can_make_it() -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(slow_share=0.1)))
    scene.candidate("a", saying(started(), never()))
    slow = scene.candidate("b", answering("two"))
    scene.candidate("c", answering("three"))
    scene.candidates[1].expected_s = 60
    assert read(await scene.told(timeout_s=2)) == ["started 1 models/c", "three", "finished STOP"]
    assert slow.asked == []


async def test_it_is_waited_for_where_the_other_one_is_not_to_be_asked_any_more() -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(slow_share=0.1), circuit=CircuitPolicy(failures=1)))
    gate = never()
    other = scene.candidate("b", answering("two"))

    async def opening_the_others_circuit():
        yield started()
        other.circuit.begin().failed()
        await gate.wait()
        yield delta("one")
        yield finished()

    scene.candidate("a", opening_the_others_circuit)
    scene.candidates.reverse()
    asyncio.get_running_loop().call_later(0.4, gate.set)
    assert read(await scene.told(timeout_s=2)) == ["started 1 models/a", "one", "finished STOP"]


@pytest.mark.parametrize(("expected_s", "opens"), [(0.01, True), (1.0, False)])
async def test_to_be_slow_is_a_fault_only_of_what_took_longer_than_expected(expected_s: float, opens: bool) -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(slow_share=0.1), circuit=CircuitPolicy(failures=1)))
    slow = scene.candidate("a", saying(started(), never()))
    scene.candidates[0].expected_s = expected_s
    scene.candidate("b", answering("two"))
    assert read(await scene.told(timeout_s=2)) == ANSWERED_BY_B
    assert slow.circuit.allows() is not opens


async def test_a_stall_amid_an_answer_is_slow_too() -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(slow_share=0.1)))
    scene.candidate("a", saying(started(), delta("on"), never()))
    scene.candidate("b", answering("two"))
    events = await scene.told(timeout_s=2)
    assert read(events)[2] == "superseded 1 SLOW models/b"
    assert statuses(events) == [("models/a", "DEADLINE_EXCEEDED"), ("models/b", "OK")]


async def test_the_last_one_has_all_the_time() -> None:
    scene = Scene(Policy(fallback=FallbackPolicy(slow_share=0.01)))
    gate = never()
    scene.candidate("a", saying(started(), gate, delta("two"), finished()))
    asyncio.get_running_loop().call_later(0.3, gate.set)
    assert read(await scene.told(timeout_s=5))[-1] == "finished STOP"


async def test_a_stall_ends_with_the_deadline() -> None:
    scene = Scene()
    scene.candidate("a", saying(started(), delta("on"), never()))
    events = scene.layer().events(question(timeout_s=0.1))
    assert read([await anext(events), await anext(events)]) == ["started 1 models/a", "on"]
    with pytest.raises(DeadlineExceeded):
        await anext(events)


async def test_a_caller_that_leaves_ends_the_work() -> None:
    scene = Scene()
    target = scene.candidate("a", saying(started(), delta("on"), never()))
    events = scene.layer().events(question())
    await anext(events)
    await events.aclose()
    assert (target.closed, target.at_work) == (1, 0)
    assert scene.observed == []


async def test_a_quota_says_more_than_an_outage() -> None:
    scene = Scene()
    scene.candidate("a", saying(Overloaded("full", retry_after_s=60)))
    scene.candidate("b", saying(Unavailable("away")))
    scene.policy = Policy(fallback=FallbackPolicy(max_attempts=2))
    with pytest.raises(Overloaded):
        await scene.told()


async def test_a_target_that_fails_is_left_alone_and_the_router_hears_of_it() -> None:
    scene = Scene(Policy(circuit=CircuitPolicy(failures=2, open_s=60)))
    failing = scene.candidate("a", saying(Unavailable("away")))
    scene.candidate("b", answering("two"))
    for _ in range(4):
        assert read(await scene.told()) == ANSWERED_BY_B
    assert len(failing.asked) == 2
    assert [(address, outcome.ok) for address, outcome in scene.observed[:2]] == [("a:1", False), ("b:1", True)]


async def test_a_refusal_does_not_open_the_circuit() -> None:
    scene = Scene(Policy(circuit=CircuitPolicy(failures=1)))
    target = scene.candidate("a", saying(Overloaded("full")))
    scene.candidate("b", answering("two"))
    await scene.told()
    assert target.circuit.allows()


async def test_a_tenant_is_asked_only_for_its_models() -> None:
    scene = Scene()
    denied = scene.candidate("a", answering("one"))
    scene.candidate("b", answering("two"))
    ask = dataclasses.replace(question(), account=TenantPolicy(name="search", models=("models/b*",)))
    assert read([event async for event in scene.layer().events(ask)]) == ANSWERED_BY_B
    assert denied.asked == []
