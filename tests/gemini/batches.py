"""Batch mode with inlined requests: answered together at half the price (https://ai.google.dev/gemini-api/docs/batch-api).

A batch is PENDING, RUNNING for the polls that the configuration says, and is answered and billed when it is done; one
that is cancelled before costs nothing. Directives hold, of their faults the errors and what changes the answer.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from tests.gemini.calls import Caller, Calls
from tests.gemini.config import Config
from tests.gemini.faults import Faults, error_of
from tests.gemini.quotas import Clock
from tests.gemini.wire import ApiError, get, json_answer, page_of, read_json, timestamp


@dataclass
class _Batch:
    name: str
    caller: Caller
    model: str
    display_name: str
    requests: list[Mapping[str, Any]]
    created: int
    """Microseconds since 1970."""
    polls_left: int
    state: str = "BATCH_STATE_PENDING"
    responses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.state not in ("BATCH_STATE_PENDING", "BATCH_STATE_RUNNING")

    def as_json(self) -> dict[str, Any]:
        """A `google.longrunning.Operation` as `google.genai.batches` reads it."""
        metadata: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "name": self.name,
            "model": f"models/{self.model}",
            "displayName": self.display_name,
            "createTime": timestamp(self.created),
            "state": self.state,
            "batchStats": {"requestCount": str(len(self.requests))},
        }
        if self.responses:
            metadata["output"] = {"inlinedResponses": {"inlinedResponses": self.responses}}
        return {"name": self.name, "metadata": metadata, "done": self.done}


class Batches:
    def __init__(self, config: Config, calls: Calls, faults: Faults, clock: Clock) -> None:
        self._polls = config.batch_polls
        self._calls = calls
        self._faults = faults
        self._clock = clock
        self._batches: dict[str, _Batch] = {}
        self._answering = asyncio.Lock()

    async def create(self, request: web.Request, caller: Caller, model: str) -> web.StreamResponse:
        wish = get(await read_json(request), "batch", {})
        requests = get(get(get(wish, "inputConfig", {}), "requests", {}), "requests")
        if caller.vertex or not requests:
            raise ApiError(400, "The emulator takes batches of inlined requests, by the developer API.")
        self._calls.model(model, "batchGenerateContent")
        self._faults.raise_drawn("batch", model)
        batch = _Batch(
            name=f"batches/{secrets.token_hex(8)}",
            caller=caller,
            model=model,
            display_name=get(wish, "displayName", ""),
            requests=requests,
            created=round(self._clock() * 1_000_000),
            polls_left=self._polls,
        )
        self._batches[batch.name] = batch
        return json_answer(batch.as_json())

    async def get(self, request: web.Request, project: str) -> web.Response:
        batch = self._find(request, project)
        async with self._answering:
            if not batch.done:
                batch.state = "BATCH_STATE_RUNNING"
                if batch.polls_left <= 0:
                    batch.responses = [await self._answer(batch, item) for item in batch.requests]
                    batch.state = "BATCH_STATE_SUCCEEDED"
                batch.polls_left -= 1
        return json_answer(batch.as_json())

    async def cancel(self, request: web.Request, project: str) -> web.Response:
        batch = self._find(request, project)
        async with self._answering:
            if not batch.done:
                batch.state = "BATCH_STATE_CANCELLED"
        return json_answer({})

    async def delete(self, request: web.Request, project: str) -> web.Response:
        del self._batches[self._find(request, project).name]
        return json_answer({})

    async def list(self, request: web.Request, project: str) -> web.Response:
        mine = [batch.as_json() for batch in self._batches.values() if batch.caller.project == project]
        return json_answer(page_of(mine, "operations", request))

    async def _answer(self, batch: _Batch, item: Mapping[str, Any]) -> dict[str, Any]:
        metadata = get(item, "metadata", {})
        try:
            call = await self._calls.prepare(batch.caller, batch.model, get(item, "request", {}))
            if call.fault and call.fault.kind == "error":
                raise error_of(call.fault, batch.model)
            self._calls.bill(replace(call, labels=metadata), call.usage, "complete", batch=True)
            return {"response": call.answer(), "metadata": metadata}
        except ApiError as error:
            return {"error": {"code": error.code, "message": error.message}, "metadata": metadata}

    def _find(self, request: web.Request, project: str) -> _Batch:
        batch = self._batches.get(f"batches/{request.match_info['name']}")
        if batch is None or batch.caller.project != project:
            raise ApiError(404)
        return batch
