"""`make demo`: start the stack, ask about a sample picture, stop the stack, leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "shapes.png"
QUESTIONS = {"how many circles are there?": "2", "what color is the star?": "orange"}
START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 160


def main() -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chiasm-demo-") as folder:
        ready_file = Path(folder, "address")
        stack = subprocess.Popen(
            [*chiasm("up"), "--port", "0", "--ready-file", str(ready_file), "--log-dir", str(ROOT / ".chiasm" / "logs")]
        )
        try:
            address = wait_for(ready_file, stack)
            print(f"\nthe stack is up after {time.monotonic() - started:.1f} s\n", flush=True)
            wrong = [question for question, answer in QUESTIONS.items() if ask(address, question) != answer]
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
    """The streamed answer, shown as it comes; what the command says of it goes to the terminal too."""
    print(f'$ chiasm ask {PICTURE.relative_to(ROOT)} "{question}"', flush=True)
    command = subprocess.Popen(
        chiasm("ask", str(PICTURE), question, "--address", address), stdout=subprocess.PIPE, env=os.environ
    )
    said = b""
    while piece := os.read(command.stdout.fileno(), 4096):
        said += piece
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()
    if command.wait():
        sys.exit(f"demo: chiasm ask ended with {command.returncode}")
    return said.decode().strip()


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
