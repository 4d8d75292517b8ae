from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.gemini_proxy.accounts.spool import Spool


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path / "spool.jsonl", max_bytes=2**20)
    yield spool
    await spool.close()
