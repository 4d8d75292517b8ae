"""How a call can fail, by its own directive (`script`) or at random by the rules of the configuration.

| kind            | what happens                                                    | what is billed            |
|-----------------|-----------------------------------------------------------------|---------------------------|
| error           | the body of `code`; 429 with `quota_id` and `retry_delay_s`     | nothing                   |
| slow            | `delay_s` before the headers, then the whole answer             | the whole                 |
| cut             | the connection is closed, in order, after `after_chunks` chunks | the last chunk's usage    |
| malformed_event | after `after_chunks` chunks an event that is no JSON, then EOF  | the last chunk's usage    |
| error_event     | the same with an event that is the error body of `code`         | the last chunk's usage    |
| no_finish       | all chunks, the last without `finishReason`                     | the whole                 |
| malformed_json  | the answer is JSON that breaks off, `finishReason` STOP         | the whole                 |
| thinking_only   | thinking takes all of `maxOutputTokens`: no text, MAX_TOKENS    | the whole                 |
| file_failed     | an uploaded file ends FAILED                                    | nothing                   |

A unary answer that is cut or malformed breaks off half way through its body and is billed whole: it was generated;
`error_event` leaves it alone.
A fault strikes after the quotas have counted the call. All randomness is from one seeded generator.
"""

import random
from collections import Counter
from collections.abc import Hashable, Sequence

from tests.gemini.config import Endpoint, Fault, FaultRule
from tests.gemini.wire import ApiError, quota_error

_METRIC = "generativelanguage.googleapis.com/generate_requests_per_model"


class Faults:
    """Chooses the fault of each call."""

    def __init__(self, rules: Sequence[FaultRule], seed: int) -> None:
        self.rules = rules
        self.struck: Counter[str] = Counter()
        """Faults so far, by kind."""
        self._random = random.Random(seed)
        self._directed: Counter[Hashable] = Counter()

    @property
    def rules(self) -> Sequence[FaultRule]:
        """May be replaced at any time; `times` are counted anew."""
        return self._rules

    @rules.setter
    def rules(self, rules: Sequence[FaultRule]) -> None:
        self._rules = tuple(rules)
        self._drawn: Counter[Hashable] = Counter()

    def directed(self, directive: str, fault: Fault | None) -> Fault | None:
        """The fault that a prompt's directive asks for, unless it has struck its `times`."""
        return fault if fault and self._strike(self._directed, directive, fault) else None

    def drawn(self, at: Endpoint) -> Fault | None:
        """The first rule for `at` that the dice choose."""
        for number, rule in enumerate(self._rules):
            struck = rule.at == at and self._random.random() < rule.probability
            if struck and self._strike(self._drawn, number, rule.fault):
                return rule.fault
        return None

    def raise_drawn(self, at: Endpoint, model: str = "") -> Fault | None:
        """Like `drawn`, but an `error` is raised, as ApiError."""
        fault = self.drawn(at)
        if fault and fault.kind == "error":
            raise error_of(fault, model)
        return fault

    def _strike(self, strikes: Counter[Hashable], key: Hashable, fault: Fault) -> bool:
        if fault.times is not None:
            if strikes[key] >= fault.times:
                return False
            strikes[key] += 1
        self.struck[fault.kind] += 1
        return True


def error_of(fault: Fault, model: str) -> ApiError:
    if fault.code == 429:
        return quota_error([(_METRIC, fault.quota_id, model, 1)], fault.retry_delay_s)
    return ApiError(fault.code)
