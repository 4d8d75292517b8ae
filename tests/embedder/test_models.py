"""Checkpoints that cannot be served, and settings that cannot be."""

import json
import shutil
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from services.embedder.config import EmbedderSettings
from services.embedder.models import loading
from services.embedder.models.checkpoint import Checkpoint
from services.embedder.models.loading import load
from services.runtime.config import BadSetting
from services.runtime.errors import Internal, InvalidArgument

OLD, NEW = "1" * 40, "2" * 40


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


def test_a_checkpoint_that_gives_no_numbers_is_refused(siglip: Path, tmp_path: Path) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights["vision_model.post_layernorm.bias"].fill_(torch.nan)

    with pytest.raises(Internal, match="not finite"):
        load(str(changed(siglip, tmp_path / "spoilt", spoil)), EmbedderSettings())


def reconfigured(source: Path, folder: Path, **keys: object) -> Path:
    """A copy of a checkpoint with keys of its config.json changed."""
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | keys))
    return folder


def test_a_model_of_another_family_is_refused(siglip: Path, tmp_path: Path) -> None:
    folder = reconfigured(siglip, tmp_path / "other", model_type="bert")
    with pytest.raises(BadSetting, match="is a bert; siglip, siglip2, clip, colpali, colqwen2 and CLIP of") as caught:
        load(str(folder), EmbedderSettings())
    assert caught.value.field == "models"


def test_a_tower_that_does_not_fit_its_pictures_is_refused(siglip: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(siglip, tmp_path / "other")
    processor = json.loads((folder / "processor_config.json").read_text())
    processor["image_processor"]["size"] = {"height": 64, "width": 64}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    with pytest.raises(BadSetting, match="its tower takes sides of 32"):
        load(str(folder), EmbedderSettings())


def test_a_checkpoint_may_have_a_sentence_for_labels(siglip: Path, tmp_path: Path) -> None:
    assert load(str(siglip), EmbedderSettings()).facts.label_template == "This is a photo of {}."
    own = reconfigured(siglip, tmp_path / "own", label_template="it shows {}")
    assert load(str(own), EmbedderSettings()).facts.label_template == "it shows {}"
    bad = reconfigured(siglip, tmp_path / "bad", label_template="it shows")
    with pytest.raises(BadSetting, match="'it shows' does not hold"):
        load(str(bad), EmbedderSettings())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises((OSError, ValueError), match="absent"):
        load(str(tmp_path / "absent"), EmbedderSettings())


@pytest.fixture
def hub(siglip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, where `tiny/siglip` has two commits; returns its folder of branches, `main` and `old`."""
    repository = tmp_path / "models--tiny--siglip"
    (repository / "refs").mkdir(parents=True)
    for branch, commit in (("old", OLD), ("main", NEW)):
        reconfigured(siglip, repository / "snapshots" / commit, label_template=f"{branch} {{}}")
        (repository / "refs" / branch).write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repository / "refs"


@pytest.mark.parametrize(
    ("model", "revision", "template"),
    [
        ("tiny/siglip", NEW, "main {}"),
        ("tiny/siglip@old", OLD, "old {}"),
        (f"tiny/siglip@{OLD}", OLD, "old {}"),
    ],
)
def test_a_hub_name_is_loaded_of_the_commit_it_is_pinned_to(
    hub: Path, model: str, revision: str, template: str
) -> None:
    facts = load(model, EmbedderSettings()).facts
    assert (facts.revision, facts.label_template) == (revision, template)


def test_a_hub_name_that_moves_on_amid_a_load_is_loaded_of_one_commit(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_and_move_on(*arguments: str) -> Checkpoint:
        checkpoint = Checkpoint.find(*arguments)
        (hub / "main").write_text(OLD)
        return checkpoint

    monkeypatch.setattr(loading, "Checkpoint", SimpleNamespace(find=find_and_move_on))
    facts = load("tiny/siglip", EmbedderSettings()).facts
    assert (facts.revision, facts.label_template) == (NEW, "main {}")


def test_a_folder_has_no_revisions(siglip: Path) -> None:
    with pytest.raises(BadSetting, match="is a folder, which has no revision v1"):
        load(f"{siglip}@v1", EmbedderSettings())


def test_the_revision_is_that_of_the_weights(siglip: Path, tmp_path: Path) -> None:
    same = load(str(shutil.copytree(siglip, tmp_path / "same")), EmbedderSettings())
    other = load(
        str(changed(siglip, tmp_path / "other", lambda weights: weights["logit_bias"].add_(1))), EmbedderSettings()
    )
    revision = load(str(siglip), EmbedderSettings()).facts.revision
    assert same.facts.revision == revision != other.facts.revision


def test_half_precision_gives_nearly_the_same_vectors_of_length_1(colpali: Path) -> None:
    rows = []
    for dtype in ("float32", "bfloat16"):
        model = load(str(colpali), EmbedderSettings(dtype=dtype))
        (vectors,) = model.embed([model.encode("how many stars?", document=False, field="")])
        rows.append(np.frombuffer(vectors.data, "<f4").reshape(vectors.shape))
    exact, half = rows
    np.testing.assert_allclose(np.linalg.norm(half, axis=-1), 1, atol=1e-5)
    assert (exact * half).sum(-1).min() > 0.99
    assert not np.array_equal(exact, half)


def test_a_compiled_model_gives_the_same_vectors(siglip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch traces it for any batch size; without the C++ compiler that makes a program of it."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    plain, compiled = (load(str(siglip), EmbedderSettings(compile=mode)) for mode in ("off", "on"))
    size = plain.picture_size(32, 32, field="")
    batches = [[plain.picture(Image.effect_noise(size, 80).convert("RGB")) for _ in range(count)] for count in (1, 3)]
    batches += [[plain.encode("star " * n, document=False, field="") for n in (1, 2, 3)]]
    for batch in batches:
        for one, other in zip(plain.embed(batch), compiled.embed(batch), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_blank_text_is_refused_by_its_field(siglip: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(str(siglip), EmbedderSettings()).encode("\t ", document=False, field="items[2].text")
    assert caught.value.field == "items[2].text"


@pytest.mark.parametrize(
    ("given", "models"),
    [("a/b , c", ("a/b", "c")), ('["a", "b"]', ("a", "b")), ("google/siglip2@v1.0", ("google/siglip2@v1.0",))],
)
def test_models_are_a_list(monkeypatch: pytest.MonkeyPatch, given: str, models: tuple[str, ...]) -> None:
    monkeypatch.setenv("CHIASM_EMBEDDER_MODELS", given)
    assert EmbedderSettings.load().models == models


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("MODELS", "a/tiny,b/tiny/", "two models end in the same name"),
        ("MODELS", "a/tiny@v1,a/tiny@v2", "two models end in the same name"),
        ("MODELS", "a/tiny@", "CHIASM_EMBEDDER_MODELS: "),
        ("MODELS", "a/my model", "CHIASM_EMBEDDER_MODELS: "),
        ("COMPILE", "yes", "CHIASM_EMBEDDER_COMPILE: "),
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
