"""How an answer came to be: its route, and what all its attempts used."""

from collections.abc import Sequence

from chiasm.v1 import generation_pb2
from services.gateway.attempts.attempt import Attempt
from services.gateway.clock import Clock
from services.gateway.usage_sum import sum_of
from services.runtime.durations import duration_of


def ending(answer: Attempt, made: Sequence[Attempt], arrived: Clock) -> generation_pb2.Finished:
    """The `finished` of a call whose attempts were `made`, in the order of their starts, and given by `answer`.

    Its usage is the sum over them, as far as it is known: an attempt that broke off has told none. On the route the
    one that answered is the last.
    """
    finished = generation_pb2.Finished()
    finished.CopyFrom(answer.finished)
    finished.usage.CopyFrom(sum_of([attempt.finished.usage for attempt in made if attempt.finished is not None]))
    finished.ClearField("confidence")
    if answer.confidence is not None:
        finished.confidence = answer.confidence
    finished.route.CopyFrom(
        generation_pb2.Route(
            attempts=[_attempt(attempt) for attempt in [*(a for a in made if a is not answer), answer]],
            time_to_first_token=duration_of(arrived.first_token_s),
            duration=duration_of(arrived.elapsed_s),
        )
    )
    return finished


def _attempt(attempt: Attempt) -> generation_pb2.Attempt:
    return generation_pb2.Attempt(
        model=attempt.candidate.model.name,
        revision=attempt.candidate.model.revision,
        status=attempt.status,
        time_to_first_token=duration_of(attempt.clock.first_token_s),
        duration=duration_of(attempt.took_s),
        usage=attempt.finished.usage if attempt.finished is not None else None,
    )
