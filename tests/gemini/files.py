"""The Files API: resumable upload, PROCESSING for a while, use by URI, 48 hours of life
(https://ai.google.dev/api/files)."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.gemini.config import Config
from tests.gemini.faults import Faults
from tests.gemini.quotas import Clock
from tests.gemini.tokens import Blob
from tests.gemini.wire import ApiError, get, json_answer, page_of, read_json, timestamp

LIFE_S = 48 * 3600
MAX_BYTES = 2 * 2**30


@dataclass
class _File:
    name: str
    project: str
    display_name: str
    mime_type: str
    data: bytes
    uri: str
    created_s: float
    polls_left: int
    fails: bool

    @property
    def state(self) -> str:
        if self.polls_left > 0:
            return "PROCESSING"
        return "FAILED" if self.fails else "ACTIVE"

    def as_json(self) -> dict[str, Any]:
        created, digest = round(self.created_s * 1_000_000), hashlib.sha256(self.data).hexdigest()
        body = {
            "name": self.name,
            "displayName": self.display_name,
            "mimeType": self.mime_type,
            "sizeBytes": str(len(self.data)),
            "createTime": timestamp(created),
            "updateTime": timestamp(created),
            "expirationTime": timestamp(created + LIFE_S * 1_000_000),
            "sha256Hash": base64.b64encode(digest.encode()).decode(),
            "uri": self.uri,
            "state": self.state,
            "source": "UPLOADED",
        }
        return body | ({"error": {"code": 13, "message": "processing failed"}} if self.state == "FAILED" else {})


@dataclass
class _Upload:
    file: _File
    size: int
    received: bytearray


class Files:
    """Routes answer what `google.genai.files` asks; `read` serves the other endpoints."""

    def __init__(self, config: Config, faults: Faults, clock: Clock) -> None:
        self._polls = config.file_polls
        self._faults = faults
        self._clock = clock
        self._files: dict[str, _File] = {}
        self._uploads: dict[str, _Upload] = {}
        self._remote = {uri: Path(path).read_bytes() for uri, path in config.remote.items()}

    async def read(self, project: str, uri: str) -> Blob:
        """What `uri` names; raises ApiError unless it is an ACTIVE file of the project, or a remote one."""
        if uri in self._remote:
            return "application/octet-stream", self._remote[uri]
        if "/files/" not in uri:
            raise ApiError(400, "Cannot fetch content from the provided URL. Please ensure the URL is valid.")
        file = self._find(project, uri.rpartition("/")[2])
        if file.state != "ACTIVE":
            raise ApiError(400, f"The File {file.name} is not in an ACTIVE state and usage is not allowed.")
        return file.mime_type, file.data

    async def start(self, request: web.Request, project: str) -> web.Response:
        """`X-Goog-Upload-Command: start` (https://ai.google.dev/gemini-api/docs/files)."""
        headers = request.headers
        if (headers.get("X-Goog-Upload-Protocol"), headers.get("X-Goog-Upload-Command")) != ("resumable", "start"):
            raise ApiError(400, "Only resumable uploads are taken.")
        fault = self._faults.raise_drawn("upload")
        wish = get(await read_json(request), "file", {})
        size = int(headers["X-Goog-Upload-Header-Content-Length"])
        if size > MAX_BYTES:
            raise ApiError(400, f"File is larger than the limit of {MAX_BYTES} bytes.")
        name = get(wish, "name") or f"files/{secrets.token_hex(6)}"
        if name in self._files:
            raise ApiError(409, f"File {name} already exists.")
        file = _File(
            name=name,
            project=project,
            display_name=get(wish, "displayName", ""),
            mime_type=headers.get("X-Goog-Upload-Header-Content-Type") or get(wish, "mimeType", ""),
            data=b"",
            uri=f"{request.scheme}://{request.host}/v1/{name}",
            created_s=0,
            polls_left=self._polls,
            fails=bool(fault and fault.kind == "file_failed"),
        )
        upload_id = secrets.token_urlsafe(24)
        self._uploads[upload_id] = _Upload(file, size, bytearray())
        url = f"{request.scheme}://{request.host}{request.path}?upload_id={upload_id}&upload_protocol=resumable"
        return web.Response(headers={"X-Goog-Upload-URL": url, "X-Goog-Upload-Status": "active"})

    async def receive(self, request: web.Request) -> web.Response:
        """`upload` and `upload, finalize`; the upload's id is its authority."""
        upload = self._uploads.get(request.query["upload_id"])
        if upload is None:
            raise ApiError(404, "Upload not found.")
        commands = request.headers.get("X-Goog-Upload-Command", "").replace(" ", "").split(",")
        if int(request.headers["X-Goog-Upload-Offset"]) != len(upload.received):
            raise ApiError(400, f"Upload continues at offset {len(upload.received)}.")
        if "upload" in commands:
            upload.received += await request.read()
        if "finalize" not in commands:
            return web.Response(headers={"X-Goog-Upload-Status": "active"})
        if len(upload.received) != upload.size:
            raise ApiError(400, f"{len(upload.received)} bytes came of the {upload.size} that were announced.")
        del self._uploads[request.query["upload_id"]]
        upload.file.data = bytes(upload.received)
        upload.file.created_s = self._clock()
        self._files[upload.file.name] = upload.file
        answer = json_answer({"file": upload.file.as_json()})
        answer.headers["X-Goog-Upload-Status"] = "final"
        return answer

    async def get(self, request: web.Request, project: str) -> web.Response:
        file = self._find(project, request.match_info["name"])
        answer = file.as_json()
        file.polls_left -= 1
        return json_answer(answer)

    async def list(self, request: web.Request, project: str) -> web.Response:
        mine = [file.as_json() for file in self._files.values() if file.project == project and self._alive(file)]
        return json_answer(page_of(mine, "files", request))

    async def delete(self, request: web.Request, project: str) -> web.Response:
        del self._files[self._find(project, request.match_info["name"]).name]
        return json_answer({})

    def _find(self, project: str, name: str) -> _File:
        file = self._files.get(f"files/{name}")
        if file is None or file.project != project or not self._alive(file):
            raise ApiError(403, f"You do not have permission to access the File {name} or it may not exist.")
        return file

    def _alive(self, file: _File) -> bool:
        return self._clock() < file.created_s + LIFE_S
