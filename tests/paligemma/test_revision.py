from pathlib import Path

import pytest
from huggingface_hub import constants

from services.paligemma import vllm_backend
from services.paligemma.config import PaligemmaSettings
from services.runtime.revision import checkpoint_revision

COMMIT = "1" * 40


def test_a_hub_models_revision_is_its_commit_and_a_folders_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--google--tiny" / "snapshots" / COMMIT
    refs = tmp_path / "models--google--tiny" / "refs"
    for folder in (snapshot, refs, tmp_path / "folder"):
        folder.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    for folder in (snapshot, tmp_path / "folder"):
        (folder / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert vllm_backend.revision(PaligemmaSettings(model="google/tiny")) == COMMIT
    folder = tmp_path / "folder"
    assert vllm_backend.revision(PaligemmaSettings(model=str(folder))) == checkpoint_revision(folder)
