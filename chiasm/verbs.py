"""The tasks as methods, alike for the sync and the async client."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, Unpack

from chiasm.options import Options, Task

if TYPE_CHECKING:
    from chiasm.images import ImageLike

Result = TypeVar("Result")


class Verbs(ABC, Generic[Result]):
    """What can be asked about a picture. `Result` is an `Answer`, or what is awaited for one.

    A picture is a path, bytes, an open binary file, a `PIL.Image`, an upload's name (`media/sha256-...`) or an address
    (`https://...`, `gs://...`). Every method raises a `ChiasmError` when the call
    fails, and OSError when a file cannot be read.
    """

    @abstractmethod
    def generate(
        self, prompt: str = "", images: "Sequence[ImageLike]" = (), task: Task = Task.OPEN, **options: Unpack[Options]
    ) -> Result:
        """Answers at once. Tried again, at most three times, while no server is available."""

    def caption(self, image: "ImageLike", **options: Unpack[Options]) -> Result:
        """Describes a picture."""
        return self.generate("", [image], Task.CAPTION, **options)

    def ask(self, image: "ImageLike", question: str, **options: Unpack[Options]) -> Result:
        """Answers a question about a picture."""
        return self.generate(question, [image], Task.ANSWER, **options)

    def read(self, image: "ImageLike", **options: Unpack[Options]) -> Result:
        """Reads the text in a picture."""
        return self.generate("", [image], Task.READ_TEXT, **options)

    def detect(self, image: "ImageLike", things: str | Sequence[str], **options: Unpack[Options]) -> Result:
        """Finds things in a picture, named in a list or separated by ` ; `."""
        prompt = things if isinstance(things, str) else " ; ".join(things)
        return self.generate(prompt, [image], Task.DETECT, **options)

    def segment(self, image: "ImageLike", thing: str, **options: Unpack[Options]) -> Result:
        """Finds a thing in a picture and its outline."""
        return self.generate(thing, [image], Task.SEGMENT, **options)
