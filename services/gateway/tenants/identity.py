"""Who calls: proven by a client certificate, a token or an API key, in this order; the first that is shown decides."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import grpc

from services.gateway.policy import Policy, TenantPolicy, matches
from services.gateway.tenants.keys import PREFIX, ApiKeys
from services.gateway.tenants.tokens import Tokens
from services.runtime.callers import certificate_names
from services.runtime.errors import PermissionDenied, Unauthenticated
from services.runtime.tenant import METADATA_KEY, tenant_of

Proof = Literal["certificate", "token", "key", "trust"]


@dataclass(frozen=True)
class Identity:
    """On whose account a call is, and by what right."""

    tenant: str
    policy: TenantPolicy
    """Whose limits hold: the tenant's own, or where it has none those of the caller that acts for it."""
    via: Proof
    """`trust` where the policy names no tenants: whoever can reach the gateway may say who it is."""
    caller: str
    """The tenant that called, which may act for `tenant`."""

    @property
    def may_see_all(self) -> bool:
        """Whether it may see what every tenant uses: it may act for any, or the policy names none."""
        return self.via == "trust" or "*" in self.policy.may_act_for

    def may_use(self, model: str) -> bool:
        """Whether the tenant may use `model`, by its name `models/NAME`."""
        return self.policy.may_use(model)


class Identities:
    """Args:
    policy: as it is now.
    tokens: checks them; none are accepted when None.
    """

    def __init__(self, policy: Callable[[], Policy], tokens: Tokens | None = None) -> None:
        self._policy = policy
        self._tokens = tokens
        self._known: tuple[Policy | None, ApiKeys] = None, ApiKeys(())

    async def of(self, context: grpc.aio.ServicerContext) -> Identity:
        """Whose call it is.

        Raises:
            Unauthenticated: nothing that is shown proves one of the policy's tenants.
            PermissionDenied: the caller names another tenant, and may not act for it.
            InvalidArgument: `chiasm-tenant` is no name.
            Unavailable: tokens cannot be checked now.
        """
        policy = self._policy()
        if not policy.tenants:
            name = tenant_of(context)
            return Identity(name, TenantPolicy(name=name), "trust", caller=name)
        caller, via = await self._proven(policy, context)
        tenant = tenant_of(context) if _given(context, METADATA_KEY) else caller.name
        if tenant == caller.name:
            return Identity(tenant, caller, via, caller=tenant)
        if not matches(tenant, caller.may_act_for):
            raise PermissionDenied(f"{caller.name} may not act for {tenant}")
        own = next((other for other in policy.tenants if other.name == tenant), caller)
        return Identity(tenant, own, via, caller=caller.name)

    async def _proven(self, policy: Policy, context: grpc.aio.ServicerContext) -> tuple[TenantPolicy, Proof]:
        names = certificate_names(context)
        for tenant in policy.tenants:
            if any(matches(name, tenant.certificate_names) for name in names):
                return tenant, "certificate"
        secret = _secret(context)
        if secret.startswith(PREFIX):
            if (tenant := self._keys(policy).owner(secret)) is not None:
                return tenant, "key"
            raise Unauthenticated("the API key is not known here")
        if self._tokens is None:
            raise Unauthenticated("the token cannot be used: this gateway takes API keys and client certificates")
        subject = await self._tokens.subject(secret)
        for tenant in policy.tenants:
            if matches(subject, tenant.jwt_subjects):
                return tenant, "token"
        raise Unauthenticated("the token's subject is not known here")

    def _keys(self, policy: Policy) -> ApiKeys:
        if self._known[0] is not policy:
            self._known = policy, ApiKeys(policy.tenants)
        return self._known[1]


def _secret(context: grpc.aio.ServicerContext) -> str:
    """The token or key that the metadata hold. Raises Unauthenticated."""
    shown = [*_given(context, "authorization"), *(f"Bearer {key}" for key in _given(context, "x-api-key"))]
    if not shown:
        raise Unauthenticated("send an API key or a token as `authorization: Bearer ...`, or show a certificate")
    scheme, _, secret = str(shown[0]).partition(" ")
    if len(shown) > 1 or scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("send one `authorization: Bearer ...` or one `x-api-key`")
    return secret.strip()


def _given(context: grpc.aio.ServicerContext, name: str) -> list[str | bytes]:
    return [value for key, value in context.invocation_metadata() or () if key == name]
