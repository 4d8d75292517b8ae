"""What can be asked about signs, charts and pages."""

import random

from models.world.chart import BarChart
from models.world.example import Example, a, ask, listed
from models.world.page import Page
from models.world.sign import Sign


def sample_sign_example(sign: Sign, rng: random.Random) -> Example:
    """Mostly reading, which is the hard part."""
    kind = rng.choice(("ocr", "ocr", "ocr", "ocr", "color", "caption"))
    if kind == "color":
        return Example("text color", ask(rng, "what color is the text?"), sign.color)
    if kind == "caption" and sign.is_word:
        return Example("text caption", "caption en", sign_caption(sign))
    return Example("ocr", "ocr", sign.text)


def sign_caption(sign: Sign) -> str:
    return f"the word {sign.text} in {sign.color}"


def sample_chart_example(chart: BarChart, rng: random.Random) -> Example:
    kind = rng.choice(("value", "value", "value", "value", "title", "labels", "values", "highest", "caption"))
    values = [bar.value for bar in chart.bars]
    match kind:
        case "value":
            bar = rng.choice(chart.bars)
            return Example("chart value", ask(rng, value_question(bar.label.text)), str(bar.value))
        case "title":
            return Example("chart title", ask(rng, TITLE_QUESTION), chart.title.text)
        case "labels":
            return Example("chart labels", ask(rng, LABELS_QUESTION), chart_labels(chart))
        case "highest" if values.count(max(values)) == 1:
            highest = chart.bars[values.index(max(values))]
            return Example("chart highest", ask(rng, "which bar is the highest?"), highest.label.text)
        case "caption":
            return Example("chart caption", "caption en", chart_caption(chart))
        case _:
            return Example("chart values", ask(rng, VALUES_QUESTION), chart_values(chart))


TITLE_QUESTION = "what is the title?"
LABELS_QUESTION = "what are the labels?"
VALUES_QUESTION = "what are the values?"


def value_question(label: str) -> str:
    return f"what is the value of {label}?"


def chart_labels(chart: BarChart) -> str:
    return ", ".join(bar.label.text for bar in chart.bars)


def chart_values(chart: BarChart) -> str:
    return ", ".join(f"{bar.label.text} {bar.value}" for bar in chart.bars)


def chart_caption(chart: BarChart) -> str:
    return f"a bar chart of {chart.title.text} for {listed([bar.label.text for bar in chart.bars])}"


def plain_chart_questions(chart: BarChart) -> list[Example]:
    """Title, labels and every value, plainly worded."""
    return [
        Example("chart title", f"answer en {TITLE_QUESTION}", chart.title.text),
        Example("chart labels", f"answer en {LABELS_QUESTION}", chart_labels(chart)),
        *(Example("chart value", f"answer en {value_question(bar.label.text)}", str(bar.value)) for bar in chart.bars),
    ]


def sample_page_example(page: Page, rng: random.Random) -> Example:
    if rng.random() < 0.5:
        return Example("page heading", ask(rng, TITLE_QUESTION), page.heading.text)
    return Example("page caption", "caption en", page_caption(page))


def page_caption(page: Page) -> str:
    return f"a page about {page.heading.text} with {a(f'{page.figure.color} {page.figure.shape}')}"
