"""The folder or the bucket that holds the tables."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import lancedb
import pyarrow as pa

from services.embedder.index.failures import STORAGE_ERRORS
from services.embedder.index.schema import new_table_name
from services.embedder.index.settings import IndexSettings

_METADATA_CACHE_BYTES = 256 * 2**20
_PAGE = 1_000
_S3_TIMEOUT = "20s"
"""Of one request; it is tried again."""


async def connect(settings: IndexSettings) -> lancedb.AsyncConnection:
    """Raises what LanceDB raises, OSError for a folder."""
    uri = settings.index_uri
    if not uri.startswith("s3://"):
        await asyncio.to_thread(Path(uri).mkdir, parents=True, exist_ok=True)
    return await lancedb.connect_async(
        uri,
        read_consistency_interval=timedelta(seconds=settings.max_staleness_s),
        storage_options=_s3_options(settings) if uri.startswith("s3://") else None,
        session=lancedb.Session(settings.index_cache_bytes, _METADATA_CACHE_BYTES),
    )


async def shared_table(connection: lancedb.AsyncConnection, name: str, schema: pa.Schema) -> lancedb.AsyncTable:
    """The one that all replicas have, which is made where it is missing. Raises what LanceDB raises.

    Of two that create a table at once LanceDB may let both succeed, and the later puts an empty one in the other's
    place. To clone one under a name is a single commit, which fails where the name is taken.
    """
    with suppress(ValueError):  # it is not there
        return await connection.open_table(name)
    own = await connection.create_table(new_table_name("new", name), schema=schema)
    with suppress(*STORAGE_ERRORS):  # another was first
        await connection.clone_table(name, await own.uri())
    await connection.drop_table(own.name)
    return await connection.open_table(name)


async def table_names(connection: lancedb.AsyncConnection) -> Sequence[str]:
    """Of all that there are, also of such as are half made or half dropped. Raises what LanceDB raises."""
    names: list[str] = []
    token = None
    while token != "":
        page = await connection.list_tables(page_token=token, limit=_PAGE)
        names += page.tables
        token = page.page_token or ""
    return names


def _s3_options(settings: IndexSettings) -> dict[str, str]:
    """What is not given is left to the `AWS_*` variables, as S3's own tools have them."""
    endpoint = settings.index_s3_endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
    key, secret = settings.index_s3_access_key_id, settings.index_s3_secret_access_key
    options = {
        "timeout": _S3_TIMEOUT,
        "allow_http": str(endpoint.startswith("http://")).lower(),
        "endpoint": endpoint,
        "region": settings.index_s3_region or "",
        "access_key_id": key.get_secret_value() if key else "",
        "secret_access_key": secret.get_secret_value() if secret else "",
    }
    return {name: value for name, value in options.items() if value}
