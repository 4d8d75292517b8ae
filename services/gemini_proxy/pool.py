"""The keys and projects that calls can be made with."""

import asyncio

from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.provider import Provider
from services.runtime.config import BadSetting


class Pool:
    """One provider a member, by name; empty where no key is configured."""

    def __init__(self, settings: GeminiSettings) -> None:
        self._settings = settings
        self._providers: dict[str, Provider] = {}

    async def start(self) -> None:
        """Raises BadSetting where a key's file cannot be read."""
        for member in self._settings.pool:
            try:
                member = await asyncio.to_thread(member.with_key)
            except (OSError, ValueError) as error:
                raise BadSetting("members", f"{member.name}: {error}") from error
            provider = Provider(member, safety_threshold=self._settings.safety_threshold)
            await provider.start()
            self._providers[member.name] = provider

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._providers)

    def __getitem__(self, name: str) -> Provider:
        return self._providers[name]
