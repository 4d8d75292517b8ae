"""Which checkpoint a folder holds."""

import hashlib
from pathlib import Path

_SUFFIXES = (".safetensors", ".bin", ".json", ".model", ".txt")


def checkpoint_revision(folder: Path) -> str:
    """`sha256-` and 16 digits of the hash of all that decides an answer: weights, configuration and tokenizer.

    Reads every such file: call it off the event loop.
    """
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES):
        with file.open("rb") as stream:
            digest.update(f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return f"sha256-{digest.hexdigest()[:16]}"
