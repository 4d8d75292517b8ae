"""Draws a contact sheet of what was found: pictures in a grid, under each its rank, score and name."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from chiasm.command.draw import written
from chiasm.command.heat import heat_panels
from chiasm.command.hits import part_of
from chiasm.command.lettering import cut, wrapped
from chiasm.search import Hit

CELL = 256
"""Pixels of a picture's longer side on the sheet."""
COLUMNS, EXPLAINED_COLUMNS = 5, 6
_GAP, _MARGIN, _LINE, _FONT, _TITLE_LINE, _TITLE_FONT = 16, 12, 20, 15, 24, 19
_PAPER, _INK, _FAINT, _FRAME = "white", "#1a1a1a", "#6b6b6b", "#d9d9d9"


@dataclass(frozen=True)
class Picture:
    """What stands in a cell."""

    image: Image.Image
    lines: tuple[str, ...]
    """Under it; the first one is bold in effect: darker than the rest."""


def write_sheet(hits: Sequence[Hit], path: Path, *, title: str, explain: bool = False) -> None:
    """Writes the file, which `draw.check_writable` has passed. Raises InvalidArgument when it cannot."""
    written(draw_explained(hits, title) if explain else draw_sheet(hits, title), path)


def draw_sheet(hits: Sequence[Hit], title: str) -> Image.Image:
    """A cell for each, the best first, row by row."""
    return _drawn(_rows([_cell(hit, rank) for rank, hit in enumerate(hits, 1)], COLUMNS), title)


def draw_explained(hits: Sequence[Hit], title: str) -> Image.Image:
    """For each the page, the heat of all words together, and that of each word."""
    rows = []
    for rank, hit in enumerate(hits, 1):
        panels = [Picture(_fitted(panel.image), (panel.word, f"{panel.score:+.2f}")) for panel in heat_panels(hit)]
        rows += _rows([_cell(hit, rank), *panels], EXPLAINED_COLUMNS)
    return _drawn(rows, title)


def _rows(cells: Sequence[Picture], columns: int) -> list[Sequence[Picture]]:
    return [cells[start : start + columns] for start in range(0, len(cells), columns)]


def _drawn(rows: Sequence[Sequence[Picture]], title: str) -> Image.Image:
    font, title_font = ImageFont.load_default(_FONT), ImageFont.load_default(_TITLE_FONT)
    wide = CELL + _GAP
    columns = max(map(len, rows), default=1)
    heading = wrapped(title, columns * wide - _GAP, title_font, most=3)
    tops, high = [], _GAP + len(heading) * _TITLE_LINE + _GAP
    for row in rows:
        tops.append(high)
        high += max(cell.image.height for cell in row) + max(len(cell.lines) for cell in row) * _LINE + _GAP
    sheet = Image.new("RGB", (_GAP + columns * wide, high), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(heading):
        pen.text((_GAP, _GAP + number * _TITLE_LINE), line, fill=_INK, font=title_font)
    for top, row in zip(tops, rows, strict=True):
        bottom = top + max(cell.image.height for cell in row)
        for place, cell in enumerate(row):
            _draw_cell(sheet, pen, cell, (_GAP + place * wide, bottom), font)
    return sheet


def _draw_cell(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, cell: Picture, at: tuple[int, int], font: ImageFont.FreeTypeFont
) -> None:
    """`at` is where the cell begins at the left, and its picture ends at the bottom."""
    left = at[0] + (CELL - cell.image.width) // 2
    top = at[1] - cell.image.height
    sheet.paste(cell.image, (left, top))
    pen.rectangle((left - 1, top - 1, left + cell.image.width, top + cell.image.height), outline=_FRAME)
    for number, line in enumerate(cell.lines):
        place = (at[0], at[1] + 4 + number * _LINE)
        pen.text(place, cut(line, CELL, font), fill=_FAINT if number else _INK, font=font)


def _cell(hit: Hit, rank: int) -> Picture:
    name = hit.document_id.rpartition("/")[2]
    return Picture(_thumbnail(hit), (f"{rank}   {hit.score:.3f}   {part_of(hit)}".rstrip(), name))


def _thumbnail(hit: Hit) -> Image.Image:
    """Its picture; for a text, a card with its words."""
    if hit.picture is None:
        return _card(hit.text)
    with Image.open(io.BytesIO(hit.picture)) as image:
        return _fitted(image.convert("RGB"))


def _fitted(image: Image.Image) -> Image.Image:
    return ImageOps.contain(image, (CELL, CELL), Image.Resampling.LANCZOS)


def _card(text: str) -> Image.Image:
    card = Image.new("RGB", (CELL, CELL * 3 // 4), "#f6f4ee")
    pen, font = ImageDraw.Draw(card), ImageFont.load_default(_FONT)
    lines = wrapped(text, CELL - 2 * _MARGIN, font, most=(card.height - 2 * _MARGIN) // _LINE)
    for number, line in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + number * _LINE), line, fill=_INK, font=font)
    return card
