"""What an answer will take and cost, learned from those before it."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry import metrics

from chiasm.v1 import models_pb2, usage_pb2
from services.gateway.routing.regression import Regression
from services.gateway.routing.requirements import Requirements
from services.runtime import names

KNOWN_AFTER = 5
"""Answers after which a prediction is more than a guess."""
STALE_S = 10.0
"""Seconds without an answer after which it is a guess again."""

# Seconds a call, a media, a million pixels, a thousand tokens of text, a second of work that is ahead; and from the
# first token on: a call, a token, a second of work that is ahead.
_FIRST_PRIOR = (0.2, 0.1, 0.01, 0.1, 0.2)
_REST_PRIOR = (0.01, 0.02, 0.1)
_OUTPUT_TOKENS = 32.0
_MEDIA_TOKENS = 258.0
_LEARNED_SHARE = 0.1
# An answer that took less of what was predicted shows that the prediction is wrong, and does not put it right at once.
_REFUTING_SHARE = 0.5

_error = metrics.get_meter("chiasm.gateway").create_histogram(
    "chiasm.gateway.prediction.error",
    unit="1",
    description="How far a prediction was off, as a share of what came.",
    explicit_bucket_boundaries_advisory=[0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5],
)


@dataclass(frozen=True)
class Forecast:
    """What an answer is expected to take and cost."""

    first_token_s: float
    total_s: float
    work_s: float
    """Of `total_s`, what is left where no other work is ahead."""
    ahead_s: float
    """Seconds of work that are thought to be ahead of it."""
    cost_nanousd: int
    known: bool
    """Whether enough answers stand behind it."""
    fresh: bool
    """Whether one of them is recent, and was not far quicker than predicted."""


@dataclass(frozen=True)
class Outcome:
    """What an attempt took."""

    first_token_s: float | None
    """From its start to its first delta; None where there was none."""
    total_s: float
    usage: usage_pb2.Usage
    ok: bool
    """Whether it gave a whole answer."""


class Predictor:
    """Learns the times of each server's models, and the tokens and costs of each model's tasks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds that only rise."""
        self._times: dict[tuple[str, str], _Times] = defaultdict(lambda: _Times(clock))
        self._amounts: dict[tuple[str, int], _Amounts] = defaultdict(_Amounts)
        self._media_tokens: dict[str, _Mean] = defaultdict(lambda: _Mean(_MEDIA_TOKENS))

    def forecast(
        self, server: str, model: models_pb2.Model, needs: Requirements, *, ahead_s: float = 0.0, others: int = 0
    ) -> Forecast:
        """Of a request that finds `ahead_s` seconds of work at `server`, and `others` calls of unknown work."""
        times, amounts = self._times[server, model.name], self._amounts[model.name, needs.task]
        tokens = min(amounts.output_tokens.value, needs.max_tokens or amounts.output_tokens.value)
        work_s = times.predict(needs, tokens, 0.0)[1]
        ahead_s += others * work_s
        first_s, total_s = times.predict(needs, tokens, ahead_s)
        listed = _listed_cost(model.price, self._input_tokens(model.name, needs), tokens)
        return Forecast(
            first_token_s=first_s,
            total_s=total_s,
            work_s=work_s,
            ahead_s=ahead_s,
            cost_nanousd=amounts.cost(listed),
            known=times.observations >= KNOWN_AFTER,
            fresh=times.fresh,
        )

    def input_tokens(self, model: str, needs: Requirements) -> int:
        """What `model` reads of the request; of media, only as far as that was learned."""
        media_tokens = self._media_tokens[model]
        return needs.text_tokens + round(len(needs.media) * media_tokens.value if media_tokens.count else 0)

    def learn(
        self, server: str, model: models_pb2.Model, needs: Requirements, forecast: Forecast, outcome: Outcome
    ) -> None:
        """From an attempt. One that failed tells no more than that an answer takes longer than it went on."""
        if not outcome.ok and outcome.total_s <= forecast.total_s:
            return
        times, amounts = self._times[server, model.name], self._amounts[model.name, needs.task]
        if not outcome.ok:
            times.learn(needs, amounts.output_tokens.value, forecast.ahead_s, outcome)
            return
        usage = outcome.usage
        refutes = outcome.total_s < forecast.total_s * _REFUTING_SHARE
        times.learn(needs, usage.output_tokens, forecast.ahead_s, outcome, confirms=not refutes)
        amounts.learn(usage, _listed_cost(model.price, usage.input_tokens, usage.output_tokens))
        if needs.media and usage.media_input_tokens:
            self._media_tokens[model.name].learn(usage.media_input_tokens / len(needs.media))
        _report(model.name, forecast, outcome)

    def _input_tokens(self, model: str, needs: Requirements) -> float:
        return needs.text_tokens + len(needs.media) * self._media_tokens[model].value


class _Times:
    """Of one model at one server."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first, self._rest = Regression(_FIRST_PRIOR), Regression(_REST_PRIOR)
        self._learned_at = float("-inf")

    @property
    def observations(self) -> int:
        return self._first.observations

    @property
    def fresh(self) -> bool:
        return self._clock() - self._learned_at < STALE_S

    def predict(self, needs: Requirements, tokens: float, ahead_s: float) -> tuple[float, float]:
        """Seconds to the first token, and in all."""
        first_s = self._first.predict(_first_features(needs, ahead_s))
        return first_s, first_s + self._rest.predict((1.0, tokens, ahead_s))

    def learn(
        self, needs: Requirements, tokens: float, ahead_s: float, outcome: Outcome, *, confirms: bool = True
    ) -> None:
        """`confirms`: what is predicted from now on may be relied on."""
        first_s = outcome.total_s if outcome.first_token_s is None else outcome.first_token_s
        self._first.learn(_first_features(needs, ahead_s), first_s)
        if outcome.first_token_s is not None:
            self._rest.learn((1.0, tokens, ahead_s), max(0.0, outcome.total_s - first_s))
        if confirms:
            self._learned_at = self._clock()


