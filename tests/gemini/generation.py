"""`generateContent`, `streamGenerateContent` and `countTokens`: calls paced, broken where a fault says so, billed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.gemini.bill import Ending
from tests.gemini.calls import Call, Caller, Calls
from tests.gemini.faults import Faults, error_of
from tests.gemini.quotas import Admission, Quotas
from tests.gemini.tokens import Counting
from tests.gemini.usage import Usage
from tests.gemini.wire import ApiError, get, json_answer, key_of, read_json

_MALFORMED_EVENT = b'data: {"candidates": [{"content": {"par\r\n\r\n'


class Generation:
    def __init__(self, calls: Calls, counting: Counting, quotas: Quotas, faults: Faults) -> None:
        self._calls = calls
        self._counting = counting
        self._quotas = quotas
        self._faults = faults
        self._running: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False

    async def generate(self, request: web.Request, caller: Caller, model: str) -> web.StreamResponse:
        async with self._admitted(request, caller, model) as (call, admission):
            await asyncio.sleep(call.plan.first_token_s + call.plan.chunk_s * (call.chunks - 1))
            connected = admission.connected()
            broken = connected and call.fault is not None and call.fault.kind in ("cut", "malformed_event")
            self._settle(call, admission, call.usage, "cut" if broken else "complete" if connected else "client_gone")
            if broken:
                return await _half(request, call)
            return json_answer(call.answer())

    async def stream(self, request: web.Request, caller: Caller, model: str) -> web.StreamResponse:
        if request.query.get("alt") != "sse":
            raise ApiError(400, "The emulator streams with alt=sse only.")
        async with self._admitted(request, caller, model) as (call, admission):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            sent = 0
            try:
                await asyncio.sleep(call.plan.first_token_s)
                if admission.connected():
                    await response.prepare(request)
                for index in range(call.chunks):
                    if index:
                        await asyncio.sleep(call.plan.chunk_s)
                    if index == call.breaks_after and admission.connected():
                        self._settle(call, admission, call.usage_after(index) if index else None, "cut")
                        return await _broken(request, response, call)
                    if index == call.chunks - 1:
                        # Before the last chunk goes out, so that who has read it finds it on the bill.
                        ending = "complete" if admission.connected() else "client_gone"
                        self._settle(call, admission, call.usage, ending)
                    await _send(admission, response, _event(call.chunk(index)))
                    sent = index + 1
            except asyncio.CancelledError:
                # The emulator is stopped: the same as a cut.
                self._settle(call, admission, call.usage_after(sent) if sent else None, "cut")
                raise
            return response

    async def count_tokens(self, request: web.Request, caller: Caller, model: str) -> web.StreamResponse:
        self._calls.model(model, "countTokens")
        self._faults.raise_drawn("count", model)
        body = await read_json(request)
        tokens = await self._counting.tokens(caller.project, get(body, "generateContentRequest") or body, model)
        details = [{"modality": modality, "tokenCount": count} for modality, count in tokens.items()]
        return json_answer({"totalTokens": sum(tokens.values()), "promptTokensDetails": details})

    async def idle(self) -> None:
        """Returns when no call is being generated, those included whose client has gone."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Breaks off what is being generated, and lets nothing in any more."""
        self._stopping = True
        for task in self._running:
            task.cancel()
        await self.idle()

    @asynccontextmanager
    async def _admitted(
        self, request: web.Request, caller: Caller, model: str
    ) -> AsyncIterator[tuple[Call, Admission]]:
        """A call let in and past its errors; raises ApiError for others."""
        call = await self._calls.prepare(caller, model, await read_json(request))
        if self._stopping:
            raise ApiError(503)

        def connected() -> bool:
            return request.transport is not None and not request.transport.is_closing()

        tokens, cost = call.usage.input_tokens, call.cost(call.usage)
        admission = self._quotas.admit(call.project, call.model, tokens, cost, connected)
        task = asyncio.current_task()
        assert task
        self._running.add(task)
        self._idle.clear()
        try:
            if call.fault and call.fault.kind == "error":
                raise error_of(call.fault, call.model)
            if call.fault and call.fault.kind == "slow":
                await asyncio.sleep(call.fault.delay_s)
            yield call, admission
        finally:
            admission.settle(0)
            self._running.discard(task)
            if not self._running:
                self._idle.set()

    def _settle(self, call: Call, admission: Admission, usage: Usage | None, ending: Ending) -> None:
        """Once for each call. Usage None: nothing was sent, nothing is billed."""
        if usage and not admission.settled:
            admission.settle(self._calls.bill(call, usage, ending))


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\r\n\r\n"


async def _send(admission: Admission, response: web.StreamResponse, data: bytes) -> None:
    """A client that has gone is no reason to stop."""
    if not admission.connected():
        return
    try:
        await response.write(data)
    except ConnectionError:
        return


async def _broken(request: web.Request, response: web.StreamResponse, call: Call) -> web.StreamResponse:
    """Ends the stream as the call's fault says."""
    assert call.fault
    if call.fault.kind == "malformed_event":
        await response.write(_MALFORMED_EVENT)
    elif call.fault.kind == "error_event":
        await response.write(_event(error_of(call.fault, call.model).body(key_of(request))))
    else:
        _close(request)
    return response


async def _half(request: web.Request, call: Call) -> web.StreamResponse:
    """Half of the unary answer: `malformed_event` as a whole response, `cut` as one that breaks off."""
    assert call.fault
    data = json.dumps(call.answer()).encode()
    half = data[: len(data) // 2]
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=UTF-8"})
    response.content_length = len(half) if call.fault.kind == "malformed_event" else len(data)
    await response.prepare(request)
    await response.write(half)
    if call.fault.kind == "cut":
        _close(request)
    return response


def _close(request: web.Request) -> None:
    """An orderly end: what is written is flushed, then FIN. The request was read whole, so that no RST comes."""
    assert request.transport
    request.transport.close()
