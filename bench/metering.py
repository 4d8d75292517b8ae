"""What gemini_proxy adds to a call: `python -m bench.metering`.

The same question goes to an emulated Gemini by google-genai itself and through gemini_proxy with every limit and a
budget in force; client, proxy, Valkey and emulator are processes of their own. The two take turns call by call. The
emulated answer takes no time, so that what is added is all that is measured; a real one takes a second.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from google import genai
from google.genai import types

from chiasm.v1 import generation_pb2
from tests.gemini.config import MODELS, TEST_KEY, Config, Project
from tests.integration.gemini_stack import connected, running

MODEL = "gemini-3.8-flash"
CALLS = 400
WARM_UP = 20
CALLERS = (1, 16)
QUESTION = "which shape is the largest?"
PLENTY = 10**9
LIMITS = {
    "requests_per_minute": PLENTY,
    "input_tokens_per_minute": PLENTY,
    "requests_per_day": PLENTY,
    "spend_nanousd_per_10_minutes": 10**15,
    "concurrency": PLENTY,
}
SETTINGS = {
    "limits": {"*": LIMITS},
    "budgets": [{"tenant": "default", "day_nanousd": 10**15, "month_nanousd": 10**15, "hard": True}],
}

Call = Callable[[], Awaitable[object]]


async def seconds(bare: Call, metered: Call, callers: int) -> tuple[list[float], list[float]]:
    """How long each call took, bare and metered."""
    took: dict[Call, list[float]] = {bare: [], metered: []}

    async def caller() -> None:
        for index in range(WARM_UP + CALLS // callers):
            for call in (bare, metered):
                begun = time.perf_counter()
                await call()
                if index >= WARM_UP:
                    took[call].append(time.perf_counter() - begun)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return took[bare], took[metered]


async def main() -> None:
    config = Config(projects={"test": Project((TEST_KEY,))}, models=MODELS)
    message = generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=[generation_pb2.Part(text=QUESTION)])
    request = generation_pb2.GenerateRequest(model=f"models/{MODEL}", messages=[message])
    async with running(config, replicas=1, settings=SETTINGS) as stack, connected(stack.proxies[0].address) as stubs:
        options = types.HttpOptions(base_url=stack.gemini.base_url, retry_options=types.HttpRetryOptions(attempts=1))
        client = genai.Client(vertexai=True, api_key=TEST_KEY, http_options=options).aio
        for callers in CALLERS:
            bare, metered = await seconds(
                lambda: client.models.generate_content(model=MODEL, contents=QUESTION),
                lambda: stubs[0].Generate(request, timeout=60),
                callers,
            )
            for percentile in (50, 99):
                alone, through = (statistics.quantiles(took, n=100)[percentile - 1] for took in (bare, metered))
                print(f"gemini_proxy_added_ms_p{percentile}_{callers}_callers {(through - alone) * 1e3:.2f}")
                print(f"gemini_proxy_over_google_genai_p{percentile}_{callers}_callers {through / alone:.2f}")
        await client.aclose()


if __name__ == "__main__":
    asyncio.run(main())
