"""Questions that one call asks of the gateway's own models, on its tenant's account."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from chiasm.v1 import generation_pb2, search_pb2, usage_pb2
from services.gateway.answerer import Ask
from services.gateway.clock import Clock
from services.gateway.forwarding import Terms
from services.gateway.layers import Layers
from services.gateway.media.weighing import weigh
from services.gateway.routing.capability import shortcoming
from services.gateway.tenants import door
from services.runtime.errors import ChiasmError
from services.runtime.requests import check_generate
from services.runtime.streams import collect, each_within

AT_ONCE = 4
"""Questions that one call has with the models at once."""


@dataclass(frozen=True)
class Wording:
    """A question as a model is asked it."""

    task: generation_pb2.Task
    parts: Sequence[generation_pb2.Part]
    json_schema: str = ""


class Questions:
    """Of one call: the model it names, its configuration and routing, and its deadline hold for each."""

    def __init__(self, layers: Layers, request: search_pb2.AskRequest, terms: Terms) -> None:
        self.usages: list[usage_pb2.Usage] = []
        """Of the answers so far; what failed has told none."""
        self._layers = layers
        self._request = request
        self._terms = terms
        self._policy = layers.policies.loaded
        self._at_once = asyncio.Semaphore(AT_ONCE)

    @property
    def left_s(self) -> float:
        """Seconds until the call's deadline, 0 or more."""
        return self._terms.left_s

    def check(self, question: str) -> None:
        """Raises InvalidArgument where no question could be asked with the call's configuration and routing."""
        self._request_of(Wording(generation_pb2.TASK_OPEN, [generation_pb2.Part(text=question)]))

    async def made(self, wording: Wording) -> Ask:
        """The question that is to be asked. Raises InvalidArgument."""
        request = self._request_of(wording)
        return Ask(
            request,
            self._terms.tenant,
            self._terms.deadline,
            Clock(),
            await weigh(request),
            door.identity().policy,
            self._policy,
            whole=True,
        )

    def can_be_answered(self, ask: Ask) -> bool:
        """Whether a model that may be asked can do all that it needs; one that is named or alone is asked in any case,
        to say what it cannot."""
        candidates = self._layers.router.consider(ask, ask.policy.policy).candidates
        return any(shortcoming(each.needs, each.model, each.needs.text_tokens) is None for each in candidates)

    def of_the_cheapest(self, ask: Ask) -> Ask:
        """The same of the model that is expected to cost least, unless the caller has named one."""
        candidates = self._layers.router.consider(ask, ask.policy.policy).candidates
        if ask.request.model or not candidates:
            return ask
        request = generation_pb2.GenerateRequest()
        request.CopyFrom(ask.request)
        request.model = min(candidates, key=lambda each: each.expected_cost_nanousd).model.name
        return replace(ask, request=request)

    async def answer(self, ask: Ask) -> generation_pb2.GenerateResponse:
        """By its own deadline. Raises what the layers do."""
        async with self._at_once:
            left_s = max(0.0, ask.deadline - asyncio.get_running_loop().time())
            answered = await collect(each_within(left_s, self._layers.events(ask)))
        self.usages.append(answered.finished.usage)
        return answered

    async def answers(self, asks: Iterable[Ask]) -> list[generation_pb2.GenerateResponse | ChiasmError]:
        """Of each, what it was answered or why it was not; a few at once."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._answer_or_error(ask)) for ask in asks]
        return [task.result() for task in tasks]

    async def _answer_or_error(self, ask: Ask) -> generation_pb2.GenerateResponse | ChiasmError:
        try:
            return await self.answer(ask)
        except ChiasmError as error:
            return error

    def _request_of(self, wording: Wording) -> generation_pb2.GenerateRequest:
        """Raises InvalidArgument."""
        request = generation_pb2.GenerateRequest(
            model=self._request.model,
            task=wording.task,
            messages=[generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=wording.parts)],
            config=self._request.config,
            routing=self._request.routing,
            request_id=self._request.request_id,
        )
        request.config.json_schema = wording.json_schema
        check_generate(request)
        return request
