"""Media that is uploaded to the provider's Files API once, and then named by its address.

What is large, or comes again, would otherwise travel with every attempt. Files last 48 hours, a project keeps 20 GB of
them, and they cost nothing (https://ai.google.dev/gemini-api/docs/files). Vertex AI has no such API.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from io import BytesIO

from google.genai import types
from google.genai.client import AsyncClient

from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.notes import Note, Notes
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.provider import Provider, failing_as_attempts, is_absent
from services.gemini_proxy.question import File

logger = logging.getLogger(__name__)

MAX_INLINE_BYTES = 18 * 2**20
"""Of all media of a request together; beyond it the largest are uploaded. In base64 they are a third more."""
SMALLEST_BYTES = 256 * 2**10
"""A file of fewer bytes is not uploaded because it comes again: three more calls for it would take longer."""
# An hour less than the provider's 48: a file must still be there when the attempt that names it is read.
_LASTS_S = 47 * 3600
_FAILURE_KNOWN_S = 30
_UPLOAD_S = 120.0
_CALL_MS = 10_000
_MAX_UPLOADS = 8
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class Files:
    """Uploads files and knows where they lie, by their content and the member of the pool."""

    def __init__(self, settings: GeminiSettings, pool: Pool, notes: Notes) -> None:
        self._settings = settings
        self._pool = pool
        self._notes = notes
        self._uploads = asyncio.Semaphore(_MAX_UPLOADS)

    async def place(self, provider: Provider, files: Sequence[File]) -> dict[str, str]:
        """The addresses of those of `files` that are not sent inline, by their `at`.

        Raises AttemptFailed, whose message names a file by its `at`.
        """
        if not provider.keeps_files:
            return {}
        chosen = await self._chosen(files)
        addresses = await asyncio.gather(
            *(self._address(provider, file, digest) for file, digest in chosen), return_exceptions=True
        )
        for address in addresses:
            if isinstance(address, BaseException):
                raise address
        return {file.at: address for (file, _), address in zip(chosen, addresses, strict=True)}

    async def forget_vanished(self, provider: Provider, addresses: Collection[str]) -> bool:
        """Whether one of them is no longer there; it is uploaded anew the next time."""
        if not addresses:
            return False
        found = {note.get("uri"): (digest, note) for digest, note in (await self._known(provider)).items()}
        vanished = False
        for address in addresses:
            if address not in found:  # another attempt has found it out
                vanished = True
            elif await _is_gone(provider, found[address][1]["name"]):
                await self._notes.remove(_shelf(provider), found[address][0])
                vanished = True
        return vanished

    async def delete(self, sha256: str) -> None:
        """Deletes the file of this content, by its hexadecimal SHA-256, at every member. Raises AttemptFailed."""
        for name in self._pool.names:
            provider = self._pool[name]
            if (note := await self._notes.get(_shelf(provider), sha256)) and "name" in note:
                await _delete(provider, note["name"])
            await self._notes.remove(_shelf(provider), sha256)

    async def _chosen(self, files: Sequence[File]) -> list[tuple[File, str]]:
        """Those to be uploaded, with their SHA-256."""
        digests = {file.at: await _sha256(file.data) for file in files if len(file.data) > SMALLEST_BYTES}
        again = {d for d in {*digests.values()} if await self._notes.seen(d, within_s=self._settings.files_reuse_s)}
        large = self._settings.files_threshold_bytes
        chosen = [file for file in files if len(file.data) > large or digests.get(file.at) in again]
        uploaded = {file.at for file in chosen}
        inline = sorted((file for file in files if file.at not in uploaded), key=lambda file: len(file.data))
        while sum(len(file.data) for file in inline) > MAX_INLINE_BYTES:
            chosen.append(inline.pop())
        return [(file, digests.get(file.at) or await _sha256(file.data)) for file in chosen]

    async def _address(self, provider: Provider, file: File, digest: str) -> str:
        shelf = _shelf(provider)
        note = await self._notes.get(shelf, digest)
        if note is None:
            async with self._notes.alone(f"{shelf}:{digest}", at_most_s=_UPLOAD_S):
                note = await self._notes.get(shelf, digest)
                if note is None:
                    note = await self._upload(provider, file, digest)
        if "uri" not in note:
            raise AttemptFailed(Kind.REFUSED, note["failure"], field=file.at)
        return note["uri"]

    async def _upload(self, provider: Provider, file: File, digest: str) -> Note:
        """Where it lies, or why the provider cannot use it. Raises AttemptFailed."""
        await self._make_room(provider, len(file.data))
        config = types.UploadFileConfig(mime_type=file.facts.mime_type)
        try:
            with failing_as_attempts():
                async with self._uploads, asyncio.timeout(_UPLOAD_S):
                    uploaded = await provider.client.files.upload(file=BytesIO(file.data), config=config)
                    async with _deleted_on_failure(provider, uploaded.name):
                        uploaded = await _processed(provider.client, uploaded)
        except AttemptFailed as failure:
            raise _upload_failed(failure, file.at) from failure
        if uploaded.state is types.FileState.FAILED:
            with suppress(AttemptFailed):
                await _delete(provider, uploaded.name)
            note, lasts_s = {"failure": "the provider cannot process the file"}, _FAILURE_KNOWN_S
        else:
            note, lasts_s = {"uri": uploaded.uri, "name": uploaded.name, "bytes": len(file.data)}, _LASTS_S
        await self._notes.put(_shelf(provider), digest, note, lasts_s=lasts_s)
        return note

    async def _make_room(self, provider: Provider, size: int) -> None:
        """Deletes the oldest files until `size` bytes more are allowed."""
        known = {digest: note for digest, note in (await self._known(provider)).items() if "uri" in note}
        excess = sum(note["bytes"] for note in known.values()) + size - self._settings.files_max_bytes
        for digest, note in known.items():
            if excess <= 0:
                return
            # Forgotten first: nobody is to name what is about to go.
            await self._notes.remove(_shelf(provider), digest)
            with suppress(AttemptFailed):
                await _delete(provider, note["name"])
            excess -= note["bytes"]

    async def _known(self, provider: Provider) -> Mapping[str, Note]:
        """By SHA-256, the oldest first."""
        return await self._notes.all(_shelf(provider))


def _shelf(provider: Provider) -> str:
    return f"files:{provider.name}"


async def _sha256(data: bytes) -> str:
    return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())


async def _processed(client: AsyncClient, uploaded: types.File) -> types.File:
    """The file once the provider has looked at it: a video takes a while."""
    pause_s = _FIRST_PAUSE_S
    while uploaded.state is types.FileState.PROCESSING:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        uploaded = await client.files.get(name=uploaded.name)
    return uploaded


@asynccontextmanager
async def _deleted_on_failure(provider: Provider, name: str) -> AsyncIterator[None]:
    """Around what is done until it is known where the file lies: nobody would delete it later."""
    try:
        yield
    except BaseException:
        with suppress(AttemptFailed):
            await _delete(provider, name)
        raise


async def _is_gone(provider: Provider, name: str) -> bool:
    config = types.GetFileConfig(http_options=types.HttpOptions(timeout=_CALL_MS))
    try:
        with failing_as_attempts():
            file = await provider.client.files.get(name=name, config=config)
    except AttemptFailed as failure:
        return is_absent(failure)
    return file.state is types.FileState.FAILED


async def _delete(provider: Provider, name: str) -> None:
    """Raises AttemptFailed where it may still be there."""
    config = types.DeleteFileConfig(http_options=types.HttpOptions(timeout=_CALL_MS))
    try:
        with failing_as_attempts():
            await provider.client.files.delete(name=name, config=config)
    except AttemptFailed as failure:
        if not is_absent(failure):
            logger.warning("a file could not be deleted: %s", failure.message)
            raise


def _upload_failed(failure: AttemptFailed, at: str) -> AttemptFailed:
    """The question was never sent: unless the provider refuses the file itself, another attempt may fare better."""
    refused = failure.kind in (Kind.DENIED, Kind.REFUSED)
    kind = failure.kind if refused else Kind.UNREACHABLE
    return AttemptFailed(kind, f"the file could not be uploaded: {failure.message}", field=at)
