"""Whom the router asks, in which order, why not the others, and what a caller is told when it is nobody."""

import pytest

from chiasm.v1 import errors_pb2, generation_pb2, media_pb2, usage_pb2
from services.gateway.policy import Policy
from services.gateway.routing.prediction import STALE_S, Outcome
from services.runtime.errors import InvalidArgument, NotFound, Overloaded, PermissionDenied, Unavailable
from tests.gateway.routing.asks import Targets, ask, large, names, request, small, verdicts

WEBM = b"\x1aE\xdf\xa3" + bytes(100)


def policy(*candidates: str | dict, order: str = "listed") -> Policy:
    entries = [{"model": entry} if isinstance(entry, str) else entry for entry in candidates]
    return Policy.model_validate({"tasks": {"answer": {"candidates": entries, "order": order}}})


class Now:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


async def test_without_a_policy_all_that_can_are_asked_in_the_settings_order() -> None:
    async with Targets(((small(), small("models/small:charts")), (large(),))) as targets:
        plan = targets.plan()
    assert names(plan) == ["models/small", "models/large"]
    assert "candidates" in verdicts(plan)["models/small:charts"]


async def test_the_policy_says_who_and_in_which_order() -> None:
    wanted = policy("models/large", {"model": "models/sm*", "min_confidence": 0.8, "calibration": [[0, 0], [1, 1]]})
    async with Targets(((small(), small("models/other")), (large(),))) as targets:
        plan = targets.plan(policy=wanted)
        asked_for_more = targets.plan(ask(request(min_confidence=0.5)), wanted)
        captions = targets.plan(ask(request("", task=generation_pb2.TASK_CAPTION)), wanted)
    assert names(plan) == ["models/large", "models/small"]
    assert [candidate.min_confidence for candidate in plan.candidates] == [None, 0.8]
    assert plan.candidates[1].calibration == ((0, 0), (1, 1))
    assert [candidate.min_confidence for candidate in asked_for_more.candidates] == [0.5, 0.5]
    assert names(captions) == ["models/small", "models/other", "models/large"]


async def test_the_cheapest_and_the_fastest_go_first_where_the_policy_wants_them() -> None:
    everything = ("models/large", "models/small")
    async with Targets(((large(),), (small(),))) as targets:
        assert names(targets.plan(policy=policy(*everything, order="cheapest"))) == ["models/small", "models/large"]
        first, second = targets.plan(policy=policy(*everything)).candidates
        targets.learn(first, 0.2)
        targets.learn(second, 3.0)
        assert names(targets.plan(policy=policy(*everything, order="fastest"))) == ["models/large", "models/small"]


async def test_of_the_targets_of_one_model_the_least_busy_is_first() -> None:
    async with Targets(((small(),), (small(),), (large(),))) as targets:
        one, two, _ = targets.targets
        assert [c.target for c in targets.plan().candidates][:2] == [one, two]
        with one.working("models/small", 2.0), two.working("models/small", 0.5):
            assert [c.target for c in targets.plan().candidates][:2] == [two, one]
            with two.working("models/small", 5.0):
                assert [c.target for c in targets.plan().candidates][:2] == [one, two]
        assert one.calls_of("models/small") == two.calls_of("models/small") == 0
        for _ in range(2):
            with one.working("models/small", 1.0):
                pass
        assert [c.target for c in targets.plan().candidates][:2] == [two, one]  # idle ones get their turns


async def test_what_others_send_to_a_target_counts() -> None:
    async with Targets(((small(),), (small(),))) as targets:
        one, two = targets.targets
        one.others = {"models/small": 3}
        assert [c.target for c in targets.plan().candidates] == [two, one]


async def test_a_call_that_goes_on_has_less_left() -> None:
    now = Now()
    async with Targets(((small(),),), clock=now) as targets:
        (target,) = targets.targets
        with target.working("models/small", 2.0), target.working("models/small", 1.0):
            now.s = 1.5
            assert target.outstanding_s == pytest.approx(0.5)
            now.s = 9
            assert target.outstanding_s == 0


