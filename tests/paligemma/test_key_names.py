from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from services.paligemma.key_names import check_key_names

GOOGLE = (
    "language_model.model.embed_tokens.weight",
    "language_model.model.layers.0.self_attn.q_proj.weight",
    "language_model.model.norm.weight",
    "multi_modal_projector.linear.bias",
    "vision_tower.vision_model.embeddings.patch_embedding.weight",
    "vision_tower.vision_model.encoder.layers.0.layer_norm1.bias",
)
NEWER = tuple(
    "model." + name.replace("language_model.model.", "language_model.").replace("vision_model.", "") for name in GOOGLE
)


def folder_with(folder: Path, names: tuple[str, ...]) -> Path:
    save_file({name: torch.zeros(1) for name in names}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("names", [GOOGLE, NEWER, (*NEWER, "lm_head.weight")])
def test_the_names_of_google_and_of_transformers_pass(tmp_path: Path, names: tuple[str, ...]) -> None:
    check_key_names(folder_with(tmp_path, names))


@pytest.mark.parametrize("stranger", ["img.Transformer.encoderblock.0", "model.vision.patch.weight", "score.weight"])
def test_another_name_is_refused_with_the_fix(tmp_path: Path, stranger: str) -> None:
    with pytest.raises(ValueError, match=rf"'{stranger}' is no key .*save_pretrained"):
        check_key_names(folder_with(tmp_path, (*GOOGLE, stranger)))


def test_a_folder_without_the_tower_is_refused(tmp_path: Path) -> None:
    names = tuple(name for name in GOOGLE if not name.startswith("vision_tower"))
    with pytest.raises(ValueError, match="hold no vision tower"):
        check_key_names(folder_with(tmp_path, names))


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    file = folder_with(tmp_path, GOOGLE) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
        check_key_names(tmp_path)
