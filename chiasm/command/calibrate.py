"""`chiasm calibrate`: when a small model's answer is good enough."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiasm.command.failures import explained
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note
from chiasm.errors import InvalidArgument

if TYPE_CHECKING:
    from evals.calibration_report import CalibrationReport


def calibrate(
    small: Annotated[
        list[Path],
        typer.Option(file_okay=False, help="A run of `chiasm eval` against the small model's server; may be repeated."),
    ],
    large: Annotated[
        list[Path],
        typer.Option(file_okay=False, help="A run of the same suite against the large model's server; likewise."),
    ],
    policy: Annotated[Path, typer.Option(dir_okay=False, help="The gateway's policy file; made where it is missing.")],
    target: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How good answers must stay; the large model's less a point when left out."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Where to write a page with cost against quality.")
    ] = None,
) -> None:
    """Fit from where on a small model's answers are good enough, and write it to a gateway's policy.

    Both models answer the same suites first, each asked at its own server: `chiasm eval SUITE
    --against SERVER --out RUN`. For each task, the least confidence is chosen that surely keeps
    the answers good enough, so that the large model is asked as little as can be.
    """
    with explained(""), command_span("calibrate"):
        try:
            fitted = _calibrate(small, large, policy, target, report)
        except ModuleNotFoundError as error:
            message = (
                f"chiasm calibrate needs more than the client: pip install 'chiasm[evals]' ({error.name} is missing)"
            )
            raise InvalidArgument(message, reason="FIELD_INVALID", field="policy") from error
        except OSError as error:
            message = f"cannot write {error.filename}: {error.strerror}"
            raise InvalidArgument(message, reason="FIELD_INVALID", field="policy") from error
    for line in fitted.lines():
        print(line, flush=True)
    for task, cascade in fitted.cascades.items():
        note(f"{policy}: tasks.{task}: {fitted.small} has min_confidence {cascade.min_confidence:g}")
    if report:
        note(f"report: {report}")


def _calibrate(
    small: list[Path], large: list[Path], policy: Path, target: float | None, page: Path | None
) -> "CalibrationReport":
    from evals.calibration_page import write_html
    from evals.calibration_report import calibrate
    from evals.pairing import pair
    from evals.policy_yaml import write_cascades

    paired = pair(small, large)
    fitted = calibrate(paired, target)
    write_cascades(policy, paired, fitted.cascades)
    if page:
        write_html(fitted, page)
    return fitted
