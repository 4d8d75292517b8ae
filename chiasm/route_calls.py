"""The calls of RouteService, as both clients have them."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from chiasm.channel import Caller
from chiasm.convert import generate_request
from chiasm.errors import rpc_errors
from chiasm.images import image_source
from chiasm.options import Options, Task
from chiasm.routes import ConsideredModel, RouteExplanation
from chiasm.v1 import route_pb2
from chiasm.v1.route_pb2_grpc import RouteServiceStub

if TYPE_CHECKING:
    from chiasm.images import ImageLike


class RouteCalls(Caller):
    """What the gateway would do with a request."""

    _routes: RouteServiceStub

    def explain_route(
        self, prompt: str = "", images: "Sequence[ImageLike]" = (), task: Task = Task.OPEN, **options: Unpack[Options]
    ) -> RouteExplanation:
        """Which models would be asked, and why not the others; none is. Raises a ChiasmError when the call fails."""
        timeout_s = options.pop("timeout_s", None)
        request = _request(prompt, [image_source(image) for image in images], task, options)
        with rpc_errors():
            return _explanation(self._routes.ExplainRoute(request, **self._options(timeout_s)))


class AsyncRouteCalls(Caller):
    """What the gateway would do with a request."""

    _routes: RouteServiceStub

    async def explain_route(
        self, prompt: str = "", images: "Sequence[ImageLike]" = (), task: Task = Task.OPEN, **options: Unpack[Options]
    ) -> RouteExplanation:
        """Which models would be asked, and why not the others; none is. Raises a ChiasmError when the call fails."""
        timeout_s = options.pop("timeout_s", None)
        pictures = [await asyncio.to_thread(image_source, image) for image in images]
        request = _request(prompt, pictures, task, options)
        with rpc_errors():
            return _explanation(await self._routes.ExplainRoute(request, **self._options(timeout_s)))


def _request(prompt: str, pictures: Sequence[bytes], task: Task, options: Options) -> route_pb2.ExplainRouteRequest:
    return route_pb2.ExplainRouteRequest(request=generate_request(prompt, pictures, task, **options))


def _explanation(response: route_pb2.ExplainRouteResponse) -> RouteExplanation:
    return RouteExplanation(
        policy_revision=response.policy_revision,
        considered=tuple(_considered(message) for message in response.considered),
        refusal=response.refusal,
    )


def _considered(message: route_pb2.ConsideredModel) -> ConsideredModel:
    return ConsideredModel(
        model=message.model,
        provider=message.provider,
        server=message.server,
        place=message.place,
        verdict=message.verdict,
        expected_time_to_first_token_s=message.expected_time_to_first_token.ToNanoseconds() / 1e9,
        expected_time_s=message.expected_time.ToNanoseconds() / 1e9,
        guessed=message.guessed,
        outstanding_s=message.outstanding.ToNanoseconds() / 1e9,
        expected_cost_nanousd=message.expected_cost_nanousd,
        min_confidence=message.min_confidence if message.HasField("min_confidence") else None,
    )
