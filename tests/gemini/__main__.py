"""`python -m tests.gemini --config FILE.json --ready-file F [--bill-file F]`: the emulator as a process.

Runs until SIGTERM or SIGINT. The ready file appears when it listens and holds its address; the bill file gets a JSON
line for each call billed, at once, so that it outlives a kill.
"""

import argparse
import asyncio
import signal
from contextlib import ExitStack
from pathlib import Path

import uvloop

from tests.gemini.config import Config
from tests.gemini.server import emulator


async def run(config: Config, ready_file: Path, bill_file: Path | None) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with ExitStack() as files:
        bill = files.enter_context(bill_file.open("a", buffering=1)) if bill_file else None
        async with emulator(config, bill_file=bill) as running:
            written = ready_file.with_name(f"{ready_file.name}.part")
            written.write_text(running.base_url)
            written.rename(ready_file)
            await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.gemini")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--bill-file", type=Path)
    arguments = parser.parse_args()
    uvloop.run(run(Config.of_json(arguments.config), arguments.ready_file, arguments.bill_file))


if __name__ == "__main__":
    main()
