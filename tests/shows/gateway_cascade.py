"""The gateway's cascade: the tiny model first, a stronger one where it is not sure."""

import asyncio
import sys
import tempfile
from pathlib import Path

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from evals.figures import Figure
from evals.suites.tiny_mixed import mixed
from tests.gateway.cascade.showing import quality, shown
from tests.gateway.large_model import EmulatedModel, right_in, serving
from tests.stacks import READY_TIMEOUT_S, ROOT

LARGE_RIGHT = 0.99


async def cascade() -> list[Figure]:
    """The tiny model, calibrated against a large one, answers what it is sure of; measured on other pictures"""
    dev, test = mixed("dev"), mixed("test")
    large = await asyncio.to_thread(EmulatedModel, "models/large", [*dev.items, *test.items], right_in(LARGE_RIGHT))
    environment = {"CHIASM_PALIGEMMA_MODEL": str(ROOT / "models" / "tiny-paligemma")}
    spec = ServiceSpec("paligemma", "services.paligemma", environment=environment)
    with tempfile.TemporaryDirectory(prefix="chiasm-show-") as folder:
        async with Stack([spec], log_dir=Path(folder)) as stack, serving(large) as large_address:
            await stack.wait_ready(READY_TIMEOUT_S)
            found = await shown(stack.services["paligemma"].address, large_address, dev, test, Path(folder))
    print(
        f"  right: small {quality(found.small):.1%}, large {quality(found.large):.1%}, "
        f"cascade {quality(found.cascade):.1%} at {found.cost_share:.1%} of the cost",
        file=sys.stderr,
    )
    return [
        Figure("gateway_cascade_cost_share", round(found.cost_share, 3), "<=", 0.5),
        Figure("gateway_cascade_quality_lost", round(found.quality_lost, 4), "<=", 0.01),
        Figure("gateway_always_small_quality_lost", round(quality(found.large) - quality(found.small), 3), ">=", 0.1),
    ]


SHOWS = (cascade,)
