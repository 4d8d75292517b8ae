"""RouteService: what the router would do with a request, and why."""

from collections.abc import Awaitable, Callable

import grpc

from chiasm.v1 import generation_pb2, route_pb2, route_pb2_grpc
from services.gateway.answerer import Ask
from services.gateway.routing.plan import Candidate
from services.gateway.routing.router import Router
from services.runtime.durations import duration_of

Admit = Callable[[generation_pb2.GenerateRequest, grpc.aio.ServicerContext], Awaitable[Ask]]
"""Checks a request as `Generate` does and makes a question of it."""


class RouteServer(route_pb2_grpc.RouteServiceServicer):
    """Asks no model."""

    def __init__(self, router: Router, admit: Admit) -> None:
        self._router = router
        self._admit = admit

    async def ExplainRoute(
        self, request: route_pb2.ExplainRouteRequest, context: grpc.aio.ServicerContext
    ) -> route_pb2.ExplainRouteResponse:
        ask = await self._admit(request.request, context)
        plan = self._router.consider(ask, ask.policy.policy)
        return route_pb2.ExplainRouteResponse(
            policy_revision=ask.policy.revision,
            considered=[
                self._considered(each.candidate, each.verdict, place if place <= len(plan.candidates) else 0)
                for place, each in enumerate(plan.considered, 1)
            ],
            refusal=plan.error.message if plan.error else "",
        )

    def _considered(self, candidate: Candidate, verdict: str, place: int) -> route_pb2.ConsideredModel:
        return route_pb2.ConsideredModel(
            model=candidate.model.name,
            provider=candidate.model.provider,
            server=self._router.number(candidate.target),
            place=place,
            verdict=verdict,
            expected_time_to_first_token=duration_of(candidate.expected_first_token_s),
            expected_time=duration_of(candidate.expected_s),
            guessed=not candidate.forecast.known,
            outstanding=duration_of(candidate.forecast.ahead_s),
            expected_cost_nanousd=candidate.expected_cost_nanousd,
            min_confidence=candidate.min_confidence,
        )
