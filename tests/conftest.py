"""What all tests share: no deadline for single examples, because a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("chiasm", deadline=None)
settings.load_profile("chiasm")
