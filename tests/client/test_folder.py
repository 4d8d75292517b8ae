"""What of a folder is taken, and what is said of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chiasm import FieldType, InvalidArgument
from chiasm.command.folder import Folder, field_types, look_into, read_metadata
from tests.client.conftest import invoke
from tests.client.scripted_embedder import serving_embedder


def looked_into(folder: Path) -> Folder:
    return look_into(folder, captions=True, metadata={})


def test_links_that_lead_nowhere_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    for name, target in (("inside", "a"), ("loop", "loop"), ("gone", "absent")):
        (tmp_path / f"{name}.png").symlink_to(tmp_path / f"{target}.png")
    found = looked_into(tmp_path)
    assert [file.id for file in found.files] == ["a.png", "inside.png"]
    assert (found.skipped, found.unread) == (2, {})


async def test_a_name_that_is_not_utf8_is_a_failure_that_can_be_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("x")
    (tmp_path / "a.txt").write_text("x")
    async with serving_embedder() as embedder:
        arguments = ("index", str(tmp_path), "--collection", "one", "--address", embedder.address)
        shown, told = await invoke(*arguments), await invoke(*arguments, "--json")
    assert (shown.code, told.code) == (1, 1)
    assert "\\xff.txt  its name is not UTF-8" in shown.out
    assert '"id": "\\\\xff.txt"' in told.out


def test_a_folder_that_cannot_be_read_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.txt").write_text("x")
    closed, scan = {str(tmp_path / "closed")}, os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:  # as for a user who may not; the test's may be root
        if path in closed:
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = looked_into(tmp_path)
    assert ([file.id for file in found.files], list(found.unread)) == (["a.txt"], ["closed"])
    closed.add(str(tmp_path))
    with pytest.raises(InvalidArgument, match="Permission denied") as caught:
        looked_into(tmp_path)
    assert caught.value.field == "folder"


def test_a_line_of_metadata_ends_where_json_lines_do(tmp_path: Path) -> None:
    file = tmp_path / "metadata.jsonl"
    file.write_bytes('{"id": "a", "title": "one\u2028two\x85three"}\r\n{"id": "b", "title": "x"}\n'.encode())
    said = read_metadata(file)
    assert said == {"a": {"title": "one\u2028two\x85three"}, "b": {"title": "x"}}
    assert field_types(said) == {"title": FieldType.STRING}
