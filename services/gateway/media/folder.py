"""What an object store does not do for a store in a folder: it looks after the disk."""

import re
import shutil
import time
from pathlib import Path

from chiasm.v1 import errors_pb2
from services.runtime.errors import Unavailable

RESERVE_BYTES = 2**30
"""Left free on the disk, for all else that needs it."""
RETRY_AFTER_S = 60.0
STAGED_S = 3_600.0
"""An upload that has not grown for so long is no longer being written: its process has died."""

# What obstore writes to until the file is whole. It neither lists nor removes it.
_STAGED = re.compile(r"[0-9a-f]{64}#[0-9]+")


def check_space(folder: Path, size_bytes: int) -> None:
    """Raises Unavailable where the disk has no room for so many more bytes."""
    if shutil.disk_usage(folder).free < RESERVE_BYTES + size_bytes:
        raise Unavailable(
            "there is no room for uploads now",
            reason=errors_pb2.ERROR_REASON_MEDIA_STORE_UNAVAILABLE,
            retry_after_s=RETRY_AFTER_S,
        )


def sweep_staged(folder: Path, ttl_s: float) -> int:
    """Removes what broken-off uploads older than `ttl_s` have left, and says how many. Raises OSError."""
    latest = time.time() - max(ttl_s, STAGED_S)
    removed = 0
    for path in folder.glob("tenant-*/*#*"):
        try:
            if _STAGED.fullmatch(path.name) and path.stat().st_mtime <= latest:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # it has become whole, or another gateway was first
    return removed
