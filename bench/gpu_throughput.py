"""Seconds that rising numbers of requests at once take; a process of its own, because vLLM wants one.

Prints one JSON object: requests -> seconds.
"""

import argparse
import asyncio
import json
import time
from contextlib import aclosing

from PIL import Image

from services.paligemma.config import PaligemmaSettings
from services.paligemma.engine import Engine, Sampling

PROMPT = "describe the picture"
ANSWER_TOKENS = 128


async def _measure(settings: PaligemmaSettings, concurrencies: list[int]) -> dict[str, object]:
    engine = Engine(settings)
    await engine.start()
    try:
        prompt = engine.encode(PROMPT, field="")
        image = Image.effect_noise((engine.facts.image_size,) * 2, 64).convert("RGB")

        async def ask() -> None:
            async with aclosing(engine.generate(prompt, image, Sampling(max_tokens=ANSWER_TOKENS))) as outputs:
                async for _ in outputs:
                    pass

        seconds = {}
        for concurrency in concurrencies:
            await asyncio.gather(*(ask() for _ in range(concurrency)))  # graphs and caches of this size are made now
            began = time.monotonic()
            await asyncio.gather(*(ask() for _ in range(concurrency)))
            seconds[concurrency] = time.monotonic() - began
        return {"prompt_tokens": engine.facts.image_tokens + 1 + len(prompt), "seconds": seconds}
    finally:
        await engine.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("concurrencies", nargs="+", type=int)
    args = parser.parse_args()
    settings = PaligemmaSettings(model=args.model, dtype="bfloat16", max_running=max(args.concurrencies))
    print(json.dumps(asyncio.run(_measure(settings, args.concurrencies))))


if __name__ == "__main__":
    main()
