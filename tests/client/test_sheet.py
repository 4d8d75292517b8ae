"""Sheets, heat maps and bars: where things are, and that nothing found breaks the drawing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from chiasm.classification import LabelScore
from chiasm.command.bars import HEIGHT, LABEL, draw_bars
from chiasm.command.heat import heat_panels
from chiasm.command.lettering import cut, wrapped
from chiasm.command.sheet import CELL, draw_explained, draw_sheet
from chiasm.search import Hit, WordMatch
from tests.pictures import encoded

JPEG = encoded(Image.new("RGB", (300, 200), "white"), "JPEG")


def found(name: str = "a.png", picture: bytes | None = JPEG, text: str = "", **options: object) -> Hit:
    fields = {"page": None, "start_s": None, "end_s": None, "metadata": {}, "width": 300, "height": 200}
    return Hit(document_id=name, score=0.5, text=text, picture=picture, **(fields | options))


def test_heat_is_where_the_patch_is() -> None:
    heat = ((0.0, 0.0), (0.0, 1.0))
    hit = found(words=(WordMatch("red", 1.0, heat), WordMatch("circle", 0.25, ((0.0, 0.0), (0.0, 0.0)))))
    together, red, circle = heat_panels(hit)
    assert [panel.word for panel in (together, red, circle)] == ["all words", "red", "circle"]
    assert (together.score, red.score) == (1.25, 1.0)
    width, height = red.image.size
    hot, cold = (red.image.getpixel((width * x // 8, height * y // 8)) for x, y in ((7, 7), (1, 1)))
    assert hot[0] > cold[0] + 40
    assert width / height == pytest.approx(1.5, rel=0.01)


def test_a_hit_without_words_has_no_panels() -> None:
    assert list(heat_panels(found())) == []
    assert draw_explained([found()], "x").width < 2 * CELL


def test_rows_follow_each_other() -> None:
    one, seven = draw_sheet([found()], "x"), draw_sheet([found()] * 7, "x")
    assert seven.width > 5 * CELL > one.width
    assert seven.height > one.height + CELL / 2


@given(st.text(), st.text(), st.text(max_size=2_000))
def test_any_names_and_texts_can_be_drawn(name: str, title: str, text: str) -> None:
    draw_sheet([found(name, picture=None, text=text, page=3)], title)


def test_a_long_title_goes_on_in_lines_within_the_sheet() -> None:
    short, long = draw_sheet([found()], "a star"), draw_sheet([found()], "what colour is the star? " * 20)
    assert long.height > short.height
    margin = long.crop((long.width - 14, 0, long.width, long.height))
    assert [colour for _, colour in margin.getcolors()] == [(255, 255, 255)]


def test_nothing_found_is_a_sheet_too() -> None:
    assert draw_sheet([], "nothing").height > 0


def test_bars_are_as_long_as_the_probabilities() -> None:
    drawn = draw_bars(JPEG, [LabelScore("a cat", 1.0, 0.5), LabelScore("a dog", 0.25, 0.1), LabelScore("", 0.0, 0.0)])
    blue = (0, 114, 178)
    rows = [sum(drawn.getpixel((x, y)) == blue for x in range(drawn.width)) for y in range(drawn.height)]
    lengths = sorted(set(rows) - {0}, reverse=True)
    assert lengths == [321, 81, 3]


def test_a_label_of_any_length_fits_beside_the_picture() -> None:
    drawn = draw_bars(JPEG, [LabelScore("a\nb", 0.5, 0.1), LabelScore("\u732b" * 3_000, 0.5, 0.1)])
    assert drawn.width < 2 * HEIGHT + 2 * LABEL + 200


class Measuring:
    """A font that counts the characters that it measures."""

    def __init__(self) -> None:
        self.font = ImageFont.load_default(15)
        self.measured = 0

    def getlength(self, text: str) -> float:
        self.measured += len(text)
        return self.font.getlength(text)


def test_a_long_text_is_cut_without_measuring_it_again_and_again() -> None:
    font, text = Measuring(), "what colour? " * 1_000
    shown = cut(text, 300, font)
    assert font.measured < 10_000
    assert shown.endswith("...")
    assert text.startswith(shown[:-3])
    longer = text[: len(shown) - 2] + "..."
    assert font.getlength(shown) <= 300 < font.getlength(longer)


def test_words_fill_lines_and_what_is_left_is_cut() -> None:
    font = ImageFont.load_default(15)
    wide = round(font.getlength("blue square")) + 1
    assert wrapped("red circle\nblue  square", wide, font, most=2) == ["red circle", "blue square"]
    first, second = wrapped("red circle and a blue square", wide, font, most=2)
    assert first == "red circle"
    assert second.startswith("and a")
    assert second.endswith("...")
    assert wrapped("w" * 99, wide, font, most=2)[0].endswith("...")
    assert wrapped("", wide, font, most=2) == []
