"""A service that obeys the stack's rules and does nothing: `python -m dummy_service`, told what to do by variables.

DUMMY_NAME: its name in the stack. DUMMY_JOURNAL: a file that takes a line for each thing it does. DUMMY_CRASH: print
this and end with exit code 3; DUMMY_CRASH_OF: only the service of this name. DUMMY_GATE: a named pipe; ready once
something is written to it. DUMMY_DEAF: ignore SIGTERM. DUMMY_CHILD: start a child process that outlives it.
DUMMY_TELL_PID: put its process number in the journal.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc.aio
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

NAME = os.environ["DUMMY_NAME"]


def note(event: str) -> None:
    with Path(os.environ["DUMMY_JOURNAL"]).open("a") as journal:
        journal.write(f"{NAME} {event}\n")


async def main() -> None:
    prefix = f"CHIASM_{NAME.upper()}"
    stopping = asyncio.Event()
    deaf = "DUMMY_DEAF" in os.environ
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, (lambda: None) if deaf else stopping.set)
    note(f"starts {os.environ.get('DUMMY_PEER', '')}".strip())
    if "DUMMY_TELL_PID" in os.environ:
        note(f"pid {os.getpid()}")
    if (words := os.environ.get("DUMMY_CRASH")) and os.environ.get("DUMMY_CRASH_OF", NAME) == NAME:
        print(words, file=sys.stderr)
        sys.exit(3)
    if "DUMMY_CHILD" in os.environ:
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])  # noqa: ASYNC220
        note(f"child {child.pid}")
    server, servicer = grpc.aio.server(), health.HealthServicer()
    add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{os.environ[f'{prefix}_PORT']}")
    await server.start()
    ready_file = Path(os.environ[f"{prefix}_READY_FILE"])
    part = ready_file.with_suffix(".part")
    part.write_text(f"127.0.0.1:{port}")
    part.replace(ready_file)
    if gate := os.environ.get("DUMMY_GATE"):
        await asyncio.to_thread(Path(gate).read_bytes)
    for service in ("Embedding", "Generation"):
        await servicer.set(f"chiasm.v1.{service}Service", HealthCheckResponse.SERVING)
    print('{"level": "INFO", "message": "all is well"}', flush=True)
    await stopping.wait()
    await server.stop(0)
    note("ends")


if __name__ == "__main__":
    asyncio.run(main())
