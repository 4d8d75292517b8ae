"""Draws a folder of the tiny world to try search on: `python -m scripts.library FOLDER`."""

import sys
from pathlib import Path

from models.world import held_out

PICTURES, PAGES = 200, 40
SIDE = 448
"""Pixels of a picture's and a page's side."""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m scripts.library FOLDER")
    draw(Path(sys.argv[1]))


def draw(folder: Path, pictures: int = PICTURES, pages: int = PAGES) -> None:
    """Pictures in `pictures`, each with its caption beside it, and `pages.pdf`, of a page or more. Raises OSError."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for number, (world, caption) in enumerate(held_out.captioned(pictures)):
        path = folder / "pictures" / f"{number:03}.png"
        world.draw(SIDE, SIDE).save(path)
        path.with_suffix(".txt").write_text(f"{caption}\n", encoding="utf-8")
    first, *others = [page.draw(SIDE, SIDE) for page in held_out.pages(pages)[0]]
    first.save(folder / "pages.pdf", save_all=True, append_images=others)


if __name__ == "__main__":
    main()
