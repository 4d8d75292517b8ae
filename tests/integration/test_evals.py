"""The short form of `make eval`: a suite through gateway, paligemma and vLLM."""

from pathlib import Path

import pytest

from chiasm import AsyncClient
from evals.evaluation import Settings, evaluate
from evals.suites import build

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_suite_is_measured_from_the_served_model(client: AsyncClient, tmp_path: Path) -> None:
    report = await evaluate(build("tiny-answers"), client, Settings(tmp_path, limit=40))
    assert report.trouble == ""
    assert report.run_of.models["models/tiny-paligemma"].startswith("sha256-")
    assert report.totals.output_tokens >= 40
    assert report.totals.median_seconds > 0
    by_kind = {kind: found[0].value for kind, found in report.by_kind.items()}
    assert by_kind["color"] >= 0.9
    assert by_kind["count"] >= 0.9
