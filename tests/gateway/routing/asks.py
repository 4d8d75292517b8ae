"""Requests, models and targets as tests of the router make them."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from chiasm.v1 import generation_pb2, media_pb2, models_pb2, usage_pb2
from services.gateway.answerer import Ask, Weight
from services.gateway.clock import Clock
from services.gateway.config import GatewaySettings
from services.gateway.policy import Policy, TenantPolicy
from services.gateway.routing.plan import Candidate, Plan
from services.gateway.routing.prediction import Outcome
from services.gateway.routing.router import Router
from services.gateway.routing.target import Target
from tests.pictures import scene_png

PNG = scene_png()[1]
ALL_TASKS = [task for task in generation_pb2.Task.values() if task]


def small(name: str = "models/small", **changes: object) -> models_pb2.Model:
    """As paligemma describes its own."""
    fields: dict[str, object] = {
        "provider": "vllm",
        "tasks": [task for task in ALL_TASKS if task != generation_pb2.TASK_SEGMENT],
        "modalities": [models_pb2.MODALITY_IMAGE],
        "limits": models_pb2.ModelLimits(
            max_context_tokens=512,
            max_output_tokens=64,
            min_media=1,
            max_media=1,
            max_media_bytes=2**20,
            max_image_pixels=10**6,
        ),
        "ready": True,
    }
    return models_pb2.Model(name=name, **(fields | changes))


def large(name: str = "models/large", **changes: object) -> models_pb2.Model:
    """As gemini_proxy describes its own."""
    fields: dict[str, object] = {
        "provider": "gcp.gemini",
        "tasks": [task for task in ALL_TASKS if task != generation_pb2.TASK_SEGMENT],
        "modalities": [modality for modality in models_pb2.Modality.values() if modality],
        "limits": models_pb2.ModelLimits(
            max_context_tokens=2**20, max_output_tokens=2**16, max_media=3_600, max_media_bytes=10**8
        ),
        "price": usage_pb2.Price(
            input_nanousd_per_million_tokens=300_000_000, output_nanousd_per_million_tokens=2_500_000_000
        ),
        "ready": True,
    }
    return models_pb2.Model(name=name, **(fields | changes))


def request(
    text: str = "how many?",
    *media: bytes | media_pb2.Media,
    task: int = generation_pb2.TASK_ANSWER,
    model: str = "",
    **routing: object,
) -> generation_pb2.GenerateRequest:
    items = [item if isinstance(item, media_pb2.Media) else media_pb2.Media(data=item) for item in media or (PNG,)]
    parts = [generation_pb2.Part(media=item) for item in items]
    if text:
        parts.append(generation_pb2.Part(text=text))
    return generation_pb2.GenerateRequest(
        model=model,
        task=task,
        messages=[generation_pb2.Message(parts=parts)],
        routing=generation_pb2.Routing(**routing),
        request_id="request-1",
    )


def ask(
    asked: generation_pb2.GenerateRequest | None = None,
    *,
    left_s: float = 60.0,
    pixels: int = 50_000,
    models: tuple[str, ...] = ("*",),
) -> Ask:
    """To be called where the event loop runs."""
    asked = asked or request()
    deadline = asyncio.get_running_loop().time() + left_s
    account = TenantPolicy(name="default", models=models)
    return Ask(asked, "default", deadline, Clock(), Weight(asked.ByteSize(), pixels), account)


@dataclass
class Switch:
    """A circuit that a test opens."""

    open_s: float = 0.0

    def allows(self) -> bool:
        return self.open_s == 0

    @property
    def opens_for_s(self) -> float:
        return self.open_s


@dataclass
class Targets:
    """A router before targets whose lists of models a test writes, as their watching would have."""

    served: tuple[tuple[models_pb2.Model, ...], ...]
    clock: Callable[[], float] | None = None
    targets: list[Target] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        settings = GatewaySettings()
        clock = {"clock": self.clock} if self.clock else {}
        self._stack = AsyncExitStack()
        for number, models in enumerate(self.served):
            target = Target(f"127.0.0.1:{number + 1}", settings, Switch(), **clock)
            self._stack.push_async_callback(target.close)
            target.known = {model.name: model for model in models}
            target.models = {model.name: model for model in models if model.ready}
            self.targets.append(target)
        self.router = Router(self.targets, **clock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def plan(self, asked: Ask | None = None, policy: Policy | None = None) -> Plan:
        return self.router.plan(asked or ask(), policy or Policy())

    def learn(self, candidate: Candidate, total_s: float, *, count: int = 6, cost_nanousd: int = 0) -> None:
        """That so many answers each took so long."""
        usage = usage_pb2.Usage(input_tokens=300, media_input_tokens=256, output_tokens=8, cost_nanousd=cost_nanousd)
        for _ in range(count):
            self.router.observe(candidate, Outcome(total_s / 2, total_s, usage, ok=True))


def names(plan: Plan) -> list[str]:
    return [candidate.model.name for candidate in plan.candidates]


def verdicts(plan: Plan) -> dict[str, str]:
    return {each.candidate.model.name: each.verdict for each in plan.considered}
