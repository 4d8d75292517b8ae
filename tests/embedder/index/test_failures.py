"""What LanceDB fails with, told apart."""

from pathlib import Path

import pytest

from services.embedder.index.failures import STORAGE_ERRORS, is_conflict
from services.embedder.index.settings import IndexSettings
from services.embedder.index.storage import connect

NAME = "concurrent-conflict-contention"


async def test_a_conflict_is_known_by_what_failed_and_not_by_the_tables_name(tmp_path: Path) -> None:
    connection = await connect(IndexSettings(index_uri=str(tmp_path)))
    table = await connection.create_table(NAME, [{"number": 1}])
    await connection.create_table(NAME, [{"number": 2}], mode="overwrite")
    merge = table.merge_insert("number").when_matched_update_all()
    with pytest.raises(STORAGE_ERRORS) as conflict:
        await merge.execute([{"number": 1}])
    assert is_conflict(conflict.value)
    (tmp_path / f"{NAME}.lance" / "_versions").rename(tmp_path / "gone")
    with pytest.raises(STORAGE_ERRORS) as gone:
        await table.checkout_latest()
    assert NAME in str(gone.value)
    assert not is_conflict(gone.value)
