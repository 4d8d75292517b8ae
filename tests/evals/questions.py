"""A small suite whose right answer is what the scripted gateway says, and its run."""

import io
from pathlib import Path

from PIL import Image

from chiasm import AsyncClient, Task
from evals import scorers
from evals.evaluation import Settings, evaluate
from evals.report import Report
from evals.suite import Item, Measure, Suite

RIGHT = "two circles"


def white() -> bytes:
    """A white picture of 40 x 20 pixels, as a PNG."""
    out = io.BytesIO()
    Image.new("RGB", (40, 20), "white").save(out, "PNG")
    return out.getvalue()


def suite(items: int = 20) -> Suite:
    """Questions numbered from 0, of two kinds; odd ones want another answer than the gateway's."""
    return Suite(
        name="numbered",
        about="Numbered questions.",
        items=[
            Item(
                f"item-{number}",
                "odd" if number % 2 else "even",
                Task.ANSWER,
                (f"question {number}",),
                (white,),
                ("<three>" if number % 2 else RIGHT,),
            )
            for number in range(items)
        ],
        score=scorers.exact("numbered_exact"),
        measures=(Measure("numbered_exact", target=0.5),),
    )


async def run(address: str, out: Path, questions: Suite | None = None, **settings: object) -> Report:
    """The suite, asked."""
    async with AsyncClient(address, timeout_s=30) as client:
        return await evaluate(questions or suite(), client, Settings(out, **settings))
