"""The layers of the gateway that answer, put together, and what they stand on."""

import asyncio

from services.gateway.admission.answers import AdmittedAnswers, HeldBytes
from services.gateway.admission.byte_room import ByteRoom
from services.gateway.answerer import Ask, Events
from services.gateway.attempts.circuit import Circuit
from services.gateway.attempts.means import Means
from services.gateway.attempts.sequence import Attempts
from services.gateway.caching.layer import CachedAnswers
from services.gateway.caching.memory import MemoryCache
from services.gateway.caching.shared import SharedCache
from services.gateway.cascade.judging import Judge
from services.gateway.cascade.ocr import TextReader
from services.gateway.config import GatewaySettings
from services.gateway.policy_file import PolicyFile
from services.gateway.redis_link import RedisLink
from services.gateway.routing.router import Router
from services.gateway.routing.target import Target
from services.runtime.config import BadSetting


class Layers:
    """Raises BadSetting naming every fault of the policy's file. To be made where the event loop runs."""

    def __init__(self, settings: GatewaySettings) -> None:
        try:
            self.policies = PolicyFile(settings.policy_file)
        except (OSError, ValueError) as error:
            raise BadSetting("policy_file", str(error)) from error
        self.link = RedisLink(settings.redis_url.get_secret_value()) if settings.redis_url else None
        self.router = Router(
            [
                Target(address, settings, Circuit(address, lambda: self.policies.current.circuit))
                for address in settings.targets
            ]
        )
        self._reader = TextReader(settings.ocr_processes)
        attempts = Attempts(Means(lambda: self.policies.current, self.router, Judge(self._reader)))
        self._cached = CachedAnswers(
            AdmittedAnswers(attempts, lambda: self.policies.current),
            MemoryCache(lambda: self.policies.current.cache.memory_bytes),
            SharedCache(self.link) if self.link else None,
            self._generation,
        )
        self._answers = HeldBytes(self._cached, lambda: self.policies.current)

    @property
    def room(self) -> ByteRoom:
        """For the bytes of all calls, of those too that no model here answers."""
        return self._answers.room

    def events(self, ask: Ask) -> Events:
        """The answer to `ask`, as `Answerer` has it."""
        return self._answers.events(ask)

    async def run(self) -> None:
        """Looks at the policy's file and at the targets, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.policies.watch(), name="watch the policy")
            group.create_task(self.router.watch(), name="watch targets")

    async def close(self) -> None:
        await self._cached.close()
        await self.router.close()
        await self._reader.close()
        if self.link is not None:
            await self.link.close()

    def _generation(self, ask: Ask) -> str:
        """What a stored answer depends on besides the question, the same on each replica: the policy, and the models
        that may give it, whether they are ready now or not."""
        request = ask.request
        served = {
            f"{model.name}@{model.revision}"
            for model in self.router.known
            if ask.account.may_use(model.name)
            and (model.name == request.model or not request.model or request.routing.allow_fallback)
        }
        return " ".join((ask.policy.revision, *sorted(served)))
