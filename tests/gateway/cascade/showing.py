"""The way to a cascade: both models evaluated, the policy calibrated, the gateway measured on other questions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chiasm import AsyncClient
from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from evals.calibration_report import calibrate
from evals.evaluation import Settings, evaluate
from evals.pairing import pair
from evals.policy_yaml import write_cascades
from evals.report import Report
from evals.suite import Suite

READY_TIMEOUT_S = 30.0
POLICY = """\
cascade:
  escalation_share: 0.75  # more than half of what is asked here is beyond the small model
"""


@dataclass(frozen=True)
class Shown:
    """Reports of runs over the same questions, but for the first."""

    small: Report
    """Always the small model, over the questions to calibrate with."""
    large: Report
    """Always the large one."""
    cascade: Report

    @property
    def cost_share(self) -> float:
        """What the cascade cost of what the large model alone did."""
        return self.cascade.totals.cost_nanousd / self.large.totals.cost_nanousd

    @property
    def quality_lost(self) -> float:
        """By the cascade, 0 to 1, where the large model alone is asked instead; negative where it is better."""
        return quality(self.large) - quality(self.cascade)


async def shown(small: str, large: str, dev: Suite, test: Suite, folder: Path) -> Shown:
    """Servers of the two models, the questions to calibrate with, and those to measure on."""
    small_dev = await _evaluated(dev, small, folder / "small")
    await _evaluated(dev, large, folder / "large")
    paired = await asyncio.to_thread(pair, [folder / "small"], [folder / "large"])
    fitted = await asyncio.to_thread(calibrate, paired, None)
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    write_cascades(policy, paired, fitted.cascades)
    async with gateway(policy, folder, small, large) as address:
        cascade = await _evaluated(test, address, folder / "cascade")
    return Shown(small_dev, await _evaluated(test, large, folder / "always-large"), cascade)


def quality(report: Report) -> float:
    """By the suite's first measure."""
    return report.measured[0].value


async def _evaluated(suite: Suite, address: str, out: Path) -> Report:
    async with AsyncClient(address) as client:
        report = await evaluate(suite, client, Settings(out))
    assert not report.trouble, report.trouble
    return report


@asynccontextmanager
async def gateway(policy: Path, logs: Path, *targets: str) -> AsyncIterator[str]:
    """Serves the models at `targets`, one each, by a policy's file; its address."""
    environment = {
        "CHIASM_GATEWAY_TARGETS": ",".join(targets),
        "CHIASM_GATEWAY_POLICY_FILE": str(policy),
        "CHIASM_GATEWAY_MEDIA_STORE": str(logs / "media"),
        "CHIASM_GATEWAY_REFRESH_S": "0.05",
    }
    async with Stack([ServiceSpec("gateway", "services.gateway", environment=environment)], log_dir=logs) as stack:
        await stack.wait_ready(READY_TIMEOUT_S)
        address = stack.services["gateway"].address
        async with AsyncClient(address) as client, asyncio.timeout(READY_TIMEOUT_S):
            while len(await client.models()) < len(targets):  # noqa: ASYNC110 - another process rings no event
                await asyncio.sleep(0.05)
        yield address
