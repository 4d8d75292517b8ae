"""`make demo`: start the stack, ask about a sample picture, search some, stop the stack, leave nothing behind."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from scripts import library

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "shapes.png"
QUESTIONS = {"how many circles are there?": "2", "what color is the star?": "orange"}
SEARCH, FOUND = "a red circle and an orange square", "pictures/010.png"
PICTURES, PAGES = 40, 4
START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 160


def main() -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chiasm-demo-") as folder:
        ready_file = Path(folder, "address")
        stack = subprocess.Popen(
            [
                *chiasm("up"),
                "--port",
                "0",
                "--ready-file",
                str(ready_file),
                "--log-dir",
                str(ROOT / ".chiasm" / "logs"),
            ],
            env=os.environ | {"CHIASM_EMBEDDER_INDEX_URI": str(Path(folder, "index"))},
        )
        try:
            address = wait_for(ready_file, stack)
            print(f"\nthe stack is up after {time.monotonic() - started:.1f} s\n", flush=True)
            wrong = [question for question, answer in QUESTIONS.items() if ask(address, question) != answer]
            wrong += search(address, Path(folder, "library"))
        finally:
            left = stop(stack)
    if wrong:
        sys.exit(f"demo: wrong answer to {' and '.join(wrong)}")
    if left or stack.returncode:
        sys.exit(f"demo: the stack ended with {stack.returncode} and left {left or 'nothing'} behind")
    print(f"\nall answers right, the stack stopped, no process left; {time.monotonic() - started:.1f} s in all")


def chiasm(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "chiasm.command.main", *arguments]


def wait_for(ready_file: Path, stack: subprocess.Popen) -> str:
    """The gateway's address, once the stack is ready. Exits where it does not come up."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready_file.exists():
        if stack.poll() is not None:
            sys.exit("demo: the stack did not start; see .chiasm/logs")
        if time.monotonic() > deadline:
            sys.exit(f"demo: the stack was not ready after {START_TIMEOUT_S} s; see .chiasm/logs")
        time.sleep(0.05)
    return ready_file.read_text().strip()


def ask(address: str, question: str) -> str:
    """The streamed answer."""
    return shown("ask", str(PICTURE.relative_to(ROOT)), question, "--address", address).strip()


def search(address: str, folder: Path) -> list[str]:
    """Indexes pictures that it draws, and searches them; the query, where its answer is wrong."""
    library.draw(folder, PICTURES, PAGES)
    shown("index", str(folder), "--collection", "demo", "--model", "tiny-siglip", "--address", address)
    found = shown("search", SEARCH, "--limit", "3", "--address", address)
    return [] if found.splitlines()[1].split()[2] == FOUND else [SEARCH]


def shown(*arguments: str) -> str:
    """What a command prints, shown as it comes; what it says aside goes to the terminal too. Exits where it fails."""
    print(f"$ chiasm {shlex.join(arguments)}", flush=True)
    command = subprocess.Popen(chiasm(*arguments), cwd=ROOT, stdout=subprocess.PIPE)
    said = b""
    while piece := os.read(command.stdout.fileno(), 4096):
        said += piece
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()
    if command.wait():
        sys.exit(f"demo: chiasm {arguments[0]} ended with {command.returncode}")
    return said.decode()


def stop(stack: subprocess.Popen) -> list[str]:
    """Drain the stack as Ctrl-C does; the names of processes that outlive it."""
    family = psutil.Process(stack.pid).children(recursive=True) if stack.poll() is None else []
    stack.send_signal(signal.SIGTERM)
    try:
        stack.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        stack.kill()
        stack.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    return [process.name() for process in alive]


if __name__ == "__main__":
    main()
