"""What a suite asks, as a digest: results of two runs mix only where it is the same."""

import hashlib
from collections.abc import Sequence

from evals.suite import Picture, Suite

PICTURES = 32


def digest(suite: Suite) -> str:
    """SHA-256 over all that is asked and all that is right, and over a sample of the pictures. Blocks.

    It covers every item's texts, boxes and options, the ids of the documents searched, the cap on tokens, and the bytes
    of `PICTURES` pictures of the items and as many of the documents, spread evenly: all of them would take as long as a
    run. So new drawings or another edition of a data set change it, and one replaced file may not.
    """
    total = hashlib.sha256(repr((suite.max_tokens, [document.id for document in suite.documents])).encode())
    for item in suite.items:
        asked = (item.id, item.kind, item.task, item.prompts, item.answers, item.boxes, item.options)
        total.update(repr(asked).encode())
    for pictures in (
        [picture for item in suite.items for picture in item.pictures],
        [document.picture for document in suite.documents],
    ):
        for picture in _spread(pictures):
            total.update(hashlib.sha256(_bytes(picture)).digest())
    return f"sha256-{total.hexdigest()}"


def _spread(pictures: Sequence[Picture]) -> Sequence[Picture]:
    return pictures[:: -(-len(pictures) // PICTURES) or 1]


def _bytes(picture: Picture) -> bytes:
    """Empty where it cannot be read: its item will say why."""
    try:
        return picture()
    except OSError:
        return b""
