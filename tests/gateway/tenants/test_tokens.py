"""Tokens against real key sets: a file, and a real HTTP server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.gateway.tenants.jwks import MAX_BYTES, FileSource, Jwks, UrlSource
from services.gateway.tenants.tokens import ALGORITHMS, TokenRules, Tokens
from services.runtime.errors import Unauthenticated, Unavailable

RULES = TokenRules(issuer="https://issuer.test", audience="chiasm", leeway_s=5)
SECRET = "0123456789abcdef0123456789abcdef"


class Issuer:
    """Signs tokens; `document` is its published key set."""

    def __init__(self, kid: str = "one") -> None:
        self.kid = kid
        self.key = rsa.generate_private_key(65_537, 2_048)

    @property
    def document(self) -> bytes:
        own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key())) | {"kid": self.kid, "use": "sig"}
        shared = {"kty": "oct", "kid": "shared", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "alg": "HS256"}
        return json.dumps({"keys": [own, shared]}).encode()

    def token(self, key: Any = None, algorithm: str = "RS256", kid: str | None = None, **claims: Any) -> str:
        now = datetime.now(UTC)
        whole = {
            "iss": "https://issuer.test",
            "aud": "chiasm",
            "sub": "service-a",
            "iat": now,
            "exp": now + timedelta(minutes=5),
        }
        whole = {name: value for name, value in (whole | claims).items() if value is not None}
        return jwt.encode(whole, key or self.key, algorithm, headers={"kid": kid or self.kid})


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def tokens(folder: Path, issuer: Issuer) -> Tokens:
    (folder / "jwks.json").write_bytes(issuer.document)
    return Tokens(RULES, Jwks(FileSource(folder / "jwks.json")))


async def test_a_valid_token_names_its_subject(tmp_path: Path, issuer: Issuer) -> None:
    checked = tokens(tmp_path, issuer)
    assert await checked.subject(issuer.token()) == "service-a"
    assert await checked.subject(issuer.token(aud=["other", "chiasm"], sub="b")) == "b"
    just_expired = datetime.now(UTC) - timedelta(seconds=1)
    assert await checked.subject(issuer.token(exp=just_expired)) == "service-a"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.test"},
        {"aud": "other"},
        {"sub": None},
        {"exp": None},
        {"aud": None},
        {"iss": None},
        {"sub": 7},
        {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
        {"nbf": datetime(2100, 1, 1, tzinfo=UTC)},
    ],
    ids=str,
)
async def test_a_token_that_breaks_a_rule_is_refused(tmp_path: Path, issuer: Issuer, claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        await tokens(tmp_path, issuer).subject(issuer.token(**claims))


async def test_forgeries_are_refused(tmp_path: Path, issuer: Issuer) -> None:
    checked = tokens(tmp_path, issuer)
    header, payload, signature = issuer.token().split(".")
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forgeries = [
        Issuer().token(),  # another key under the same name
        issuer.token(SECRET, "HS256", kid="shared"),
        issuer.token(ec.generate_private_key(ec.SECP256R1()), "ES256"),
        issuer.token(Ed25519PrivateKey.generate(), "EdDSA"),
        jwt.encode({"sub": "a"}, None, "none", headers={"kid": "one"}),
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{_relabelled(header, 'RS512')}.{payload}.{signature}",
        issuer.token(kid="unknown"),
        "",
        "a.b",
        "....",
        "\N{GRINNING FACE}",
        "a" * 10_000,
    ]
    assert public
    for forgery in forgeries:
        with pytest.raises(Unauthenticated) as caught:
            await checked.subject(forgery)
        assert not forgery or forgery not in str(caught.value)


def _relabelled(header: str, algorithm: str) -> str:
    content = json.loads(jwt.utils.base64url_decode(header)) | {"alg": algorithm}
    return jwt.utils.base64url_encode(json.dumps(content).encode()).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_each_algorithm_may_be_configured(tmp_path: Path, algorithm: str) -> None:
    scheme = jwt.get_algorithm_by_name(algorithm)
    key = {
        "RS": lambda: rsa.generate_private_key(65_537, 2_048),
        "PS": lambda: rsa.generate_private_key(65_537, 2_048),
        "ES": lambda: ec.generate_private_key(scheme.expected_curve()),
        "Ed": Ed25519PrivateKey.generate,
    }[algorithm[:2]]()
    published = scheme.to_jwk(key.public_key(), as_dict=True)
    issuer = Issuer()

    async def accepted(*allowed: str, **members: str) -> bool:
        (tmp_path / "jwks.json").write_text(json.dumps({"keys": [published | {"kid": "one"} | members]}))
        rules = TokenRules(RULES.issuer, RULES.audience, allowed)
        try:
            await Tokens(rules, Jwks(FileSource(tmp_path / "jwks.json"))).subject(issuer.token(key, algorithm))
        except Unauthenticated:
            return False
        return True

    others = tuple(other for other in ALGORITHMS if other != algorithm)
    assert await accepted(algorithm)
    assert await accepted(*ALGORITHMS, alg=algorithm, use="sig")
    assert not await accepted(*others)
    assert not await accepted(*ALGORITHMS, alg=others[0])  # the key is for another


def test_symmetric_algorithms_cannot_be_configured() -> None:
    for algorithm in ("HS256", "none"):
        with pytest.raises(ValueError, match="asymmetric"):
            TokenRules(issuer="i", audience="a", algorithms=(algorithm,))


class Publisher:
    """Publishes a key set over HTTP."""

    def __init__(self, issuer: Issuer) -> None:
        self.content = issuer.document
        self.status = 200
        self.asked = 0
        self.url = ""
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.was_asked.set()
        await self.may_answer.wait()
        headers = {"Location": "/keys"} if self.status == 302 else {}
        return web.Response(body=self.content, status=self.status, headers=headers)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Publisher"]:
        app = web.Application()
        app.router.add_get("/keys", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
        try:
            yield self
        finally:
            await runner.cleanup()


async def test_a_rotated_key_is_found_with_one_more_look(issuer: Issuer) -> None:
    rotated = Issuer("two")
    async with Publisher(issuer).serving() as publisher:
        checked = Tokens(RULES, Jwks(UrlSource(publisher.url), least_refresh_s=0))
        await asyncio.gather(*(checked.subject(issuer.token()) for _ in range(20)))
        assert publisher.asked == 1
        publisher.content = rotated.document
        assert await checked.subject(rotated.token()) == "service-a"
        assert publisher.asked == 2


async def test_a_token_waits_for_the_reading_that_another_began(issuer: Issuer) -> None:
    async with Publisher(issuer).serving() as publisher, asyncio.timeout(20):
        checked = Tokens(RULES, Jwks(UrlSource(publisher.url)))
        publisher.may_answer.clear()
        first = asyncio.create_task(checked.subject(issuer.token()))
        await publisher.was_asked.wait()
        second = asyncio.create_task(checked.subject(issuer.token()))
        await asyncio.sleep(0)
        first.cancel()
        publisher.may_answer.set()
        assert await second == "service-a"
        assert publisher.asked == 1


async def test_a_token_whose_key_is_known_waits_for_no_other(issuer: Issuer) -> None:
    async with Publisher(issuer).serving() as publisher, asyncio.timeout(20):
        checked = Tokens(RULES, Jwks(UrlSource(publisher.url), refresh_s=0, least_refresh_s=0))
        assert await checked.subject(issuer.token()) == "service-a"
        publisher.may_answer.clear()
        publisher.was_asked.clear()
        refreshing = asyncio.create_task(checked.subject(issuer.token()))
        await publisher.was_asked.wait()
        assert await checked.subject(issuer.token()) == "service-a"
        assert not refreshing.done()
        publisher.may_answer.set()
        assert await refreshing == "service-a"


async def test_unknown_keys_do_not_make_a_storm(issuer: Issuer) -> None:
    async with Publisher(issuer).serving() as publisher:
        checked = Tokens(RULES, Jwks(UrlSource(publisher.url), least_refresh_s=60))
        for number in range(20):
            with pytest.raises(Unauthenticated):
                await checked.subject(issuer.token(kid=f"unknown-{number}"))
        assert publisher.asked == 1


@pytest.mark.parametrize("fault", ["status", "redirect", "size", "garbage", "list", "null", "text", "none", "types"])
async def test_while_the_issuer_fails_the_keys_had_stay(issuer: Issuer, fault: str) -> None:
    async with Publisher(issuer).serving() as publisher:
        jwks = Jwks(UrlSource(publisher.url), refresh_s=0, least_refresh_s=0)
        checked, fresh = Tokens(RULES, jwks), Tokens(RULES, Jwks(UrlSource(publisher.url)))
        assert await checked.subject(issuer.token()) == "service-a"
        publisher.status = {"status": 500, "redirect": 302}.get(fault, 200)
        publisher.content = {
            "size": b" " * (MAX_BYTES + 1) + issuer.document,
            "garbage": b"{]",
            "list": b"[]",
            "null": b"null",
            "text": b'{"keys": "abc"}',
            "none": b'{"keys": []}',
            "types": b'{"keys": [{"kty": "RSA", "kid": []}]}',
        }.get(fault, b"")
        assert await checked.subject(issuer.token()) == "service-a"
        assert publisher.asked == 2
        with pytest.raises(Unavailable) as caught:
            await fresh.subject(issuer.token())
        assert "127.0.0.1" not in str(caught.value)
