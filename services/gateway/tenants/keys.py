"""API keys: `chk_` and 32 random bytes. The policy holds their digests alone.

A plain SHA-256 is right for them: slow, salted hashes are for passwords that people choose and others guess; 256
random bits cannot be guessed. For the same reason a digest may be looked up in a dict: who sees how long that takes
learns something of a digest that cannot be aimed at. The last comparison takes the same time for all keys anyway.
"""

import hashlib
import hmac
from collections.abc import Iterable

from services.gateway.policy import TenantPolicy

PREFIX = "chk_"
MAX_CHARACTERS = 128


def digest(key: str) -> str:
    """As the policy has it: `sha256:` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


class ApiKeys:
    """The keys of `tenants`."""

    def __init__(self, tenants: Iterable[TenantPolicy]) -> None:
        self._owners = {key: (key, tenant) for tenant in tenants for key in tenant.api_keys}

    def owner(self, key: str) -> TenantPolicy | None:
        """Whose `key` is; None where it is nobody's."""
        if len(key) > MAX_CHARACTERS:
            return None
        shown = digest(key)
        known, tenant = self._owners.get(shown, ("", None))
        return tenant if hmac.compare_digest(shown, known) else None
