"""One `generateContent` call, whole: what was asked, what will be said, what it costs at each chunk."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.gemini.bill import Bill, Ending, Line, call_cost
from tests.gemini.caches import Caches
from tests.gemini.config import Config, Fault, Model
from tests.gemini.faults import Faults
from tests.gemini.quotas import Clock
from tests.gemini.script import Plan, directive_of, plan
from tests.gemini.tokens import Counting
from tests.gemini.usage import Usage
from tests.gemini.wire import ApiError, candidate, get, known, spellings

_FIELDS = spellings(
    "contents",
    "systemInstruction",
    "safetySettings",
    "tools",
    "toolConfig",
    "cachedContent",
    "generationConfig",
    "model",
)
_VERTEX_FIELDS = _FIELDS | {"labels"}
_LABEL_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Caller:
    """Who asks, and in which flavour."""

    project: str
    vertex: bool


@dataclass(frozen=True)
class Call:
    """Ready to be answered."""

    project: str
    vertex: bool
    model: str
    """Asked."""
    version: str
    """Answering."""
    price: Model
    response_id: str
    labels: Mapping[str, str]
    input: Mapping[str, int]
    cached: Mapping[str, int]
    plan: Plan
    fault: Fault | None

    @property
    def chunks(self) -> int:
        return len(self.plan.texts)

    @property
    def breaks_after(self) -> int | None:
        """Chunks before the answer breaks off; fewer than there are."""
        if self.fault and self.fault.kind in ("cut", "malformed_event", "error_event"):
            return min(self.fault.after_chunks, self.chunks - 1)
        return None

    def usage_after(self, chunks: int) -> Usage:
        """Cumulative; thinking is all in the first chunk."""
        return Usage(self.input, self.cached, self.plan.answer_tokens_after(chunks), self.plan.thinking_tokens)

    @property
    def usage(self) -> Usage:
        return self.usage_after(self.chunks)

    def chunk(self, index: int) -> dict[str, Any]:
        """The streamed response number `index`, from 0."""
        return self._body(self.plan.texts[index], index == 0, index == self.chunks - 1, self.usage_after(index + 1))

    def answer(self) -> dict[str, Any]:
        """The unary response."""
        return self._body("".join(self.plan.texts), True, True, self.usage)

    def cost(self, usage: Usage, *, batch: bool = False) -> int:
        """Nano-US-dollars."""
        return call_cost(usage, self.price, batch=batch)

    def _body(self, text: str, first: bool, last: bool, usage: Usage) -> dict[str, Any]:
        body: dict[str, Any] = {}
        if self.plan.block:
            body["promptFeedback"] = {"blockReason": self.plan.block}
        else:
            finish = self.plan.finish if last else None
            silent = not text and finish not in (None, "STOP")
            if self.fault and self.fault.kind == "no_finish":
                finish = None
            thought = self.plan.thought if first else None
            body["candidates"] = [candidate(None if silent else text, finish, thought=thought)]
        traffic = {"trafficType": "ON_DEMAND"} if self.vertex else {}
        return body | {
            # Vertex AI counts in the last chunk alone.
            "usageMetadata": traffic if self.vertex and not last else usage.metadata() | traffic,
            "modelVersion": self.version,
            "responseId": self.response_id,
        }


class Calls:
    """Makes calls of bodies, and lines of calls."""

    def __init__(
        self, config: Config, counting: Counting, caches: Caches, bill: Bill, faults: Faults, clock: Clock
    ) -> None:
        self._config = config
        self._counting = counting
        self._caches = caches
        self._bill = bill
        self._faults = faults
        self._clock = clock

    def model(self, name: str, method: str, *, embeds: bool = False) -> Model:
        """Raises ApiError where there is no such model for `method`."""
        model = self._config.models.get(name)
        if model is None or bool(model.embedding_size) != embeds:
            raise ApiError(
                404,
                f"models/{name} is not found for API version v1, or is not supported for {method}. Call ListModels.",
            )
        return model

    async def prepare(self, caller: Caller, model: str, body: Mapping[str, Any]) -> Call:
        """Raises ApiError for a body that the API would refuse. Counts in no quota yet."""
        self.model(model, "generateContent")
        known(body, _VERTEX_FIELDS if caller.vertex else _FIELDS)
        contents = get(body, "contents")
        if not contents:
            raise ApiError(400, "* GenerateContentRequest.contents: contents is not specified")
        labels = _labels(get(body, "labels", {}))
        directive = directive_of(contents)
        version = directive.model_version or self._config.reroutes.get(model, model)
        price = self.model(version, "generateContent")
        tokens = await self._counting.tokens(caller.project, body, version)
        cached: Mapping[str, int] = {}
        if name := get(body, "cachedContent"):
            cached = self._cached(caller.project, name, model, body)
            tokens.update(cached)
        if (total := sum(tokens.values())) > price.input_token_limit:
            raise ApiError(
                400,
                f"The input token count ({total}) exceeds the maximum number of tokens allowed "
                f"({price.input_token_limit}).",
            )
        fault = self._faults.directed(directive.source, directive.fault) or self._faults.drawn("generate")
        return Call(
            project=caller.project,
            vertex=caller.vertex,
            model=model,
            version=version,
            price=price,
            response_id=secrets.token_urlsafe(16),
            labels=labels,
            input=tokens,
            cached=cached,
            plan=plan(body, directive, fault, self._config, price.output_token_limit),
            fault=fault,
        )

    def bill(self, call: Call, usage: Usage, ending: Ending, *, batch: bool = False) -> int:
        """Adds the call's line; what it cost, in nano-US-dollars."""
        cost = call.cost(usage, batch=batch)
        self._bill.add(
            Line(
                kind="generate",
                response_id=call.response_id,
                at_s=self._clock(),
                project=call.project,
                model=call.model,
                model_version=call.version,
                usage=usage,
                cost_nanousd=cost,
                ending=ending,
                labels=call.labels,
                batch=batch,
            )
        )
        return cost

    def _cached(self, project: str, name: str, model: str, body: Mapping[str, Any]) -> Mapping[str, int]:
        cache = self._caches.find(project, name)
        if cache.model != model:
            raise ApiError(
                400, f"Model used by GenerateContent request ({model}) and CachedContent has to be the same."
            )
        if any(get(body, field) for field in ("systemInstruction", "tools", "toolConfig")):
            raise ApiError(
                400,
                "CachedContent can not be used with GenerateContent request setting system_instruction, tools or"
                " tool_config.",
            )
        return cache.tokens


def _labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/add-labels-to-api-calls"""
    if len(labels) > 64:
        raise ApiError(400, "A request has 64 labels at most.")
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name) or not _LABEL_VALUE.fullmatch(value):
            raise ApiError(400, f"Invalid label: {name}={value}")
    return labels
