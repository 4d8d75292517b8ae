"""The emulator's own rules of counting (https://ai.google.dev/gemini-api/docs/tokens, .../media-resolution).

Text: a token for every four characters begun. Media by the family of the model that answers, from headers alone.
"""

import asyncio
import base64
import hashlib
import io
import json
import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import av
import pypdfium2
from PIL import Image

from tests.gemini.wire import ApiError, get

MAX_INLINE_BYTES = 100 * 2**20
MAX_PDF_BYTES = 50 * 2**20
MAX_PDF_PAGES = 1_000
MAX_IMAGES = 3_600

_IMAGE_3 = {"LOW": 280, "MEDIUM": 560, "HIGH": 1120, "ULTRA_HIGH": 2240}
_PAGE_3 = {"LOW": 280, "MEDIUM": 560, "HIGH": 1120, "ULTRA_HIGH": 1120}
_FRAME_3 = {"LOW": 70, "MEDIUM": 70, "HIGH": 280, "ULTRA_HIGH": 280}
_URL_SAFE = str.maketrans("-_", "+/")

Blob = tuple[str, bytes]
"""MIME type and content."""


@dataclass(frozen=True)
class Facts:
    """What a medium's headers say; what does not apply is 0."""

    width: int = 0
    height: int = 0
    pages: int = 0
    seconds: float = 0
    sound: bool = False


