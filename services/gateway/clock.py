"""Times since something began."""

import time


class Clock:
    """Since a request arrived or an attempt began, in seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.first_token_s: float | None = None

    def saw_token(self) -> None:
        if self.first_token_s is None:
            self.first_token_s = self.elapsed_s

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began
