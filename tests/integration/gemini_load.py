"""Loads that prove gemini_proxy's two promises: no limit is exceeded, no nano-dollar is lost."""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chiasm.v1 import generation_pb2, generation_pb2_grpc, usage_pb2, usage_pb2_grpc
from services.gemini_proxy.accounts.ledger import Filter, Ledger
from tests.gemini.config import MODELS, TEST_KEY, Config, Project, Quota
from tests.integration.gemini_stack import GeminiStack, connected, running

MODEL = "gemini-3.8-flash"
LEASE_S = 6.0
_BUDGET_TRIES = 8


@dataclass(frozen=True)
class Limited:
    """What a load against quotas came to."""

    quota: int
    minutes: list[int]
    """Requests that the provider took, by minute of the load."""
    refused_upstream: int
    """429s of the provider's."""
    refused_here: int
    unexpected: Counter


async def press_limits(*, replicas: int, callers: int, seconds: float, requests_per_minute: int) -> Limited:
    """`callers` at each of `replicas` ask again and again for `seconds`, more often than the quota allows."""
    quota = Quota(requests_per_minute=requests_per_minute, input_tokens_per_minute=1_000_000)
    config = Config(projects={"test": Project((TEST_KEY,), {"*": quota})}, models=MODELS)
    limits = {"*": {"requests_per_minute": requests_per_minute, "input_tokens_per_minute": 1_000_000}}
    counts, unexpected = Counter(), Counter()
    settings = {"limits": limits, "max_waiting": 1000}
    async with running(config, replicas=replicas, settings=settings) as stack, AsyncExitStack() as channels:
        stubs = [(await channels.enter_async_context(connected(p.address)))[0] for p in stack.proxies]
        began = time.monotonic()

        async def caller(stub: generation_pb2_grpc.GenerationServiceStub, number: int) -> None:
            while (left_s := began + seconds - time.monotonic()) > 0:
                try:
                    await stub.Generate(_question(f"call of {number}", {"answer": "yes"}), timeout=20)
                    counts[int((time.monotonic() - began) // 60)] += 1
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        unexpected[f"{error.code().name}: {error.details()}"] += 1
                    counts["refused"] += 1
                    await asyncio.sleep(min(_retry_after_s(error), max(0.0, left_s), 5.0))

        await asyncio.gather(*(caller(stub, n) for stub in stubs for n in range(callers)))
        quotas = json.loads(await stack.gemini.page("_quotas"))
    minutes = [counts[minute] for minute in range(max(1, int(seconds // 60)))]
    return Limited(requests_per_minute, minutes, sum(quotas["refused"].values()), counts["refused"], unexpected)


def _retry_after_s(error: grpc.aio.AioRpcError) -> float:
    status = rpc_status.from_call(error)
    info = error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return info.retry_delay.ToTimedelta().total_seconds()
    return 1.0


@dataclass(frozen=True)
class Spent:
    """What calls against a budget came to, in nano-dollars."""

    budget: int
    bill: int
    ledger_before: int
    """Before the provider's record was read: calls of the killed stand in it at their worst case."""
    ledger_minus_bill: int
    """Afterwards."""
    attempts_that_differ: int
    """Between the ledger and the bill, by attempt."""
    held: int
    """Reservations, a lease's length after the kill."""
    calls: Counter
    """By how they ended for their callers."""


async def press_budget(*, calls: int, budget_nanousd: int, replicas: int = 5, seed: int = 7) -> Spent:
    """`calls` at once against a hard budget; a replica of five is killed amid them (-9), a fifth of the callers leave,
    a tenth of the streams are cut by the provider."""
    config = Config(projects={"test": Project((TEST_KEY,))}, models=MODELS)
    settings = {
        "budgets": [{"tenant": "default", "day_nanousd": budget_nanousd, "hard": True}],
        "lease_s": LEASE_S,
        "max_concurrent_calls": 1000,
    }
    rng, ends = random.Random(seed), Counter()
    async with running(config, replicas=replicas, settings=settings) as stack, AsyncExitStack() as channels:
        stubs = [(await channels.enter_async_context(connected(p.address))) for p in stack.proxies]
        tasks = [
            asyncio.create_task(_budgeted_call(stubs[n % replicas][0], rng.random(), n, ends)) for n in range(calls)
        ]
        await _under_way(stack, at_least=calls * 2 // 5)
        await _crash(stack)
        await asyncio.gather(*tasks)
        await stack.gemini.page("_idle")
        await asyncio.sleep(LEASE_S * 2)  # a lease's length, and the sweep after it
        held = len(await stack.ledger.holdings())
        before, billed = await _costs(stack.ledger), await _bill(stack)
        # The record reaches as far as its newest row: this one, on another tenant's account.
        await stubs[1][0].Generate(_question("after", {}), timeout=20, metadata=(("chiasm-tenant", "after"),))
        await _reconcile(stack, stubs[1][1])
        after, bill = await _costs(stack.ledger), await _bill(stack)
    return Spent(
        budget=budget_nanousd,
        bill=sum(billed.values()),
        ledger_before=sum(before.values()),
        ledger_minus_bill=sum(after.values()) - sum(bill.values()),
        attempts_that_differ=sum(bill[name] != after[name] for name in bill.keys() | after.keys()),
        held=held,
        calls=ends,
    )


async def _budgeted_call(
    stub: generation_pb2_grpc.GenerationServiceStub, luck: float, number: int, ends: Counter
) -> None:
    """One call, asked again a few times while the budget has no room; how it ended is noted in `ends`."""
    steer: dict = {"answer_tokens": 58, "chunks": 5, "first_token_s": 1, "chunk_s": 0.5}
    leaves_after = number % 5 if luck < 0.2 else None
    if 0.2 <= luck < 0.3:
        steer["fault"] = {"kind": "cut", "after_chunks": 1 + number % 4}
    for _ in range(_BUDGET_TRIES):
        try:
            ends[await _read(stub, _question(f"{number}", steer, max_tokens=60), leaves_after)] += 1
            return
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                ends[error.code().name] += 1
                return
        await asyncio.sleep(1)
    ends["RESOURCE_EXHAUSTED"] += 1


async def _read(
    stub: generation_pb2_grpc.GenerationServiceStub, question: generation_pb2.GenerateRequest, leaves_after: int | None
) -> str:
    call = stub.StreamGenerate(question, timeout=60)
    pieces = 0
    async for event in call:
        if event.HasField("finished"):
            return "OK"
        pieces += 1
        if leaves_after is not None and pieces > leaves_after:
            call.cancel()
            return "CANCELLED"
    return "ended without an end"


async def _under_way(stack: GeminiStack, *, at_least: int) -> None:
    async with asyncio.timeout(60):
        while len(await stack.ledger.holdings()) < at_least:  # noqa: ASYNC110 - the books ring no event
            await asyncio.sleep(0.05)


async def _crash(stack: GeminiStack) -> None:
    victim = stack.proxies[0]
    os.kill(victim.pid, signal.SIGKILL)
    await victim.wait()


async def _bill(stack: GeminiStack) -> Counter:
    """What the provider bills for each attempt, in nano-dollars."""
    bill = Counter()
    for line in (await stack.gemini.bill())["lines"]:
        bill[line["labels"]["chiasm_attempt"]] += line["cost_nanousd"]
    return bill


async def _costs(ledger: Ledger) -> Counter:
    """What each attempt stands in the ledger with, in nano-dollars."""
    today = datetime.now(UTC).date()
    wanted, costs, cursor = Filter(today - timedelta(days=1), today), Counter(), ""
    while True:
        page = await ledger.entries(wanted, page_size=500, cursor=cursor)
        for entry in page.entries:
            costs[entry.attempt_id] += entry.sums.cost_nanousd
        if not (cursor := page.cursor):
            return costs


async def _reconcile(stack: GeminiStack, stub: usage_pb2_grpc.UsageServiceStub) -> None:
    """Reads the provider's record of all calls into the books."""
    record = await stack.gemini.page("_log")
    whole = usage_pb2.ReconcileUsageRequest()
    whole.whole_since.FromDatetime(datetime.now(UTC) - timedelta(days=1))
    # Nothing is under way there, so that nothing will be added either.
    whole.whole_until.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    pieces = (record[start : start + 64_000] for start in range(0, len(record), 64_000))
    requests = [whole, *(usage_pb2.ReconcileUsageRequest(data=piece) for piece in pieces)]
    await stub.ReconcileUsage(iter(requests), timeout=60)


def _question(text: str, steer: Mapping[str, object], max_tokens: int = 20) -> generation_pb2.GenerateRequest:
    prompt = text + json.dumps({"emulate": steer})
    message = generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=[generation_pb2.Part(text=prompt)])
    return generation_pb2.GenerateRequest(
        model=f"models/{MODEL}", messages=[message], config=generation_pb2.GenerationConfig(max_tokens=max_tokens)
    )
