"""Which stored answers are about a picture that looks like another."""

from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from services.gateway.answerer import Ask
from services.gateway.caching.key import question_of
from services.runtime.errors import InvalidArgument
from services.runtime.media import ImageLimits, decode_image

SIDE = 17
BITS = 2 * 3 * SIDE * (SIDE - 1)
MAX_TENANTS = 256
MAX_QUESTIONS = 256
MAX_PICTURES = 64


@dataclass(frozen=True)
class Look:
    """A question about one picture, and what the picture looks like."""

    tenant: str
    question: str
    bits: int


async def look_of(ask: Ask, generation: str) -> Look | None:
    """None of a question about anything but one picture that can be read."""
    media = [part.media for message in ask.request.messages for part in message.parts if part.HasField("media")]
    if len(media) != 1 or not media[0].HasField("data"):
        return None
    try:
        picture = await decode_image(media[0].data, field="media", limits=ImageLimits(), resize=_square)
    except InvalidArgument:
        return None
    return Look(ask.tenant, question_of(ask, generation), difference_hash(picture.image))


def _square(width: int, height: int) -> tuple[int, int]:
    return SIDE, SIDE


def difference_hash(image: Image.Image) -> int:
    """`BITS` bits: whether the picture, `SIDE` x `SIDE` pixels, gets darker to the right and downwards, by channel.

    https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html, in colour and both directions.
    """
    bits = 0
    for channel in image.split():
        for pixels in (channel.tobytes(), channel.transpose(Image.Transpose.TRANSPOSE).tobytes()):
            for i in range(SIDE * SIDE):
                if i % SIDE:
                    bits = bits << 1 | (pixels[i - 1] > pixels[i])
    return bits


class NearIndex:
    """The keys of recent answers by tenant, question and look. Bounded in each; the least recently used go first."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[str, OrderedDict[str, int]]] = OrderedDict()

    def add(self, look: Look, key: str) -> None:
        """Remembers that the answer at `key` is about this look."""
        questions = _within(self._tenants, look.tenant, MAX_TENANTS)
        pictures = _within(questions, look.question, MAX_QUESTIONS)
        pictures[key] = look.bits
        pictures.move_to_end(key)
        if len(pictures) > MAX_PICTURES:
            pictures.popitem(last=False)

    def nearest(self, look: Look, similarity: float) -> str | None:
        """The key of the answer to the same question about the picture most alike, if at least so alike."""
        pictures = self._tenants.get(look.tenant, {}).get(look.question, {})
        alike = {key: 1 - (bits ^ look.bits).bit_count() / BITS for key, bits in pictures.items()}
        best = max(alike, key=alike.__getitem__, default=None)
        return best if best is not None and alike[best] >= similarity else None


def _within(level: OrderedDict[str, OrderedDict], name: str, most: int) -> OrderedDict:
    """What is at `name`, made where there is none, the least recently used one dropped for it."""
    found = level.setdefault(name, OrderedDict())
    level.move_to_end(name)
    if len(level) > most:
        level.popitem(last=False)
    return found
