"""The answers of the service's own engine, in a process of its own, because vLLM wants one.

Run as a module it prints one JSON object: schedule -> a list of [tokens, logprobs].
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import astuple
from pathlib import Path

from services.paligemma.adapters import Adapter
from services.paligemma.config import PaligemmaSettings
from services.paligemma.engine import Engine, Sampling
from tests.paligemma.parity.questions import MAX_TOKENS, Answer, Question, questions

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 900
LOG_CHARACTERS = 20_000  # vLLM's last words repeat in each process, and the cause comes before them all
MAX_RUNNING = 16


def served(
    model: Path,
    count: int,
    schedules: Sequence[str],
    *,
    dtype: str = "float32",
    adapter: Path | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, list[Answer]]:
    """The answers to the first `count` questions under each schedule; with "adapter", by the adapter."""
    command = [
        sys.executable,
        "-m",
        "tests.paligemma.parity.served",
        str(model),
        str(count),
        *schedules,
        "--dtype",
        dtype,
    ]
    if adapter is not None:
        command += ["--adapter", str(adapter)]
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        log.seek(0)
        if done.returncode != 0:
            raise RuntimeError(log.read()[-LOG_CHARACTERS:])
    return {
        schedule: [Answer(*answer) for answer in answers]
        for schedule, answers in json.loads(done.stdout.splitlines()[-1]).items()
    }


class _Asking:
    """One engine, and the ways of putting questions to it."""

    def __init__(self, engine: Engine, asked: list[Question]) -> None:
        self._engine = engine
        self._asked = asked
        self.schedules: dict[str, Callable[[], Awaitable[list[Answer]]]] = {
            "alone": self._alone,
            "together": self._together,
            "staggered": self._staggered,
            "adapter": self._mixed_with_adapter,
        }

    async def _alone(self) -> list[Answer]:
        """One after the other."""
        return [await self._answer(question) for question in self._asked]

    async def _together(self) -> list[Answer]:
        """All at once, so that prefills and decodings share batches."""
        return await asyncio.gather(*(self._answer(question) for question in self._asked))

    async def _staggered(self) -> list[Answer]:
        """Each arrives when the one before it has written 1 to 6 tokens, or has ended."""
        rng = random.Random(1)
        arrived = [asyncio.Event() for _ in range(len(self._asked) + 1)]
        arrived[0].set()

        async def answer(i: int) -> Answer:
            await arrived[i].wait()
            try:
                return await self._answer(self._asked[i], after=(thresholds[i], arrived[i + 1]))
            finally:
                arrived[i + 1].set()

        thresholds = [rng.randint(1, 6) for _ in self._asked]
        return await asyncio.gather(*(answer(i) for i in range(len(self._asked))))

    async def _mixed_with_adapter(self) -> list[Answer]:
        """By the adapter, while the base model answers the same questions in the same batches."""
        (adapter,) = self._engine.adapters
        asked = [self._answer(question, adapter) for question in self._asked]
        beside = [self._answer(question) for question in self._asked]
        answers = await asyncio.gather(*(call for pair in zip(asked, beside, strict=True) for call in pair))
        return list(answers[::2])

    async def _answer(
        self, question: Question, adapter: Adapter | None = None, after: tuple[int, asyncio.Event] | None = None
    ) -> Answer:
        tokens = []
        prompt = self._engine.encode(question.text, field="")
        outputs = self._engine.generate(prompt, question.image, Sampling(max_tokens=MAX_TOKENS), adapter)
        async with aclosing(outputs):
            async for output in outputs:
                tokens += output.tokens
                if after is not None and len(tokens) >= after[0]:
                    after[1].set()
        return Answer([token.id for token in tokens], [token.logprob for token in tokens])


async def _run(settings: PaligemmaSettings, count: int, schedules: Sequence[str]) -> dict[str, list[Answer]]:
    engine = Engine(settings)
    await engine.start()
    try:
        asking = _Asking(engine, questions(count, engine.facts.image_size))
        return {schedule: await asking.schedules[schedule]() for schedule in schedules}
    finally:
        await engine.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("count", type=int)
    parser.add_argument("schedules", nargs="+")
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--adapter", type=Path)
    args = parser.parse_args()
    settings = PaligemmaSettings(
        model=args.model,
        dtype=args.dtype,
        max_running=MAX_RUNNING,
        adapters={"adapter": args.adapter} if args.adapter else {},
    )
    answers = asyncio.run(_run(settings, args.count, args.schedules))
    print(json.dumps({schedule: [astuple(answer) for answer in given] for schedule, given in answers.items()}))


if __name__ == "__main__":
    main()
