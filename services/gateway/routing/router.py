"""Which models at which targets answer a request, and in which order."""

import asyncio
import time
from collections.abc import Callable, Sequence

from chiasm.v1 import models_pb2
from services.gateway.answerer import Ask
from services.gateway.policy import Policy
from services.gateway.routing.considering import Consideration
from services.gateway.routing.plan import Candidate, Cause, Considered, Plan
from services.gateway.routing.prediction import Outcome, Predictor
from services.gateway.routing.refusal import error_of
from services.gateway.routing.target import Target


class Router:
    """Knows what each target serves, as of its last look, and what answers took."""

    def __init__(self, targets: Sequence[Target], clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds that only rise."""
        self._targets = tuple(targets)
        self._predictor = Predictor(clock)
        self.changed = asyncio.Event()

    async def watch(self) -> None:
        """Look at all targets for ever; `changed` is set whenever a set of models changes."""
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                group.create_task(target.watch(self.changed), name=f"watch {target.address}")

    @property
    def models(self) -> dict[str, models_pb2.Model]:
        """Every model served now, by name; the first target wins where two serve the same."""
        return {name: model for target in reversed(self._targets) for name, model in target.models.items()}

    @property
    def known(self) -> list[models_pb2.Model]:
        """Every model that each target ever listed, ready or not, as it last did."""
        return [model for target in self._targets for model in target.known.values()]

    def number(self, target: Target) -> int:
        """The target's place in the settings, 1 or more."""
        return self._targets.index(target) + 1

    def plan(self, ask: Ask, policy: Policy) -> Plan:
        """Whom to ask, at least one.

        Raises Unavailable when no model that could answer is ready, or its targets fail and are left alone; NotFound
        when the model named never was; Overloaded when none can answer in time; InvalidArgument when none can do it at
        all, or for so little money; PermissionDenied when the caller may use none that could.
        """
        plan = self.consider(ask, policy)
        if plan.error is not None:
            raise plan.error
        return plan

    def consider(self, ask: Ask, policy: Policy) -> Plan:
        """The same, and nothing raised: the plan's `error` says why there is no candidate."""
        consideration = Consideration(ask, policy, self._predictor)
        considered = self._considered(consideration)
        put_forward = {
            each.candidate.model.name for each in considered if each.cause not in (Cause.POLICY, Cause.TENANT)
        }
        if len(put_forward) == 1:
            (consideration.alone,) = put_forward
            considered = self._considered(consideration)
        places = {name: place for place, name in enumerate(dict.fromkeys(c.candidate.model.name for c in considered))}
        asked = sorted(
            (each for each in considered if each.refusal is None),
            key=lambda each: consideration.order(each.candidate, places[each.candidate.model.name]),
        )
        others = sorted(
            (each for each in considered if each.refusal is not None),
            key=lambda each: (each.refusal.cause, places[each.candidate.model.name]),
        )
        error = error_of(ask.request, considered)
        candidates = () if error else tuple(each.candidate for each in asked)
        return Plan(candidates, (*asked, *others), error)

    def _considered(self, consideration: Consideration) -> list[Considered]:
        return [consideration.of(target, name) for target in self._targets for name in target.known]

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Learn from an attempt."""
        self._predictor.learn(candidate.target.address, candidate.model, candidate.needs, candidate.forecast, outcome)

    async def close(self) -> None:
        for target in self._targets:
            await target.close()
