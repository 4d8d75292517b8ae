"""The public keys that an issuer signs tokens with (https://datatracker.ietf.org/doc/html/rfc7517)."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import jwt

logger = logging.getLogger(__name__)

MAX_BYTES = 2**20
FETCH_S = 5.0
LEAST_REFRESH_S = 10.0
"""Seconds between two looks, however many tokens name keys that nobody knows."""

KEY_TYPES = ("RSA", "EC", "OKP")
"""A symmetric key in a public place proves nothing."""


class JwksUnavailable(Exception):
    """The keys were never had. The message is for the log."""


class Source(Protocol):
    """Where the keys are."""

    async def read(self) -> bytes:
        """The document, of at most `MAX_BYTES`. Raises OSError, aiohttp.ClientError or ValueError."""


class FileSource:
    """A file, which may be replaced at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> bytes:
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            return _bounded(file.read(MAX_BYTES + 1))


class UrlSource:
    """An address of the issuer's, as the operator gave it."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self) -> bytes:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_S)) as session,
            session.get(self._url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            content = bytearray()
            async for piece in response.content.iter_chunked(65_536):
                content += piece
                _bounded(content)
            return bytes(content)


class Jwks:
    """Keys by their `kid`, read again every `refresh_s` seconds and when an unknown one is named.

    Args:
        source: where they are.
        refresh_s: seconds after which they are read again; those had stay where that fails.
        least_refresh_s: seconds between two readings at least.
    """

    def __init__(self, source: Source, *, refresh_s: float = 300.0, least_refresh_s: float = LEAST_REFRESH_S) -> None:
        self._source = source
        self._refresh_s = refresh_s
        self._least_refresh_s = least_refresh_s
        self._keys: dict[str | None, dict[str, Any]] | None = None
        self._read_at = -float("inf")
        self._reading: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key with this id, for tokens that are signed with `algorithm`.

        Raises KeyError where there is none, jwt.PyJWTError where it is for another algorithm, JwksUnavailable where
        none were ever had.
        """
        if self._due(kid) and not (self._reading and kid in (self._keys or ())):
            self._reading = self._reading or asyncio.create_task(self._read(), name="read the keys of tokens")
            await asyncio.shield(self._reading)  # it goes on for others when this call ends
        if self._keys is None:
            raise JwksUnavailable
        key = self._keys[kid]
        if key.get("alg", algorithm) != algorithm:
            raise jwt.InvalidAlgorithmError
        return jwt.PyJWK(key, algorithm)

    def _due(self, kid: str | None) -> bool:
        age_s = asyncio.get_running_loop().time() - self._read_at
        wanted = self._keys is None or kid not in self._keys or age_s >= self._refresh_s
        return wanted and age_s >= self._least_refresh_s

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                self._keys = _keys(await self._source.read())
        except (OSError, ValueError, aiohttp.ClientError) as error:
            logger.warning("the keys of tokens cannot be read", extra={"why": type(error).__name__})
        finally:
            self._read_at = asyncio.get_running_loop().time()
            self._reading = None


def _keys(document: bytes) -> dict[str | None, dict[str, Any]]:
    """Those that may sign tokens, by their ids. Raises ValueError where there are none."""
    try:
        members = json.loads(document)["keys"]
        keys = {key.get("kid"): key for key in members if key["kty"] in KEY_TYPES and key.get("use", "sig") == "sig"}
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("no key set") from None
    if not keys:
        raise ValueError("no keys for tokens")
    return keys


def _bounded(content: bytes | bytearray) -> bytes | bytearray:
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    return content
