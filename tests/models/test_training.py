"""What the trainings are made of: targets that match the picture, losses that know near from far, resuming."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import ColPaliProcessor

from models.training import concepts, dense, run, tiny_colpali
from models.training.locations import answer_loss, smooth_embeddings
from models.training.pictures import GRID, IMAGE_TOKENS, SCENES_DRAWN_AT, drawn_at, train_seed
from models.world.chart import BarChart
from models.world.held_out import charts, pages
from models.world.scene import COLORS, SHAPES, Scene, Thing
from models.world.scene_tasks import LOC_BINS
from models.world.sign import Sign
from models.world.streams import stream
from models.world.tasks import sample_example, sample_world
from models.world.written_tasks import chart_labels


def test_a_things_patches_say_what_and_where_it_is() -> None:
    thing = Thing("star", "blue", (0.25, 0.5, 0.5, 0.75))
    marked = dense.targets(Scene((thing,), (255, 255, 255)))
    patches = [row * GRID + column for row in (4, 5) for column in (2, 3)]
    assert np.flatnonzero(marked.shape).tolist() == patches
    assert set(marked.shape[patches]) == {1 + SHAPES.index("star")}
    assert set(marked.color[patches]) == {list(COLORS).index("blue")}
    assert np.isnan(np.delete(marked.edges, patches, axis=0)).all()
    np.testing.assert_allclose(marked.edges[patches], [thing.box] * 4)


def test_a_signs_letters_are_read_off_its_patches_in_order() -> None:
    read = []
    for seed in range(3_000):
        if isinstance(sign := sample_world(seed), Sign):
            glyphs = dense.targets(sign).glyphs.flatten()
            read.append("".join(dense.GLYPHS[glyph - 1] for glyph in glyphs[glyphs > 0]) == sign.text)
    assert len(read) > 400
    assert all(read)


def test_a_charts_labels_carry_the_values_of_their_bars() -> None:
    for chart in charts(50):
        marked = dense.targets(chart)
        for bar in chart.bars:
            patches = np.flatnonzero(marked.words[:, dense.VOCABULARY.index(bar.label.text)])
            assert bar.value in marked.value[patches], chart_labels(chart)


def test_places_near_each_other_have_vectors_near_each_other() -> None:
    vectors = smooth_embeddings(192, 0.05)
    assert vectors.shape == (LOC_BINS, 192)
    alike = nn.functional.normalize(vectors, dim=1) @ nn.functional.normalize(vectors[500], dim=0)
    assert alike.argmax() == 500
    assert alike[500] > alike[504] > alike[520] > alike[560]


def test_a_location_near_the_right_one_costs_less() -> None:
    first = 10

    def cost(guess: int) -> float:
        logits = torch.full((1, first + LOC_BINS), -20.0)
        bins = torch.arange(LOC_BINS)
        logits[0, first:] = -((bins - guess) ** 2) / 72.0
        return answer_loss(logits, torch.tensor([first + 300]), first)["places"].item()

    assert cost(300) < 1e-3
    assert cost(300) < cost(303) < cost(310)


def test_a_training_that_was_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 8)

    def fit(work: Path, steps: list[int]) -> torch.Tensor:
        torch.manual_seed(1)
        model = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(8, 8)]), "head": nn.Linear(8, 1)})

        def loss_at(step: int) -> dict[str, torch.Tensor]:
            seen.append(step)
            if step == stop:
                raise KeyboardInterrupt
            hidden = model["layers"][0](inputs[step % 60 : step % 60 + 4]).tanh()
            return {"square": (model["head"](hidden).float() ** 2).mean()}

        for stop in steps:
            seen: list[int] = []
            try:
                run.train(
                    "fit", {"model": model}, run.Optimizers({"model": model}, 1e-2), 600, work, loss_at, lambda: {}
                )
            except KeyboardInterrupt:
                assert seen[-1] == stop
        return model["head"].weight.detach().clone()

    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = fit(tmp_path / "whole", [-1])
    assert torch.equal(whole, fit(tmp_path / "cut", [530, -1]))


def test_the_dense_heads_have_a_loss_for_every_target() -> None:
    worlds = [sample_world(seed) for seed in range(8)]
    heads = dense.Heads(16)
    losses = heads.losses(torch.randn(8, IMAGE_TOKENS, 16), [dense.targets(world) for world in worlds])
    assert set(losses) == {"shape", "color", "edges", "glyphs", "words", "value"}
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_training_is_shown_all_that_the_world_holds() -> None:
    """Kind, picture, size and question come of one seed, and none of them says what another is."""
    seen = set()
    for step in range(40):
        for index in range(32):
            seed = train_seed(2, step, index)
            match sample_world(seed):
                case Scene(things=things) as scene:
                    seen.add(("things", len(things)))
                    seen.add(("aspect", len(things), drawn_at(scene, stream("drawn", seed))))
                    seen.add((len(things), sample_example(scene, stream("asked", seed)).kind))
                case BarChart(bars=bars):
                    seen.add(("bars", len(bars)))
    assert {("things", number) for number in (1, 2, 3, 4)} <= seen
    assert {("bars", number) for number in (3, 4)} <= seen
    assert {(number, kind) for number in (1, 2, 3, 4) for kind in ("count", "caption", "detect")} <= seen
    assert {("aspect", number, size) for number in (1, 2, 3, 4) for size in SCENES_DRAWN_AT} <= seen


def test_a_heading_does_not_tell_which_word_is_asked_for() -> None:
    drawn, queries = pages(500)
    asked: dict[str, set[int]] = {}
    for query, index in queries:
        words = [word.text for word in drawn[index].words]
        asked.setdefault(query.heading, set()).add(words.index(query.word))
    assert len(asked) > 40
    assert sum(len(places) > 2 for places in asked.values()) > 0.9 * len(asked)


def test_a_pages_patches_name_the_words_and_the_figure_that_they_show() -> None:
    for page in pages(20)[0]:
        shown = concepts.of_page(page)
        assert shown.shape == (IMAGE_TOKENS, len(concepts.CONCEPTS))
        torch.testing.assert_close(shown.sum(1), torch.ones(IMAGE_TOKENS))
        named = {concepts.CONCEPTS[index] for index in torch.nonzero(shown.amax(0))[:, 0].tolist()}
        words = {text.text for text in (page.heading, *page.words)}
        assert named == {"nothing", *words, page.figure.color, page.figure.shape}


def test_a_querys_tokens_name_what_it_asks_for_and_nothing_else() -> None:
    processor = ColPaliProcessor.from_pretrained("models/tiny-colpali")
    _, asked = pages(20)
    queries = [query for query, _ in asked]
    batch = tiny_colpali.query_ids(processor, [query.text for query in queries])
    for query, ids in zip(queries, batch["input_ids"].tolist(), strict=True):
        named = concepts.of_query(query, ids, processor.tokenizer).argmax(1)
        said = {
            concepts.CONCEPTS[concept]: processor.decode([ids[at] for at in torch.nonzero(named == concept)[:, 0]])
            for concept in named.unique().tolist()
            if concept
        }
        assert {name: text.strip() for name, text in said.items()} == {
            name: name for name in (query.heading, query.word, query.color, query.shape)
        }
