"""The tiny world: what is asked about a picture is true of it, and every question has one answer."""

import random

import pytest

from models.world.chart import BarChart
from models.world.held_out import captioned, charts, pages, scenes, signs
from models.world.lettering import Text
from models.world.page import Page
from models.world.scene import Scene
from models.world.scene_tasks import place_of, plain_questions
from models.world.sign import Sign
from models.world.tasks import World, caption, sample_example, sample_world


def texts(world: World) -> list[Text]:
    match world:
        case Sign(line=line):
            return [line]
        case BarChart(title=title, bars=bars):
            return [title, *(bar.label for bar in bars)]
        case Page(heading=heading, words=words):
            return [heading, *words]
        case Scene():
            return []


def test_a_seed_draws_the_same_picture_again() -> None:
    for seed in range(40):
        assert sample_world(seed).draw(64, 64).tobytes() == sample_world(seed).draw(64, 64).tobytes()


def test_every_word_lies_within_its_picture() -> None:
    drawn = [text for seed in range(2_000) for text in texts(sample_world(seed))]
    assert len(drawn) > 2_000
    assert all(0 < text.left < text.right < 1 for text in drawn)
    assert all(text.middle - text.size / 2 > 0 and text.middle + text.size / 2 < 1 for text in drawn)


def test_letters_stand_in_order_within_their_word() -> None:
    for seed in range(400):
        for text in texts(sample_world(seed)):
            middles = [x for _, x in text.letters()]
            assert middles == sorted(middles)
            assert text.left < middles[0] < middles[-1] < text.right


def test_words_on_one_page_do_not_touch() -> None:
    for page in pages(300)[0]:
        for first, second in zip(page.words[::2], page.words[1::2], strict=True):
            assert first.right < second.left


def test_a_query_is_answered_by_its_page_alone() -> None:
    drawn, asked = pages(500)
    assert len(drawn) == 500
    assert len(asked) > 450
    for query, index in asked:
        assert [i for i, page in enumerate(drawn) if page.answers(query)] == [index]


def test_held_out_captions_are_all_different_and_true() -> None:
    pairs = captioned(200)
    assert len({text for _, text in pairs}) == 200
    assert all(caption(world) == text for world, text in pairs)
    assert {type(world) for world, _ in pairs} == {Scene, Sign, BarChart}


def test_plain_questions_have_true_answers() -> None:
    kinds = set()
    for scene in scenes(200):
        for example in plain_questions(scene):
            kinds.add(example.kind)
            shape = example.prompt.removesuffix("?").split()[-1]
            alike = [thing for thing in scene.things if thing.shape == shape]
            if example.kind == "color":
                assert [thing.color for thing in alike] == [example.answer]
            if example.kind == "position":
                assert [place_of(thing) for thing in alike] == [example.answer]
    assert kinds == {"color", "count", "position"}


def test_half_the_held_out_signs_are_words() -> None:
    drawn = signs(400)
    assert 0.4 < sum(sign.is_word for sign in drawn) / 400 < 0.6
    assert all(2 <= len(sign.text) <= 6 for sign in drawn)


def test_bars_stand_as_high_as_their_values() -> None:
    for chart in charts(100):
        heights = {bar.value: bar.box[3] - bar.box[1] for bar in chart.bars}
        assert all(height == pytest.approx(value / 16) for value, height in heights.items())


def test_a_split_is_not_asked_for_more_than_it_holds() -> None:
    with pytest.raises(ValueError, match="10000"):
        scenes(10_001)


def test_every_kind_of_example_comes_with_an_answer() -> None:
    rng = random.Random(0)
    kinds = {}
    for seed in range(3_000):
        example = sample_example(sample_world(seed), rng)
        kinds.setdefault(example.kind, example)
        assert example.answer
        assert example.prompt == " ".join(example.prompt.split())
    assert {"color", "shape", "count", "position", "exists", "caption", "detect", "ocr"} <= set(kinds)
    assert {"chart value", "chart title", "chart labels", "chart values", "page heading"} <= set(kinds)