class Counting:
    """Counts contents. Facts are remembered by content, for a thousand media."""

    def __init__(self, resolve: Callable[[str, str], Awaitable[Blob]]) -> None:
        """`resolve`: project and URI -> what is there; raises ApiError."""
        self._resolve = resolve
        self._reader = ThreadPoolExecutor(1, "media")  # one thread: PDFium is not to be called from two at once
        self._facts: OrderedDict[tuple[str, bytes], Facts] = OrderedDict()

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)

    async def tokens(self, project: str, body: Mapping[str, Any], model: str) -> Counter[str]:
        """Tokens by modality of a body with `contents`, `systemInstruction` and `generationConfig.mediaResolution`.

        Raises ApiError for media that are unreadable, absent or too much.
        """
        contents = [*get(body, "contents", ())]
        if instruction := get(body, "systemInstruction"):
            contents.append(instruction)
        resolution = get(get(body, "generationConfig", {}), "mediaResolution", "")
        counts: Counter[str] = Counter()
        images = inline_bytes = 0
        for content in contents:
            for part in get(content, "parts", ()):
                if (text := part.get("text")) is not None:
                    if text:
                        counts["TEXT"] += -(-len(text) // 4)
                elif inline := get(part, "inlineData"):
                    mime_type, data = get(inline, "mimeType", ""), _base64(get(inline, "data", ""))
                    inline_bytes += len(data)
                    images += mime_type.startswith("image/")
                    counts += await self._media(mime_type, data, part, model, resolution)
                elif reference := get(part, "fileData"):
                    mime_type, data = await self._resolve(project, get(reference, "fileUri", ""))
                    mime_type = get(reference, "mimeType") or mime_type
                    images += mime_type.startswith("image/")
                    counts += await self._media(mime_type, data, part, model, resolution)
                else:
                    counts["TEXT"] += -(-len(json.dumps(part)) // 4)
        if images > MAX_IMAGES:
            raise ApiError(400, f"Request contains {images} images, which is more than the limit of {MAX_IMAGES}.")
        if inline_bytes > MAX_INLINE_BYTES:
            raise ApiError(400, f"Request payload size exceeds the limit: {MAX_INLINE_BYTES} bytes.")
        return counts

    async def _media(
        self, mime_type: str, data: bytes, part: Mapping[str, Any], model: str, resolution: str
    ) -> Counter[str]:
        kind = mime_type.partition("/")[0]
        if kind == "text":
            return Counter(TEXT=-(-len(data.decode("utf-8", "replace")) // 4))
        if mime_type == "application/pdf" and len(data) > MAX_PDF_BYTES:
            raise ApiError(400, f"The document is larger than the limit of {MAX_PDF_BYTES} bytes.")
        facts = await self._facts_of(mime_type, data)
        level = get(get(part, "mediaResolution", {}), "level") or resolution
        return media_tokens(kind, facts, model, level.removeprefix("MEDIA_RESOLUTION_"), get(part, "videoMetadata", {}))

    async def _facts_of(self, mime_type: str, data: bytes) -> Facts:
        key = mime_type, hashlib.sha256(data).digest()
        facts = self._facts.get(key)
        if facts is None:
            facts = await asyncio.get_running_loop().run_in_executor(self._reader, _read, mime_type, data)
            self._facts[key] = facts
            if len(self._facts) > 1_000:
                self._facts.popitem(last=False)
        return facts


def media_tokens(kind: str, facts: Facts, model: str, level: str, clip: Mapping[str, Any]) -> Counter[str]:
    """Tokens by modality; `kind` is the MIME type's first half, `clip` the part's `videoMetadata`."""
    old = model.startswith("gemini-2")
    if kind == "image":
        return Counter(IMAGE=258 * tiles(facts.width, facts.height) if old else _IMAGE_3.get(level, 1120))
    if facts.pages:
        return Counter(DOCUMENT=facts.pages * (258 if old else _PAGE_3.get(level, 560)))
    seconds = _clip_s(facts.seconds, clip)
    sound = math.ceil(seconds * (32 if old else 25))
    if kind == "audio":
        return Counter(AUDIO=sound)
    frame = (66 if level == "LOW" else 258) if old else _FRAME_3.get(level, 70)
    counts = Counter(VIDEO=max(1, math.ceil(seconds * float(get(clip, "fps", 1)))) * frame)
    if facts.sound:
        counts["AUDIO"] = sound
    return counts


def tiles(width: int, height: int) -> int:
    """Of a 2.x image."""
    if width <= 384 and height <= 384:
        return 1
    crop = max(1, math.floor(min(width, height) / 1.5))
    return math.ceil(width / crop) * math.ceil(height / crop)


def _clip_s(seconds: float, clip: Mapping[str, Any]) -> float:
    start = float(str(get(clip, "startOffset", "0s")).removesuffix("s"))
    end = float(str(get(clip, "endOffset", f"{seconds}s")).removesuffix("s"))
    return max(0.0, min(end, seconds) - start)


def _base64(text: str) -> bytes:
    """base64 or base64url, padded or not, as protobuf's JSON takes it."""
    try:
        return base64.b64decode(text.translate(_URL_SAFE) + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise ApiError(400, "Base64 decoding failed for inlineData.data.") from None


def _read(mime_type: str, data: bytes) -> Facts:
    kind = mime_type.partition("/")[0]
    try:
        if kind == "image":
            with Image.open(io.BytesIO(data)) as image:
                return Facts(width=image.width, height=image.height)
        if mime_type == "application/pdf":
            document = pypdfium2.PdfDocument(data)
            try:
                pages = len(document)
            finally:
                document.close()
            if not 0 < pages <= MAX_PDF_PAGES:
                raise ApiError(400, f"The document has {pages} pages; 1 to {MAX_PDF_PAGES} are supported.")
            return Facts(pages=pages)
        if kind in ("video", "audio"):
            with av.open(io.BytesIO(data)) as container:
                if container.duration is None:
                    raise ValueError("no duration")
                return Facts(seconds=container.duration / av.time_base, sound=bool(container.streams.audio))
    except (OSError, ValueError, pypdfium2.PdfiumError, av.FFmpegError, Image.DecompressionBombError):
        raise ApiError(400, f"Unable to process input {'document' if kind == 'application' else kind}.") from None
    raise ApiError(400, f"Unsupported MIME type: {mime_type}")
