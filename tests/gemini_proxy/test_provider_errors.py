"""What of the provider's failures is told, and which of them say that nothing was sent."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from services.gemini_proxy import transport
from services.gemini_proxy.config import MemberSettings
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.provider import Provider
from services.gemini_proxy.provider_errors import without_key
from services.gemini_proxy.question import Text
from tests.gemini_proxy.questions import question

KEY = "a-key-in-a-form-of-its-own"
GOOGLES = "AIzaSyA-0123456789_abcdefghijklmnopqrst"


@asynccontextmanager
async def answering(code: int, body: object) -> AsyncIterator[str]:
    """A server that gives everyone the same answer."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(body, status=code)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def failure_at(base_url: str, **member: object) -> AttemptFailed:
    """What an attempt at a provider there fails with."""
    fields = {"name": "main", "base_url": base_url} | (member or {"api_key": SecretStr(KEY)})
    provider = Provider(MemberSettings(**fields), safety_threshold="OFF")
    await provider.start()
    try:
        with pytest.raises(AttemptFailed) as caught:
            async for _ in provider.stream(question(Text("x")), attempt_id="a", timeout_s=20, uris={}):
                pass
    finally:
        await provider.close()
    return caught.value


def error(code: int, status: str, message: str) -> Mapping[str, object]:
    return {"error": {"code": code, "status": status, "message": message}}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"Consumer 'api_key:{GOOGLES}' has been suspended.", "Consumer '(key)' has been suspended."),
        ("Consumer 'api_key:odd+key/==' has been suspended.", "Consumer '(key)' has been suspended."),
        (f"The key {GOOGLES}, of the project 7", "The key (key), of the project 7"),
        ("x" * 190 + GOOGLES, "x" * 190 + "(key)"),
    ],
)
def test_a_key_in_the_providers_words_is_left_out(said: str, told: str) -> None:
    assert without_key(said) == told


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (400, "INVALID_ARGUMENT", Kind.REFUSED),
        (400, "FAILED_PRECONDITION", Kind.DENIED),
        (403, "PERMISSION_DENIED", Kind.DENIED),
        (404, "NOT_FOUND", Kind.REFUSED),
        (408, "DEADLINE_EXCEEDED", Kind.BROKEN),
        (499, "CANCELLED", Kind.BROKEN),
        (503, "UNAVAILABLE", Kind.BROKEN),
    ],
)
async def test_each_code_has_its_kind_and_no_message_has_the_key(code: int, status: str, kind: Kind) -> None:
    async with answering(code, error(code, status, f"no call with {KEY} is taken")) as base_url:
        failure = await failure_at(base_url)
    assert failure.kind is kind
    assert KEY not in failure.message


async def test_a_connection_that_is_not_made_in_time_was_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # nobody answers the TLS handshake
        failure = await failure_at(f"https://127.0.0.1:{silent.getsockname()[1]}")
    assert (failure.kind, failure.reached_provider) == (Kind.UNREACHABLE, False)


async def test_a_proxy_that_lets_nobody_through_sent_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        failure = await failure_at("https://gemini.test")
    assert failure.kind is Kind.UNREACHABLE


VERTEX = {"vertex": True, "project": "p", "location": "here"}


def credentials_file(folder: Path, token_uri: str) -> Path:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "credentials.json"
    account = {"type": "service_account", "client_email": "a@p.test", "project_id": "p", "token_uri": token_uri}
    file.write_text(json.dumps(account | {"private_key": key.decode()}))
    return file


async def test_credentials_that_give_no_token_are_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(400, {"error": "invalid_grant", "error_description": "Account deleted"}) as base_url:
        file = await asyncio.to_thread(credentials_file, tmp_path, f"{base_url}/token")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        failure = await failure_at(base_url, **VERTEX)
    assert failure.kind is Kind.DENIED


async def test_without_credentials_the_attempt_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    failure = await failure_at("http://127.0.0.1:1", **VERTEX)
    assert failure.kind is Kind.DENIED


async def test_a_server_of_tokens_that_is_away_is_not_the_keys_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await asyncio.to_thread(credentials_file, tmp_path, "http://127.0.0.1:1/token")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    failure = await failure_at("http://127.0.0.1:1", **VERTEX)
    assert failure.kind is Kind.UNREACHABLE
