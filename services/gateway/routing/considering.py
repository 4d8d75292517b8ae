"""Looks at one model at one target for one request: may it be asked, and when in turn?"""

import asyncio

from services.gateway.answerer import Ask
from services.gateway.policy import Policy
from services.gateway.routing.capability import shortcoming
from services.gateway.routing.listing import Listing
from services.gateway.routing.plan import Candidate, Cause, Considered, Refusal
from services.gateway.routing.prediction import STALE_S, Predictor
from services.gateway.routing.requirements import Requirements
from services.gateway.routing.target import Target

_LEAST_WAIT_S = 0.1


class Consideration:
    """Of one request, now."""

    def __init__(self, ask: Ask, policy: Policy, predictor: Predictor) -> None:
        """To be made where the event loop runs."""
        self.alone = ""
        """The one model that is put forward, where there is but one."""
        self._request = ask.request
        self._needs = Requirements.of(ask)
        self._listing = Listing(ask.request, policy)
        self._may_use = ask.account.may_use
        self._predictor = predictor
        self._left_s = ask.deadline - asyncio.get_running_loop().time()

    def of(self, target: Target, name: str) -> Considered:
        """The model of this name, which `target` knows."""
        model = target.models.get(name) or target.known[name]
        forecast = self._predictor.forecast(
            target.address, model, self._needs, ahead_s=target.outstanding_s, others=target.others.get(name, 0)
        )
        listing = self._listing
        candidate = Candidate(
            target, model, self._needs, forecast, listing.min_confidence(name), listing.calibration(name)
        )
        return Considered(candidate, self._lasting(candidate) or self._passing(candidate))

    def order(self, candidate: Candidate, place: int) -> tuple[float, ...]:
        """What candidates are sorted by; `place` is the model's in the order of the settings."""
        rank = self._listing.rank(candidate.model.name)
        listed = rank, place, candidate.forecast.ahead_s, candidate.target.begun
        if rank < 0:
            return listed
        match self._listing.order:
            case "cheapest":
                return 0, candidate.expected_cost_nanousd, *listed
            case "fastest":
                return 0, candidate.expected_s, *listed
        return listed

    def _lasting(self, candidate: Candidate) -> Refusal | None:
        """Why the model is none for this request, whenever it is asked."""
        name = candidate.model.name
        if not self._may_use(name):
            return Refusal(Cause.TENANT, "is not allowed for this tenant")
        if why_not := self._listing.why_not(name):
            return Refusal(Cause.POLICY, why_not)
        if name in (self._request.model, self.alone):
            return None  # it says itself what it cannot do, and says it best
        return shortcoming(self._needs, candidate.model, self._predictor.input_tokens(name, self._needs))

    def _passing(self, candidate: Candidate) -> Refusal | None:
        """Why the model is not asked now."""
        target, forecast, routing = candidate.target, candidate.forecast, self._request.routing
        if candidate.model.name not in target.models:
            return Refusal(Cause.NOT_READY, "is not ready, or cannot be reached")
        if not target.circuit.allows():
            open_s = target.circuit.opens_for_s
            why = f"has its circuit open for {open_s:.1f} s" if open_s else "has its circuit half open"
            return Refusal(Cause.CIRCUIT, why, retry_after_s=open_s or 1.0)
        if routing.HasField("max_cost_nanousd") and forecast.cost_nanousd > routing.max_cost_nanousd:
            why = f"is expected to cost {forecast.cost_nanousd:,} of {routing.max_cost_nanousd:,} nano-US-dollars"
            return Refusal(Cause.COST, why)
        # Nothing is refused on a guess; and an idle model is asked now and then, or its times could never get better.
        told = forecast.known and (forecast.fresh or target.calls_of(candidate.model.name))
        if forecast.total_s > self._left_s and told:
            return self._late(forecast.total_s, forecast.work_s)
        return None

    def _late(self, total_s: float, work_s: float) -> Refusal:
        why = f"would take {total_s:.1f} s of {max(0.0, self._left_s):.1f} s left"
        queued = work_s <= self._left_s
        return Refusal(Cause.TIME, why, retry_after_s=max(_LEAST_WAIT_S, total_s - self._left_s) if queued else STALE_S)
