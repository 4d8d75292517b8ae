"""Replicas as processes of their own, over a folder and over a real S3 server; one of them is killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedder.index.sharing import Shared, share
from tests.s3_server import BUCKET, s3_server

DOCUMENTS = 16


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as variables:
        yield variables


async def test_replicas_over_a_folder_lose_nothing_acknowledged(tmp_path: Path) -> None:
    _check(await share(str(tmp_path / "index"), DOCUMENTS, DOCUMENTS, {}))


async def test_replicas_over_a_bucket_lose_nothing_acknowledged(s3: dict[str, str]) -> None:
    _check(await share(f"s3://{BUCKET}/index", DOCUMENTS, DOCUMENTS, s3))


def _check(shared: Shared) -> None:
    assert shared.acknowledged == 2 * DOCUMENTS
    assert (shared.lost, shared.torn) == (0, 0)
