"""What the caller is shown of the attempts: numbered from 1, each void before the next begins."""

from chiasm.v1 import generation_pb2
from services.gateway.answerer import Ask
from services.gateway.attempts.attempt import Attempt

_Event = generation_pb2.StreamGenerateResponse


class Telling:
    """To one caller. An attempt is shown once it says something, so one that fails before was never there."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._shown: Attempt | None = None
        self._number = 0

    @property
    def delivered(self) -> bool:
        """Whether the caller has seen a part of an answer."""
        return self._shown is not None

    def says(self, attempt: Attempt, delta: generation_pb2.Delta) -> list[_Event]:
        """The events for `delta`, which `attempt` has said."""
        if attempt is self._shown:
            return [_Event(delta=delta)]
        return self._begins(attempt) if attempt.spoke else []

    def ends(self, answer: Attempt, finished: generation_pb2.Finished) -> list[_Event]:
        """The last events: all of `answer` where it is not what the caller has seen last, and `finished`."""
        events = [] if answer is self._shown else self._begins(answer)
        return [*events, _Event(finished=finished)]

    def _begins(self, attempt: Attempt) -> list[_Event]:
        """Voids what was shown before, and shows all that `attempt` has said."""
        model, events = attempt.candidate.model.name, []
        if self._shown is not None:
            void = generation_pb2.Superseded(attempt=self._number, reason=self._shown.given_up, next_model=model)
            events.append(_Event(superseded=void))
        self._shown, self._number = attempt, self._number + 1
        request_id = self._ask.request.request_id
        started = generation_pb2.Started(model=model, attempt=self._number, request_id=request_id)
        events.append(_Event(started=started))
        if attempt.clock.first_token_s is not None:
            self._ask.arrived.saw_token()
            events.append(_Event(delta=attempt.said))
        return events
