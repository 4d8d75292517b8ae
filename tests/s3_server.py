"""A real S3 server, SeaweedFS, for tests: a process of its own with one bucket."""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

BUCKET = "chiasm"
START_S = 60
_WEED = Path(sys.executable).parent / "weed"
_KEY, _SECRET = "chiasm", "of-a-test"
_PORTS = (
    *("s3.port", "s3.port.grpc", "filer.port", "filer.port.grpc"),
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
)


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Serves from `folder`, which is empty; gives the variables by which clients find it and may use it."""
    ports = _free_ports()
    command = [
        _WEED,
        *("server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-filer", "-s3"),
        *(f"-{name}={port}" for name, port in ports.items()),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
        *(f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"),
        *("-volume.max=8", "-master.volumeSizeLimitMB=64", f"-s3.config={_credentials(folder)}"),
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + START_S
            # A bucket is a folder of the filer.
            _until(201, "PUT", ports["filer.port"], f"/buckets/{BUCKET}/started", deadline)
            _until(403, "GET", ports["s3.port"], "/", deadline)  # it is there, and asks for a key
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}",
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": _KEY,
                "AWS_SECRET_ACCESS_KEY": _SECRET,
            }
        finally:
            process.kill()  # its own way of stopping takes half a minute
            for port in ports.values():
                for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - where it puts them
                    left.unlink()


def _until(status: int, method: str, port: int, path: str, deadline: float) -> None:
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request(method, path, body=b"started")
            if connection.getresponse().status == status:
                return
        except (OSError, http.client.HTTPException):
            pass  # it is not there yet
        finally:
            connection.close()
        time.sleep(0.05)
    raise TimeoutError(f"the S3 server did not answer {method} {path} with {status}")


def _free_ports() -> dict[str, int]:
    with ExitStack() as open_sockets:
        ports = {}
        for name in _PORTS:
            free = open_sockets.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            ports[name] = free.getsockname()[1]
        return ports


def _credentials(folder: Path) -> Path:
    identity = {
        "name": "chiasm",
        "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}],
        "actions": ["Read", "Write", "List"],
    }
    path = folder / "s3.json"
    path.write_text(json.dumps({"identities": [identity]}))
    return path
