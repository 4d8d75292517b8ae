"""What is to be embedded, in this service's own terms, and how each family of models is told what a text is for.

Limits of a media by https://docs.cloud.google.com/vertex-ai/generative-ai/docs/models/gemini/embedding-2 and
https://ai.google.dev/gemini-api/docs/embeddings#multimodal; purposes by the latter's `#task-types`.
"""

from dataclasses import dataclass
from enum import Enum

from services.gemini_proxy.media_facts import MediaFacts
from services.gemini_proxy.question import File, Text
from services.gemini_proxy.usage import Modality

MAX_ITEMS = 100
"""Of one `batchEmbedContents`."""
MAX_PAGES = 6
MAX_AUDIO_S = 180
_MAX_VIDEO_S, _MAX_VIDEO_WITH_SOUND_S = 120, 80

_TAKEN = {
    Modality.IMAGE: ("image/png", "image/jpeg"),
    Modality.DOCUMENT: ("application/pdf",),
    Modality.VIDEO: ("video/mp4", "video/quicktime", "video/mpeg"),
    Modality.AUDIO: ("audio/mp3", "audio/wav"),
}
# Since gemini-embedding-2 the purpose is written before the text: it leaves a task type unread.
_WITH_TASK_TYPE = ("gemini-embedding-001", "text-embedding-")


class Purpose(Enum):
    """What a text is for."""

    ANY = "", ""
    QUERY = "RETRIEVAL_QUERY", "task: search result | query: "
    DOCUMENT = "RETRIEVAL_DOCUMENT", "title: none | text: "

    def __init__(self, task_type: str, prefix: str) -> None:
        self.task_type = task_type
        self.prefix = prefix


@dataclass(frozen=True)
class EmbeddingQuestion:
    """Everything that is to be embedded in one call, one vector an item, and on whose account."""

    model: str
    """As Gemini names it, without `models/`."""
    items: tuple[Text | File, ...]
    """Texts as they are sent, with what the model wants before them."""
    task_type: str
    """Of the texts; empty where the model reads none, or for none."""
    dimensions: int
    tenant: str
    request_id: str


def as_asked(text: str, purpose: Purpose, model: str) -> str:
    """`text` as `model` wants it for `purpose`."""
    return text if model.startswith(_WITH_TASK_TYPE) else purpose.prefix + text


def task_type_of(purpose: Purpose, model: str) -> str:
    """The task type that `model` is sent; empty for none."""
    return purpose.task_type if model.startswith(_WITH_TASK_TYPE) else ""


def unfit(facts: MediaFacts) -> str:
    """What keeps a media that Gemini reads from being embedded; empty for nothing."""
    taken = _TAKEN[facts.modality]
    if facts.mime_type not in taken:
        return f"{facts.mime_type} is not embedded; {', '.join(taken)} are"
    if facts.modality is Modality.VIDEO:
        most_s = _MAX_VIDEO_WITH_SOUND_S if facts.audio_seconds else _MAX_VIDEO_S
        if facts.seconds > most_s:
            return f"the video lasts {float(facts.seconds):.1f} s; at most {most_s} are embedded"
    return ""
