"""`batchEmbedContents` and `embedContent`: vectors drawn from the content's hash, of unit length."""

import hashlib
import json
import math
import struct
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.gemini.bill import Bill, Line, call_cost
from tests.gemini.calls import Caller, Calls
from tests.gemini.config import Model
from tests.gemini.faults import Faults
from tests.gemini.quotas import Clock, Quotas
from tests.gemini.tokens import Counting
from tests.gemini.usage import Usage
from tests.gemini.wire import ApiError, get, json_answer, read_json


class Embeddings:
    def __init__(
        self, calls: Calls, counting: Counting, quotas: Quotas, bill: Bill, faults: Faults, clock: Clock
    ) -> None:
        self._calls = calls
        self._counting = counting
        self._quotas = quotas
        self._bill = bill
        self._faults = faults
        self._clock = clock

    async def embed_batch(self, request: web.Request, caller: Caller, model: str) -> web.StreamResponse:
        requests = get(await read_json(request), "requests", ())
        return json_answer(await self._embed(caller, model, requests))

    async def embed_one(self, request: web.Request, caller: Caller, model: str) -> web.StreamResponse:
        answer = await self._embed(caller, model, [await read_json(request)])
        return json_answer({"embedding": answer.pop("embeddings")[0], **answer})

    async def _embed(self, caller: Caller, name: str, requests: list[Mapping[str, Any]]) -> dict[str, Any]:
        model = self._calls.model(name, "embedContent", embeds=True)
        if not requests:
            raise ApiError(400, "* BatchEmbedContentsRequest.requests: at least one request is required")
        total: Counter[str] = Counter()
        for wish in requests:
            tokens = await self._counting.tokens(caller.project, {"contents": [get(wish, "content", {})]}, name)
            if sum(tokens.values()) > model.input_token_limit:
                raise ApiError(400, f"The input token count exceeds the maximum of {model.input_token_limit}.")
            total += tokens
        usage = Usage(total)
        cost = call_cost(usage, model)
        admission = self._quotas.admit(caller.project, name, usage.input_tokens, cost)
        try:
            self._faults.raise_drawn("embed", name)
            response_id = hashlib.sha256(json.dumps(requests).encode()).hexdigest()[:22]
            self._bill.add(Line("embed", response_id, self._clock(), caller.project, name, name, usage, cost))
            admission.settle(cost)
        finally:
            admission.settle(0)
        vectors = [{"values": _vector(wish, model)} for wish in requests]
        return {"embeddings": vectors, "usageMetadata": usage.metadata()}


def _vector(wish: Mapping[str, Any], model: Model) -> list[float]:
    size = get(wish, "outputDimensionality") or get(get(wish, "embedContentConfig", {}), "outputDimensionality")
    size = size or model.embedding_size
    seed = json.dumps(get(wish, "content", {}), sort_keys=True).encode()
    numbers = struct.unpack(f"<{size}h", hashlib.shake_256(seed).digest(2 * size))
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]
