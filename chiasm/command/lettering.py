"""Texts that are drawn."""

from bisect import bisect_right

from PIL import ImageFont

_ELLIPSIS = "..."


def cut(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """As much of it as fits into so many pixels, in what can be drawn on a line."""
    shown = "".join(each if each.isprintable() else " " for each in text[:width])  # none is narrower than a pixel
    if len(shown) == len(text) and font.getlength(shown) <= width:
        return shown
    fitting = bisect_right(range(len(shown) + 1), width, key=lambda end: font.getlength(shown[:end] + _ELLIPSIS))
    return shown[: max(0, fitting - 1)] + _ELLIPSIS


def wrapped(text: str, width: int, font: ImageFont.FreeTypeFont, *, most: int) -> list[str]:
    """Its words on lines of so many pixels, `most` of them; what is left by then is cut."""
    words, lines = text.split(), list[str]()
    while words and len(lines) < most - 1:
        fitting = 1
        while fitting < len(words) and font.getlength(" ".join(words[: fitting + 1])) <= width:
            fitting += 1
        lines.append(cut(" ".join(words[:fitting]), width, font))
        words = words[fitting:]
    return [*lines, cut(" ".join(words), width, font)] if words else lines
