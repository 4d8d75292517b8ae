"""What all tests share."""

import signal

from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("chiasm", deadline=None)
settings.load_profile("chiasm")

# A process that a shell started in its background ignores SIGINT, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
