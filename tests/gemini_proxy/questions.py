"""Questions to try the rooms of gemini_proxy with."""

from services.gemini_proxy.media_facts import MediaFacts
from services.gemini_proxy.question import File, Piece, Priority, Question, Settings, Task, Text, Turn
from services.gemini_proxy.usage import Modality

AT = "messages[0].parts[0].media.data"


def picture_file(width: int = 640, height: int = 480) -> File:
    return File(b"the bytes", MediaFacts("image/png", Modality.IMAGE, width, height), AT)


def question(
    *pieces: Piece,
    task: Task = Task.OPEN,
    model: str = "gemini-3.8-flash",
    system: tuple[Text, ...] = (),
    before: tuple[Turn, ...] = (),
    **settings: object,
) -> Question:
    """A last turn of `pieces`, after the turns `before`."""
    return Question(
        model=model,
        task=task,
        system=system,
        turns=(*before, Turn(False, pieces)),
        settings=Settings(**{"max_tokens": 100} | settings),
        tenant="acme",
        request_id="request",
        priority=Priority.NORMAL,
    )
