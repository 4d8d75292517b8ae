"""Which target answers a request. For now: the one that serves the model asked for."""

import asyncio
from collections.abc import Sequence

from chiasm.v1 import models_pb2
from services.gateway.target import Target
from services.runtime.errors import NotFound, Unavailable


class Router:
    """Knows what each target serves, as of its last look."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = tuple(targets)
        self.changed = asyncio.Event()

    async def watch(self) -> None:
        """Look at all targets for ever; `changed` is set whenever a set of models changes."""
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                group.create_task(target.watch(self.changed), name=f"watch {target.address}")

    @property
    def models(self) -> dict[str, models_pb2.Model]:
        """Every model served now, by name; the first target wins where two serve the same."""
        return {name: model for target in reversed(self._targets) for name, model in target.models.items()}

    def choose(self, model: str) -> tuple[Target, str]:
        """The target for `model` and the model's name; any model where `model` is empty.

        Raises Unavailable when no target is ready, or none that serves `model`; NotFound when none ever has.
        """
        ready = [target for target in self._targets if target.models]
        if not ready:
            raise Unavailable("no model server is ready yet, or none can be reached")
        for target in ready:
            if not model or model in target.models:
                return target, model or min(target.models)
        if any(model in target.known for target in self._targets):
            raise Unavailable(f"the servers of {model!r} are not ready, or none can be reached")
        raise NotFound(f"{model!r} is not served here; {', '.join(sorted(self.models))} is", field="model")

    async def close(self) -> None:
        for target in self._targets:
            await target.close()
