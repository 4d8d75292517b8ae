"""Who may call, as the gateway's settings say."""

import asyncio
from collections.abc import Callable

from services.gateway.config import GatewaySettings
from services.gateway.policy import Policy
from services.gateway.redis_link import RedisLink
from services.gateway.tenants.audit import AuditLog
from services.gateway.tenants.door import Door
from services.gateway.tenants.identity import Identities
from services.gateway.tenants.jwks import FileSource, Jwks, UrlSource
from services.gateway.tenants.limits import TenantLimits
from services.gateway.tenants.shared_limits import SharedLimits
from services.gateway.tenants.tokens import TokenRules, Tokens
from services.runtime.config import BadSetting


class TenantDesk:
    """Holds the door, and the record of who went through it."""

    def __init__(self, settings: GatewaySettings, policy: Callable[[], Policy], link: RedisLink | None) -> None:
        """`policy` gives the one that holds now."""
        self._audit = AuditLog(settings.audit_file, max_bytes=settings.audit_max_bytes, files=settings.audit_files)
        identities = Identities(policy, _tokens(settings))
        self._limits = TenantLimits(SharedLimits(link) if link else None)
        self.door = Door(identities, self._limits, self._audit)

    def open(self) -> None:
        """Raises BadSetting where the record cannot be written."""
        try:
            self._audit.open()
        except OSError as error:
            raise BadSetting("audit_file", str(error)) from error

    async def run(self) -> None:
        """Keeps the replicas' count of calls, for ever."""
        await self._limits.run()

    async def close(self) -> None:
        await asyncio.to_thread(self._audit.close)


def _tokens(settings: GatewaySettings) -> Tokens | None:
    if settings.jwks_url:
        source = UrlSource(settings.jwks_url)
    elif settings.jwks_file:
        source = FileSource(settings.jwks_file)
    else:
        return None
    rules = TokenRules(
        settings.token_issuer, settings.token_audience, settings.token_algorithms, settings.token_leeway_s
    )
    return Tokens(rules, Jwks(source, refresh_s=settings.jwks_refresh_s))