@pytest.mark.parametrize(
    ("asked", "why", "field", "reason"),
    [
        (request("", task=generation_pb2.TASK_SEGMENT), "does not segment", "task", "TASK_UNSUPPORTED"),
        (request("what?", WEBM), "cannot read video", "messages[0].parts[0].media", "MEDIA_TYPE_UNSUPPORTED"),
        (
            request("what?", media_pb2.Media(uri="gs://bucket/a.pdf")),
            "cannot read document",
            "messages[0].parts[0].media",
            "MEDIA_TYPE_UNSUPPORTED",
        ),
        (
            request("what?", media_pb2.Media(uri="gs://bucket/picture.png")),
            "cannot fetch media by itself",
            "messages[0].parts[0].media",
            "FIELD_INVALID",
        ),
        (request("what?", bytes(9), bytes(9)), "takes 1 media, not 2", "messages", "MEDIA_COUNT"),
        (request("what?", bytes(2**20 + 1)), "takes media of", "messages[0].parts[0].media", "MEDIA_SIZE"),
        (request("x" * 5_000), "holds 512 tokens", "messages", "PROMPT_TOO_LONG"),
    ],
)
async def test_what_a_model_cannot_do_is_not_asked_of_it(
    asked: generation_pb2.GenerateRequest, why: str, field: str, reason: str
) -> None:
    async with Targets(((small(),), (large(tasks=[*large().tasks, generation_pb2.TASK_SEGMENT]),))) as targets:
        plan = targets.plan(ask(asked))
        assert names(plan) == ["models/large"]
        assert why in verdicts(plan)["models/small"]
    async with Targets(((small(), small("models/other")),)) as targets:
        with pytest.raises(InvalidArgument, match=why) as caught:
            targets.plan(ask(asked))
    assert caught.value.field == field
    assert errors_pb2.ErrorReason.Name(caught.value.reason) == f"ERROR_REASON_{reason}"
    async with Targets(((small(),), (small(),))) as targets:
        # The only one says it best itself.
        assert names(targets.plan(ask(asked))) == ["models/small", "models/small"]


async def test_pixels_tokens_turns_and_schemas_are_looked_at_too() -> None:
    long, schema, turns = request(), request(), request()
    long.config.max_tokens = 65
    schema.config.json_schema = "{}"
    turns.messages.add(role=generation_pb2.ROLE_USER, parts=[generation_pb2.Part(text="and now?")])
    async with Targets(((small(), small("models/embeds", tasks=[])), (large(),))) as targets:
        for asked, why in ((long, "writes 64"), (schema, "JSON"), (turns, "single turn")):
            plan = targets.plan(ask(asked))
            assert names(plan) == ["models/large"]
            assert why in verdicts(plan)["models/small"]
            assert "does not answer questions" in verdicts(plan)["models/embeds"]
        assert names(targets.plan(ask(pixels=10**6 + 1))) == ["models/large"]
        assert names(targets.plan(ask(pixels=10**6))) == ["models/small", "models/large"]


async def test_media_tokens_that_were_learned_count_against_the_context() -> None:
    asked = request("x" * 900)  # 308 tokens of text
    async with Targets(((small(),), (large(),))) as targets:
        plan = targets.plan(ask(asked))
        assert names(plan) == ["models/small", "models/large"]
        targets.learn(plan.candidates[0], 0.1)  # 256 tokens a picture
        assert names(targets.plan(ask(asked))) == ["models/large"]


async def test_a_model_that_is_named_is_asked_alone_and_says_itself_what_it_cannot_do() -> None:
    async with Targets(((small(),), (large(),))) as targets:
        plan = targets.plan(ask(request("", task=generation_pb2.TASK_SEGMENT, model="models/small")))
        assert names(plan) == ["models/small"]
        assert "is not the model named" in verdicts(plan)["models/large"]
        falls_back = ask(request(model="models/large", allow_fallback=True))
        assert names(targets.plan(falls_back)) == ["models/large", "models/small"]
        assert names(targets.plan(falls_back, policy("models/small", order="cheapest"))) == [
            "models/large",
            "models/small",
        ]


