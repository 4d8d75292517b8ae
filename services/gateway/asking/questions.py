"""Questions that one call asks of the gateway's own models, on its tenant's account.

What the call may cost is for all of them together: each may take what is left, or those that are asked at once an equal
part of it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

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
from services.runtime.together import together

AT_ONCE = 4
"""Questions that one call has with the models at once."""


@dataclass(frozen=True)
class Wording:
    """A question as a model is asked it."""

    task: generation_pb2.Task
    parts: Sequence[generation_pb2.Part]
    json_schema: str = ""


Word: TypeAlias = Callable[[], Wording]
"""Makes a question when it is its turn."""
Answered: TypeAlias = generation_pb2.GenerateResponse | ChiasmError
"""What a question was answered, or why it was not."""


class Questions:
    """Of one call: the model it names, its configuration and routing, and its deadline hold for each."""

    def __init__(self, layers: Layers, request: search_pb2.AskRequest, terms: Terms) -> None:
        self.usages: list[usage_pb2.Usage] = []
        """Of the search and the answers so far; what failed has told none."""
        self._layers = layers
        self._request = request
        self._terms = terms
        self._policy = layers.policies.loaded
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._open = 0  # of those that are asked together, the ones without an answer yet
        self._lent_nanousd = 0  # to questions under way

    @property
    def left_s(self) -> float:
        """Seconds until the call's deadline, 0 or more."""
        return self._terms.left_s

    def check(self, question: str) -> None:
        """Raises InvalidArgument where no question could be asked with the call's configuration and routing."""
        self._request_of(Wording(generation_pb2.TASK_OPEN, [generation_pb2.Part(text=question)]))

    async def made(self, wording: Wording) -> Ask:
        """A question that is to be asked alone. Raises InvalidArgument."""
        return await self._made(wording, self._left_nanousd)

    async def _made(self, wording: Wording, most_nanousd: int | None) -> Ask:
        request = self._request_of(wording)
        if most_nanousd is not None:
            request.routing.max_cost_nanousd = most_nanousd
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

    def _of_the_cheapest(self, ask: Ask) -> Ask:
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
        left_s = max(0.0, ask.deadline - asyncio.get_running_loop().time())
        answered = await collect(each_within(left_s, self._layers.events(ask)))
        self.usages.append(answered.finished.usage)
        return answered

    async def answers(self, words: Sequence[Word]) -> list[Answered]:
        """Of each, what it was answered or why it was not; a few at once. To be awaited by one at a time."""
        return await self._answers(words, lambda ask: ask)

    async def checks(self, words: Sequence[Word], deadline: float) -> list[Answered]:
        """The same by `deadline`, of the model that is expected to cost least."""
        return await self._answers(words, lambda ask: replace(self._of_the_cheapest(ask), deadline=deadline))

    async def _answers(self, words: Sequence[Word], changed: Callable[[Ask], Ask]) -> list[Answered]:
        self._open = len(words)
        return await together(*(self._answer_or_error(word, changed) for word in words))

    async def _answer_or_error(self, word: Word, changed: Callable[[Ask], Ask]) -> Answered:
        # Pictures are in a question from its making to its answer, so it is made once it is its turn.
        async with self._at_once:
            try:
                with self._share() as most_nanousd:
                    return await self.answer(changed(await self._made(word(), most_nanousd)))
            except ChiasmError as error:
                return error
            finally:
                self._open -= 1

    @contextmanager
    def _share(self) -> Iterator[int | None]:
        """What the question may cost that is asked while the block runs; None where there is no bound."""
        left = self._left_nanousd
        if left is None:
            yield None
            return
        share = min(left // min(self._open, AT_ONCE), max(0, left - self._lent_nanousd))
        self._lent_nanousd += share
        try:
            yield share
        finally:
            self._lent_nanousd -= share

    @property
    def _left_nanousd(self) -> int | None:
        """What may still be spent, 0 or more; None where there is no bound."""
        routing = self._request.routing
        if not routing.HasField("max_cost_nanousd"):
            return None
        return max(0, routing.max_cost_nanousd - sum(usage.cost_nanousd for usage in self.usages))

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