class _Amounts:
    """Of one task by one model."""

    def __init__(self) -> None:
        self.output_tokens = _Mean(_OUTPUT_TOKENS)
        self._cost, self._listed = _Mean(0.0), _Mean(0.0)

    def cost(self, listed: float) -> int:
        """Nano-dollars: the list's price, as much higher or lower as answers have cost; their mean without a list."""
        if self._listed.value:
            return round(listed * self._cost.value / self._listed.value)
        return round(self._cost.value or listed)

    def learn(self, usage: usage_pb2.Usage, listed: float) -> None:
        self.output_tokens.learn(usage.output_tokens)
        self._cost.learn(usage.cost_nanousd)
        self._listed.learn(listed)


class _Mean:
    """A mean in which the past fades; `value` is a guess until something is learned."""

    def __init__(self, guess: float) -> None:
        self.value = guess
        self.count = 0

    def learn(self, value: float) -> None:
        self.count += 1
        self.value += max(_LEARNED_SHARE, 1 / self.count) * (value - self.value)


def _first_features(needs: Requirements, ahead_s: float) -> tuple[float, ...]:
    return 1.0, len(needs.media), needs.pixels / 1e6, needs.text_tokens / 1e3, ahead_s


def _listed_cost(price: usage_pb2.Price, input_tokens: float, output_tokens: float) -> float:
    """Nano-dollars; 0 where there is no price."""
    return (
        input_tokens * price.input_nanousd_per_million_tokens + output_tokens * price.output_nanousd_per_million_tokens
    ) / 1e6


def _report(model: str, forecast: Forecast, outcome: Outcome) -> None:
    pairs = {"total": (forecast.total_s, outcome.total_s)}
    if outcome.first_token_s is not None:
        pairs["first_token"] = forecast.first_token_s, outcome.first_token_s
    if outcome.usage.cost_nanousd:
        pairs["cost"] = forecast.cost_nanousd, outcome.usage.cost_nanousd
    for what, (expected, came) in pairs.items():
        if came > 0:
            attributes = {names.GEN_AI_REQUEST_MODEL: model, "chiasm.prediction": what}
            _error.record(abs(expected - came) / came, attributes)