async def test_a_model_that_nobody_knows_is_not_found_and_one_that_is_down_is_unavailable() -> None:
    async with Targets(((small(),), (large(ready=False),))) as targets:
        with pytest.raises(NotFound, match="'models/absent' is not served here; models/small is"):
            targets.plan(ask(request(model="models/absent", allow_fallback=True)))
        with pytest.raises(Unavailable, match="the servers of 'models/large' are not ready"):
            targets.plan(ask(request(model="models/large")))
        assert names(targets.plan(ask(request(model="models/large", allow_fallback=True)))) == ["models/small"]
        with pytest.raises(Unavailable, match="could answer are not ready"):
            targets.plan(ask(request("what?", WEBM)))
        with pytest.raises(Unavailable, match="no model that the policy names"):
            targets.plan(policy=policy("models/elsewhere"))
    async with Targets(((small(ready=False),), ())) as targets:
        for asked in (request(), request(model="models/small"), request(model="models/absent")):
            with pytest.raises(Unavailable, match="no model server is ready"):
                targets.plan(ask(asked))


async def test_a_tenant_sees_and_gets_its_own_models_alone() -> None:
    async with Targets(((small(),), (large(),))) as targets:
        plan = targets.plan(ask(models=("models/large",)))
        assert names(plan) == ["models/large"]
        assert "not allowed" in verdicts(plan)["models/small"]
        with pytest.raises(NotFound, match=r"; models/large is$"):
            targets.plan(ask(request(model="models/small"), models=("models/large",)))
        with pytest.raises(PermissionDenied):
            targets.plan(ask(models=()))


async def test_a_target_that_fails_is_left_alone() -> None:
    async with Targets(((small(),), (large(),))) as targets:
        one, two = targets.targets
        one.circuit.open_s = 3.2
        plan = targets.plan()
        assert names(plan) == ["models/large"]
        assert "3.2 s" in verdicts(plan)["models/small"]
        two.circuit.open_s = 1.5
        with pytest.raises(Unavailable) as caught:
            targets.plan()
    assert caught.value.retry_after_s == 1.5


async def test_what_costs_too_much_is_not_asked() -> None:
    async with Targets(((large(),), (small(),))) as targets:
        cost = targets.plan().candidates[0].expected_cost_nanousd
        assert cost > 50_000
        assert names(targets.plan(ask(request(max_cost_nanousd=cost)))) == ["models/large", "models/small"]
        plan = targets.plan(ask(request(max_cost_nanousd=cost - 1)))
        assert names(plan) == ["models/small"]
        assert f"cost {cost:,}" in verdicts(plan)["models/large"]
        targets.targets[1].models = {}
        targets.targets[1].known = {}
        with pytest.raises(InvalidArgument) as caught:
            targets.plan(ask(request(max_cost_nanousd=1)))
    assert caught.value.field == "routing.max_cost_nanousd"


async def test_costs_are_learned_beside_the_list() -> None:
    async with Targets(((large(),),)) as targets:
        (candidate,) = targets.plan().candidates
        targets.learn(candidate, 1.0, cost_nanousd=2 * (300 * 300 + 8 * 2_500))  # twice the list
        assert targets.plan().candidates[0].expected_cost_nanousd == pytest.approx(2 * (267 * 300 + 8 * 2_500), rel=0.1)


async def test_a_call_that_one_model_cannot_make_in_time_goes_to_the_next_at_once() -> None:
    async with Targets(((small(),), (large(),))) as targets:
        first, second = targets.plan().candidates
        targets.learn(first, 4.0)
        targets.learn(second, 0.5)
        plan = targets.plan(ask(left_s=2))
        assert names(plan) == ["models/large"]
        assert "would take 4.0 s of 2.0 s left" in verdicts(plan)["models/small"]
        assert names(targets.plan(ask(left_s=6))) == ["models/small", "models/large"]


async def test_work_that_is_ahead_counts_as_it_was_seen_to() -> None:
    """A server that answers one at a time: what waits in front of a call is what it waits for."""
    now = Now()
    async with Targets(((small(),), (large(),)), clock=now) as targets:
        first, second = targets.plan().candidates
        targets.learn(second, 0.5)
        for queue in (0, 1, 2, 3, 0, 2, 1, 3, 0, 1, 2, 3) * 2:
            busy = [first.target.working("models/small", 1.0) for _ in range(queue)]
            for call in busy:
                call.__enter__()
            candidate = targets.plan(ask(left_s=600)).candidates[0]
            for call in busy:
                call.__exit__(None, None, None)
            targets.learn(candidate, 1.0 + queue, count=1)
        assert names(targets.plan(ask(left_s=2))) == ["models/small", "models/large"]
        with first.target.working("models/small", 1.0), first.target.working("models/small", 1.0):
            assert names(targets.plan(ask(left_s=2))) == ["models/large"]
            assert targets.plan(ask(left_s=60)).candidates[0].expected_s == pytest.approx(3.0, rel=0.2)


