from pathlib import Path

import pytest

from services.runtime.revision import checkpoint_revision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.safetensors", "config.json", "tokenizer.model", "README.md"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.model"])
def test_all_that_decides_an_answer_counts(folder: Path, name: str) -> None:
    before = checkpoint_revision(folder)
    (folder / name).write_text("other")
    changed = checkpoint_revision(folder)
    (folder / name).rename(folder / f"a-{name}")
    assert len({before, changed, checkpoint_revision(folder)}) == 3


def test_what_describes_it_does_not(folder: Path) -> None:
    before = checkpoint_revision(folder)
    (folder / "README.md").write_text("other")
    assert checkpoint_revision(folder) == before
