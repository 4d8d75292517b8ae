"""The folder or the bucket that holds the tables."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import lancedb

from services.embedder.index.settings import IndexSettings

_METADATA_CACHE_BYTES = 256 * 2**20
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
