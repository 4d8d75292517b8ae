"""A layer whose questions come while a policy holds."""

import dataclasses
from collections.abc import Callable

from services.gateway.answerer import Answerer, Ask, Events
from services.gateway.policy import Policy
from services.gateway.policy_file import LoadedPolicy


class UnderPolicy(Answerer):
    """Gives each question the policy that holds as it comes."""

    def __init__(self, inner: Answerer, policy: Callable[[], Policy]) -> None:
        self._inner = inner
        self._policy = policy

    def events(self, ask: Ask) -> Events:
        return self._inner.events(dataclasses.replace(ask, policy=LoadedPolicy(self._policy(), "test")))

    async def close(self) -> None:
        """Of a layer that can be closed."""
        await self._inner.close()
