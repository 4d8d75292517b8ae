"""JSON Web Tokens (https://datatracker.ietf.org/doc/html/rfc7519), checked against the issuer's published keys."""

from dataclasses import dataclass

import jwt

from services.gateway.tenants.jwks import Jwks, JwksUnavailable
from services.runtime.errors import Unauthenticated, Unavailable

# Symmetric ones would make a forger of whoever can check a token; `none` of everybody.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_CHARACTERS = 8_192


@dataclass(frozen=True)
class TokenRules:
    """Which tokens are accepted."""

    issuer: str
    """Their `iss`."""
    audience: str
    """One of their `aud`."""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    """Of `ALGORITHMS`."""
    leeway_s: float = 30.0
    """How far the issuer's clock may be off, in seconds."""

    def __post_init__(self) -> None:
        if unknown := set(self.algorithms) - set(ALGORITHMS):
            raise ValueError(f"no asymmetric algorithm of tokens: {', '.join(sorted(unknown))}")


class Tokens:
    """Checks tokens by `rules` and the keys of `jwks`."""

    def __init__(self, rules: TokenRules, jwks: Jwks) -> None:
        self._rules = rules
        self._jwks = jwks

    async def subject(self, token: str) -> str:
        """The `sub` of a valid token. Raises Unauthenticated; Unavailable where the issuer's keys cannot be had."""
        if len(token) > MAX_CHARACTERS:
            raise Unauthenticated(f"the token has more than {MAX_CHARACTERS:,} characters")
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header["alg"]
            if algorithm not in self._rules.algorithms:
                raise jwt.InvalidAlgorithmError
            claims = jwt.decode(
                token,
                await self._jwks.key(header.get("kid"), algorithm),
                algorithms=[algorithm],
                issuer=self._rules.issuer,
                audience=self._rules.audience,
                leeway=self._rules.leeway_s,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except JwksUnavailable:
            raise Unavailable("tokens cannot be checked now: their issuer's keys cannot be had") from None
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired") from None
        except (jwt.PyJWTError, KeyError, ValueError):  # which rule it breaks is of use to forgers alone
            raise Unauthenticated("the token is not valid here") from None
        return claims["sub"]
