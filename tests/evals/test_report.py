"""The report as JSON and as a page."""

import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

from chiasm import Box, Detection, Task
from evals import scorers
from evals.journal import Record, RunOf
from evals.page import MOST_FAILURES, write_html
from evals.report import Report, build, score, write_json
from evals.suite import Item, Measure, Reply, Suite
from tests.evals.questions import white

CIRCLE = Detection("circle", Box(5, 5, 15, 15))


def report(items: list[Item], replies: list[tuple[Reply, ...]], errors: list[str]) -> Report:
    suite = Suite(
        "found",
        "Finds things.",
        items,
        scorers.detection("d"),
        (Measure("d_mean_iou", target=0.7), Measure("d_f1_at_iou_50")),
    )
    scored = [
        score(suite, item, Record(item.id, reply, error=error))
        for item, reply, error in zip(items, replies, errors, strict=True)
    ]
    run_of = RunOf("found", len(items), "sha256-0", {"models/tiny": "sha256-1"})
    return build(suite, run_of, scored, address="127.0.0.1:8700", date="2026-11-21T10:00:00+00:00", seconds=2.5)


def items(number: int, picture=white) -> list[Item]:
    return [
        Item(f"i{n}", f"kind {n % 2}", Task.DETECT, ("<circle>",), (picture,), boxes=(CIRCLE,)) for n in range(number)
    ]


MISSED = Detection("circle", Box(20, 5, 30, 15))
THREE = report(
    items(3),
    [(Reply(detections=(CIRCLE,), seconds=1.0),), (Reply(detections=(MISSED,), cost_nanousd=7, seconds=3.0),), ()],
    ["", "", "INTERNAL: <broken>"],
)


def test_json_holds_measures_counts_times_and_what_was_run(tmp_path: Path) -> None:
    write_json(THREE, tmp_path / "report.json")
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["models"] == {"models/tiny": "sha256-1"}
    assert told["totals"]["items"] == 3
    assert told["totals"]["failed"] == 1
    assert told["totals"]["cost_nanousd"] == 7
    assert told["totals"]["median_seconds"] == 2.0
    mean_iou, f1 = told["measures"]
    assert (mean_iou["name"], mean_iou["target"], mean_iou["ok"]) == ("d_mean_iou", 0.7, False)
    assert 0 <= mean_iou["interval_95"][0] <= mean_iou["value"] <= mean_iou["interval_95"][1] <= 1
    assert (f1["value"], f1["ok"]) == (0.4, None)
    assert set(told["by_kind"]) == {"kind 0", "kind 1"}


def test_lines_are_figures_where_there_is_a_target() -> None:
    line, other = THREE.lines()
    assert line == "d_mean_iou 0.3333 >=0.7 short"
    assert re.fullmatch(r"d_f1_at_iou_50 0\.4 \[[\d.]+, [\d.]+\]", other)


def test_trouble_is_how_many_failed_and_why() -> None:
    assert THREE.trouble == "1 of 3 items failed and count as wrong, such as: INTERNAL: <broken>"
    assert report(items(1), [(Reply(detections=(CIRCLE,)),)], [""]).trouble == ""


def test_failed_items_come_first_then_the_worst() -> None:
    assert [scored.item.id for scored in THREE.scored] == ["i2", "i1", "i0"]


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def test_the_page_needs_nothing_else_and_escapes_what_models_and_data_say(tmp_path: Path) -> None:
    write_html(THREE, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    tags = Tags(text).tags
    assert not {"script", "link", "iframe", "circle", "broken"} & {tag for tag, _ in tags}
    sources = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert len(sources) == 2
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert "http" not in text.replace("http-equiv", "")
    assert "&lt;circle&gt;" in text
    assert "INTERNAL: &lt;broken&gt;" in text
    assert "circle  (20, 5) to (30, 15)" in text


def test_the_page_stays_light_with_many_failures(tmp_path: Path) -> None:
    number = 3 * MOST_FAILURES
    write_html(report(items(number), [()] * number, ["INTERNAL: x"] * number), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count("<article>") == MOST_FAILURES
    assert f"{number} of {number} items are less than perfect; the worst {MOST_FAILURES} are shown" in text


def test_a_picture_that_is_none_is_left_out(tmp_path: Path) -> None:
    write_html(report(items(1, picture=lambda: b"no picture"), [()], [""]), tmp_path / "report.html")
    assert "<img" not in (tmp_path / "report.html").read_text()


def test_a_picture_too_large_to_open_is_left_out(tmp_path: Path) -> None:
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0), b"IDAT")
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(framed)
    write_html(report(items(1, picture=lambda: data), [()], [""]), tmp_path / "report.html")
    assert "<img" not in (tmp_path / "report.html").read_text()
