"""A run's report as one HTML file that needs nothing else: measures, kinds, and the worst failures with pictures."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from chiasm import Detection
from chiasm.command.draw import draw
from chiasm.command.report import dollars, found_line
from evals.report import Report, Scored

MOST_FAILURES = 40
_LONGEST_SIDE = 360  # pixels; enough to see why, and light

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True)
class _Failure:
    id: str
    kind: str
    asked: Sequence[str]
    expected: Sequence[str]
    got: Sequence[str]
    error: str
    scores: str
    picture: str
    """A data URL, or empty where there is nothing to show."""


def write_html(report: Report, path: Path) -> None:
    """Writes the page. Blocks: it draws the pictures of the worst failures."""
    wrong = [scored for scored in report.scored if scored.quality < 1 or scored.record.error]
    page = _TEMPLATES.get_template("page.html.j2").render(
        report=report,
        cost=dollars(report.totals.cost_nanousd),
        wrong=len(wrong),
        failures=[_failure(scored) for scored in wrong[:MOST_FAILURES]],
    )
    path.write_text(page, encoding="utf-8")


def _failure(scored: Scored) -> _Failure:
    item, replies = scored.item, scored.record.replies
    found = [detection for reply in replies for detection in reply.detections]
    got = [reply.text for reply in replies if reply.text] if not found else [found_line(one) for one in found]
    return _Failure(
        id=item.id,
        kind=item.kind,
        asked=[prompt or str(item.task) for prompt in item.prompts],
        expected=[*item.answers, *(found_line(box) for box in item.boxes)],
        got=got + [", ".join(reply.ranking[:5]) for reply in replies if reply.ranking],
        error=scored.record.error,
        scores=", ".join(f"{name} {part:.3g}/{whole:.3g}" for name, (part, whole) in scored.scores.items()),
        picture=_picture(scored, found),
    )


def _picture(scored: Scored, found: Sequence[Detection]) -> str:
    """The first picture with the boxes expected and found; empty where it cannot be read or drawn on."""
    if not scored.item.pictures:
        return ""
    boxes = [replace(box, label=f"expected {box.label}") for box in scored.item.boxes] + list(found)
    try:
        canvas = draw(scored.item.pictures[0](), boxes)
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    canvas.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    out = io.BytesIO()
    canvas.save(out, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
