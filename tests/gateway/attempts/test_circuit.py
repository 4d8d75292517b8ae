"""A circuit by its rules, and against a plain model of them."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from services.gateway.attempts.circuit import LONGEST_OPEN_S, Circuit, Trial
from services.gateway.policy import CircuitPolicy

POLICY = CircuitPolicy(failures=3, open_s=5)


class Now:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def opened() -> tuple[Circuit, Now]:
    now = Now()
    circuit = Circuit("t", lambda: POLICY, now)
    for _ in range(3):
        circuit.begin().failed()
    return circuit, now


def test_failures_in_a_row_open_it() -> None:
    circuit = Circuit("t", lambda: POLICY)
    for _ in range(2):
        circuit.begin().failed()
    circuit.begin().succeeded()
    for _ in range(2):
        circuit.begin().failed()
    assert circuit.allows()
    circuit.begin().failed()
    assert not circuit.allows()
    assert circuit.begin() is None
    assert 4 < circuit.opens_for_s <= 5


def test_one_probe_closes_it() -> None:
    circuit, now = opened()
    now.s += 5
    probe = circuit.begin()
    assert circuit.begin() is None
    probe.succeeded()
    assert circuit.begin() is not None
    assert circuit.begin() is not None


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_a_minute() -> None:
    circuit, now = opened()
    waits = []
    for _ in range(6):
        now.s += circuit.opens_for_s
        circuit.begin().failed()
        waits.append(circuit.opens_for_s)
    assert waits == [10, 20, 40, 60, 60, 60]


def test_a_probe_that_says_nothing_frees_its_place() -> None:
    circuit, now = opened()
    now.s += 5
    circuit.begin().released()
    assert circuit.allows()


def test_a_call_from_before_it_opened_does_not_decide() -> None:
    circuit = Circuit("t", lambda: POLICY)
    late = circuit.begin()
    for _ in range(3):
        circuit.begin().failed()
    late.succeeded()
    assert not circuit.allows()


class CircuitMachine(RuleBasedStateMachine):
    """Any calls, any ends, any time between them."""

    trials = Bundle("trials")

    def __init__(self) -> None:
        super().__init__()
        self.now = Now()
        self.circuit = Circuit("t", lambda: POLICY, self.now)
        self.row = 0
        self.open_s: float | None = None
        self.until = 0.0
        self.probe: Trial | None = None

    @rule(target=trials)
    def begin(self) -> Trial | None:
        allowed = self.circuit.allows()
        trial = self.circuit.begin()
        assert (trial is not None) == allowed
        if trial is not None and self.open_s is not None:
            assert self.probe is None
            self.probe = trial
        return trial

    @rule(trial=consumes(trials))
    def succeed(self, trial: Trial | None) -> None:
        if trial is None:
            return
        trial.succeeded()
        if trial is self.probe:
            self.probe = self.open_s = None
        if self.open_s is None:
            self.row = 0

    @rule(trial=consumes(trials))
    def fail(self, trial: Trial | None) -> None:
        if trial is None:
            return
        trial.failed()
        if trial is self.probe:
            self.probe = None
            self.open(min(LONGEST_OPEN_S, 2 * self.open_s))
        elif self.open_s is None:
            self.row += 1
            if self.row == POLICY.failures:
                self.row = 0
                self.open(POLICY.open_s)

    @rule(trial=consumes(trials))
    def release(self, trial: Trial | None) -> None:
        if trial is None:
            return
        trial.released()
        if trial is self.probe:
            self.probe = None

    @rule(seconds=st.sampled_from([1.0, 5.0, 30.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now.s += seconds

    def open(self, seconds: float) -> None:
        self.open_s, self.until = seconds, self.now.s + seconds

    @invariant()
    def agrees(self) -> None:
        closed = self.open_s is None
        assert self.circuit.allows() == (closed or (self.probe is None and self.now.s >= self.until))
        assert self.circuit.opens_for_s == (0 if closed else max(0.0, self.until - self.now.s))
        assert self.circuit.opens_for_s <= LONGEST_OPEN_S


TestCircuitMachine = CircuitMachine.TestCase
