"""What all tests share."""

import os
import signal

from hypothesis import settings

# A busy machine is no failure, and every run has the same examples. To look for others: HYPOTHESIS_PROFILE=search.
settings.register_profile("chiasm", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "chiasm"))

# A process that a shell started in its background ignores SIGINT, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