async def test_a_call_that_none_can_make_in_time_is_refused_with_when_to_come_again() -> None:
    async with Targets(((small(),), (large(),))) as targets:
        for candidate in targets.plan().candidates:
            targets.learn(candidate, 4.0)
        with pytest.raises(Overloaded, match=r"would take 4.0 s of 1.0 s left") as caught:
            targets.plan(ask(left_s=1))
        assert caught.value.reason == errors_pb2.ERROR_REASON_OVERLOADED
        assert caught.value.retry_after_s == STALE_S


async def test_an_idle_target_is_asked_again_after_a_while() -> None:
    now = Now()
    async with Targets(((small(),),), clock=now) as targets:
        (candidate,) = targets.plan().candidates
        targets.learn(candidate, 4.0)
        now.s += STALE_S
        assert names(targets.plan(ask(left_s=1))) == ["models/small"]
        with targets.targets[0].working("models/small", 1.0), pytest.raises(Overloaded):  # one at a time finds out
            targets.plan(ask(left_s=1))
        targets.learn(candidate, 0.2, count=12)
        assert names(targets.plan(ask(left_s=1))) == ["models/small"]


async def test_calls_to_another_model_there_do_not_keep_a_slow_one_from_being_asked_again() -> None:
    now = Now()
    async with Targets(((small(), small("models/other")),), clock=now) as targets:
        slow, _ = targets.plan().candidates
        targets.learn(slow, 4.0)
        now.s += STALE_S
        with slow.target.working("models/other", 0.1):
            assert names(targets.plan(ask(left_s=1))) == ["models/small", "models/other"]


async def test_after_a_stall_quick_answers_are_followed_by_others_at_once() -> None:
    now = Now()
    async with Targets(((small(),),), clock=now) as targets:
        targets.learn(targets.plan().candidates[0], 0.2, count=20)
        for _ in range(12):
            stalled = targets.plan(ask(left_s=60)).candidates[0]
            targets.router.observe(stalled, Outcome(None, 30.0, usage_pb2.Usage(), ok=False))
        with pytest.raises(Overloaded):
            targets.plan(ask(left_s=2))
        now.s += STALE_S
        for _ in range(12):  # what refutes a prediction does not confirm it
            (candidate,) = targets.plan(ask(left_s=2)).candidates
            targets.learn(candidate, 0.2, count=1)
        (candidate,) = targets.plan(ask(left_s=2)).candidates
    assert candidate.expected_s < 2
    assert candidate.forecast.fresh


async def test_nothing_is_refused_on_a_guess() -> None:
    async with Targets(((small(),),)) as targets:
        assert names(targets.plan(ask(left_s=0.01))) == ["models/small"]


async def test_a_failed_attempt_tells_how_long_an_answer_takes_at_least() -> None:
    async with Targets(((small(),),)) as targets:
        (candidate,) = targets.plan().candidates
        before = candidate.expected_s
        targets.router.observe(candidate, Outcome(None, 0.01, usage_pb2.Usage(), ok=False))
        assert targets.plan().candidates[0].expected_s == before
        for _ in range(6):
            targets.router.observe(candidate, Outcome(None, 30.0, usage_pb2.Usage(), ok=False))
        assert targets.plan(ask(left_s=100)).candidates[0].expected_s > 20


async def test_the_explanation_of_a_plan_holds_every_model() -> None:
    async with Targets(
        ((small(), small("models/small:charts")), (large(), small("models/down", ready=False)))
    ) as targets:
        plan = targets.router.consider(ask(), Policy())
    assert len(plan.considered) == 4
    assert [each.candidate for each in plan.considered[: len(plan.candidates)]] == list(plan.candidates)
    assert verdicts(plan)["models/down"] == "is not ready, or cannot be reached"
