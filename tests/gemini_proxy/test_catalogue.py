from datetime import date

import pytest

from services.gemini_proxy.catalogue import GEMINI_2, GEMINI_3, GEMINI_4, find_model


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gemini-3.8-flash", "gemini-3.8-flash"),
        ("models/gemini-3.8-flash", "gemini-3.8-flash"),
        ("gemini-3.8-flash-001", "gemini-3.8-flash"),
        ("gemini-3.1-pro-preview-05-06", "gemini-3.1-pro-preview"),
        ("gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash"),
        ("gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("gemini-embedding-2-preview", "gemini-embedding-2"),
    ],
)
def test_a_model_is_found_by_its_name_and_those_of_its_revisions(name: str, model: str) -> None:
    found = find_model(name)
    assert (found.name, found.known) == (model, True)


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("gemini-3.9-pro", GEMINI_3),
        ("gemini-3-flash-preview", GEMINI_3),
        ("gemini-2.0-flash", GEMINI_2),
        ("gemini-4-neon", GEMINI_4),
        ("gemini-5-ultra", GEMINI_4),
        ("something-else", GEMINI_4),
    ],
)
def test_an_unknown_model_is_like_its_family_or_else_the_newest(name: str, rules: object) -> None:
    found = find_model(name)
    assert (found.name, found.known) == (name, False)
    assert found.rules is rules


def test_a_variant_that_is_no_revision_is_unknown() -> None:
    assert not find_model("gemini-2.5-flash-image").known


def test_embedding_models_write_nothing() -> None:
    model = find_model("gemini-embedding-3")
    assert (model.embeds, model.output_tokens, model.known) == (True, 0, False)


def test_every_2_5_model_is_rerouted_to_models_that_are_known() -> None:
    for name in ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"):
        model = find_model(name)
        assert model.rerouted_from == date(2026, 12, 1)
        assert model.rerouted_to
        assert all(find_model(other).known for other in model.rerouted_to)
