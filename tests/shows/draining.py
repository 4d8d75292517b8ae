"""SIGTERM under load as figures, whichever service is told to go."""

import tempfile
from pathlib import Path

from evals.figures import Figure
from tests.checkpoints import talkative
from tests.integration.drain import drain_under_load


async def draining(service: str, calls: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        drained = await drain_under_load(talkative(Path(folder)), service, calls)
    return [
        Figure(f"{service}_sigterm_streams_cut", drained.early_cut, "==", 0),
        Figure(f"{service}_sigterm_calls_hung", drained.hung, "==", 0),
        Figure(f"{service}_sigterm_calls_answered_or_told", drained.completed + drained.refused, "==", 2 * calls),
        Figure(f"{service}_sigterm_exit_code", drained.exit_code, "==", 0),
    ]
