"""Checkpoints that cannot be served, and settings that cannot be."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, PreTrainedConfig

from services.embedder.config import EmbedderSettings
from services.embedder.models import loading
from services.embedder.models.loading import load
from services.runtime.config import BadSetting
from services.runtime.errors import InvalidArgument


def changed(source: Path, folder: Path, change) -> Path:
    """A copy of a checkpoint with its weights changed in place by `change`."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_checkpoint_without_all_its_weights_is_refused(siglip: Path, tmp_path: Path) -> None:
    folder = changed(siglip, tmp_path / "lacking", lambda weights: weights.pop("logit_scale"))
    with pytest.raises(ValueError, match="lacks 1 of its weights, such as logit_scale"):
        load(str(folder), EmbedderSettings())


def test_a_model_of_another_family_is_refused(siglip: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(siglip, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "clip"}))
    with pytest.raises(BadSetting, match="is a clip; siglip and colpali are served") as caught:
        load(str(folder), EmbedderSettings())
    assert caught.value.field == "models"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises((OSError, ValueError), match="absent"):
        load(str(tmp_path / "absent"), EmbedderSettings())


def test_a_hub_name_that_moves_on_amid_a_load_is_loaded_of_one_commit(
    siglip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, commit = tmp_path / "models--tiny--siglip", "1" * 40
    shutil.copytree(siglip, repository / "snapshots" / commit)
    main = repository / "refs" / "main"
    main.parent.mkdir()
    main.write_text(commit)

    def read_and_move_on(source: str, **options: str) -> PreTrainedConfig:
        config = AutoConfig.from_pretrained(source, **options)
        main.write_text("2" * 40)
        return config

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(loading, "AutoConfig", SimpleNamespace(from_pretrained=read_and_move_on))
    assert loading.load("tiny/siglip", EmbedderSettings()).facts.revision == commit


def test_the_revision_is_that_of_the_weights(siglip: Path, tmp_path: Path) -> None:
    same = load(str(shutil.copytree(siglip, tmp_path / "same")), EmbedderSettings())
    other = load(
        str(changed(siglip, tmp_path / "other", lambda weights: weights["logit_bias"].add_(1))), EmbedderSettings()
    )
    revision = load(str(siglip), EmbedderSettings()).facts.revision
    assert same.facts.revision == revision != other.facts.revision


def test_half_precision_gives_nearly_the_same_vectors_of_length_1(colpali: Path) -> None:
    import numpy as np

    rows = []
    for dtype in ("float32", "bfloat16"):
        model = load(str(colpali), EmbedderSettings(dtype=dtype))
        (vectors,) = model.embed([model.encode("how many stars?", document=False, field="")])
        rows.append(np.frombuffer(vectors.data, "<f4").reshape(vectors.shape))
    exact, half = rows
    np.testing.assert_allclose(np.linalg.norm(half, axis=-1), 1, atol=1e-5)
    assert (exact * half).sum(-1).min() > 0.99
    assert not np.array_equal(exact, half)


def test_a_blank_text_is_refused_by_its_field(siglip: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(str(siglip), EmbedderSettings()).encode("\t ", document=False, field="items[2].text")
    assert caught.value.field == "items[2].text"


@pytest.mark.parametrize(
    ("given", "models"),
    [("a/b , c", ("a/b", "c")), ('["a", "b"]', ("a", "b")), ("google/siglip2", ("google/siglip2",))],
)
def test_models_are_a_list(monkeypatch: pytest.MonkeyPatch, given: str, models: tuple[str, ...]) -> None:
    monkeypatch.setenv("CHIASM_EMBEDDER_MODELS", given)
    assert EmbedderSettings.load().models == models


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("MODELS", "a/tiny,b/tiny/", "two models end in the same name"),
        ("MODELS", "a/my model", "CHIASM_EMBEDDER_MODELS: "),
        ("MAX_MESSAGE_BYTES", "65535", "CHIASM_EMBEDDER_MAX_MESSAGE_BYTES: "),
        ("MODELS", ",", "CHIASM_EMBEDDER_MODELS: "),
        ("DEVICE", "tpu", "CHIASM_EMBEDDER_DEVICE: "),
    ],
)
def test_a_bad_setting_names_its_variable(monkeypatch, capsys, variable: str, value: str, told: str) -> None:
    monkeypatch.setenv(f"CHIASM_EMBEDDER_{variable}", value)
    with pytest.raises(SystemExit):
        EmbedderSettings.load()
    assert told in capsys.readouterr().err
