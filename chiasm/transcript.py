"""What a streamed answer has said so far."""

import time

from chiasm.convert import answer_of
from chiasm.errors import Internal
from chiasm.results import Answer, Delta, Event, Finished, Started, Superseded


class Transcript:
    """Takes a stream's events in order and makes its answer of them. Its clock starts when it is made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._first_delta_s: float | None = None
        self._started: Started | None = None
        self._pieces: list[str] = []
        self._answer: Answer | None = None

    def add(self, event: Event) -> None:
        """Takes the next event. Raises Internal when it breaks the contract's order."""
        if self._answer is not None:
            raise Internal("the server went on after `finished`", reason="INTERNAL")
        match event:
            case Started():
                self._started = event
            case Superseded():
                self._pieces.clear()
            case Delta():
                if self._first_delta_s is None:
                    self._first_delta_s = time.monotonic() - self._begun
                self._pieces.append(event.text)
            case Finished():
                self._answer = answer_of(
                    event,
                    text="".join(self._pieces),
                    model=self._started.model if self._started else "",
                    request_id=self._started.request_id if self._started else "",
                    time_to_first_token_s=self._first_delta_s,
                    total_s=time.monotonic() - self._begun,
                )

    @property
    def answer(self) -> Answer:
        """The whole answer. Raises Internal when the stream has not come to `finished`."""
        if self._answer is None:
            raise Internal("the stream ended before the answer was complete", reason="INTERNAL")
        return self._answer
