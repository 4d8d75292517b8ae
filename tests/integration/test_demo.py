"""`make demo`, less its install: right answers, a drained stack, no process left."""

import asyncio
import sys

from tests.stacks import ROOT


async def test_the_demo_answers_right_and_leaves_nothing() -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts.demo", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(170):
        said, _ = await demo.communicate()
    assert demo.returncode == 0, said.decode()
    assert "all answers right, the stack stopped, no process left" in said.decode()
