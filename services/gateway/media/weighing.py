"""What a request's media weigh, for admission, from their headers: nothing is decoded."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

from google.protobuf.message import Message
from PIL import Image

from services.gateway.answerer import Weight
from services.gateway.media.contents import media_of
from services.runtime.media_types import picture_type

# Nothing is decoded here.
Image.MAX_IMAGE_PIXELS = None

# Reading a header takes microseconds and hardly any memory.
_threads = ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1), thread_name_prefix="media-weight")


async def weigh(request: Message) -> Weight:
    """The bytes of its media, and the pixels of those that are pictures with a header that can be read."""
    files = [content.data for _, content in media_of(request) if content.data]
    if not files:
        return Weight(bytes=0, pixels=0)
    loop = asyncio.get_running_loop()
    pixels = await loop.run_in_executor(_threads, lambda: sum(map(_pixels, files)))
    return Weight(bytes=sum(map(len, files)), pixels=pixels)


def _pixels(data: bytes) -> int:
    file_type = picture_type(data)
    if file_type is None:
        return 0
    try:
        with Image.open(BytesIO(data), formats=[file_type.pillow_format]) as image:
            return image.width * image.height
    # Pillow answers damaged headers with almost any exception; whoever decodes the picture will say what is wrong.
    except Exception:  # noqa: BLE001
        return 0
