"""The broken files of the demonstrations are broken, and those with another type's name are not."""

import asyncio
from pathlib import Path

from services.embedder.documents.documents import Documents
from services.embedder.documents.limits import DocumentLimits
from services.runtime.errors import InvalidArgument
from services.runtime.media import ImageLimits
from tests.embedder.documents.files import cuts, film_of, pdf_saying
from tests.media_files import picture
from tests.shows.corpus import salt


async def _refused(files: list[Path]) -> set[Path]:
    documents = Documents(DocumentLimits(ImageLimits()), processes=1)
    refused = set()
    for path in files:
        try:
            assert [part async for part in documents.parts(path.read_bytes(), field="media", mime_type="")]
        except InvalidArgument:
            refused.add(path)
    await documents.close()
    return refused


def test_broken_files_are_refused_and_misnamed_ones_are_read(tmp_path: Path) -> None:
    whole = {
        "a.png": picture("PNG", 800, 800),
        "a.jpg": picture("JPEG", 800, 800),
        "a.mp4": film_of(cuts(20, 20)),
        "a.pdf": pdf_saying(["x"] * 9),
    }
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
    broken = salt(tmp_path, seed=1)
    assert asyncio.run(_refused(list(tmp_path.rglob("*.*")))) == set(broken)
    assert len(broken) == 16
