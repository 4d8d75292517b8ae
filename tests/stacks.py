"""The real services as real processes on free ports, for tests and shows."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack

READY_TIMEOUT_S = 240.0
ROOT = Path(__file__).parent.parent


@asynccontextmanager
async def running(model: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Stack]:
    """paligemma with `model` and a gateway before it, both ready; both ended and their logs removed at the end."""
    environment = dict(environment or {})
    specs = [
        ServiceSpec(
            "paligemma", "services.paligemma", environment={"CHIASM_PALIGEMMA_MODEL": str(model), **environment}
        ),
        ServiceSpec(
            "gateway",
            "services.gateway",
            environment={"CHIASM_GATEWAY_REFRESH_S": "0.1", **environment},
            addresses={"CHIASM_GATEWAY_TARGETS": ("paligemma",)},
        ),
    ]
    with tempfile.TemporaryDirectory(prefix="chiasm-test-") as logs:
        async with Stack(specs, log_dir=Path(logs)) as stack:
            await stack.wait_ready(READY_TIMEOUT_S)
            yield stack


def gateway(stack: Stack) -> str:
    """The gateway's address."""
    return stack.services["gateway"].address
