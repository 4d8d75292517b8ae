"""Retries that a target can bear, so that its brown-out does not become a storm."""


class RetryBudget:
    """gRPC's retry throttling (https://github.com/grpc/proposal/blob/master/A6-client-retries.md).

    Tokens fall by 1 with each failure and rise by `ratio` with each success; retries are made while more than half of
    `capacity` is left. So a few retries are always to be had, and in the long run `ratio` of all calls.
    """

    def __init__(self, ratio: float, *, capacity: float = 10.0) -> None:
        """`ratio` from 0 to 1; `capacity` above 0."""
        self._ratio = ratio
        self._capacity = self._tokens = capacity

    def succeeded(self) -> None:
        self._tokens = min(self._capacity, self._tokens + self._ratio)

    def failed(self) -> None:
        self._tokens = max(0.0, self._tokens - 1)

    @property
    def allows_retry(self) -> bool:
        return self._tokens > self._capacity / 2
