"""Files of the web, fetched from public addresses alone.

A caller chooses what is fetched, and the gateway stands where the caller does not: so whatever a URL, a redirect or a
name server says, no connection is made to an address that is not public or allowed. The address that was checked is the
one connected to: a host is resolved once a connection, by the connection itself.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from services.gateway.media.addresses import NONE_ALLOWED, AllowedHosts, parsed
from services.gateway.media.failures import not_fetched
from services.gateway.media.room import Room
from services.gateway.media.slots import Slots

MAX_URI_CHARACTERS = 2_048

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a host name. Raises OSError where it has none."""

# As RFC 3986 has it, but for `\`, which some readers take for `/`.
_URI = re.compile(r"[!-\[\]-~]+")
_REDIRECTS = {301, 302, 303, 307, 308}
# Compressed, a small body could be a large file: none is asked for, and none is taken.
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "chiasm-gateway"}
# One answer for both, so that nobody learns from it which names are known inside.
_NOT_PUBLIC = "the host has no address, or none that is public"


@dataclass(frozen=True)
class FetchLimits:
    """What is fetched."""

    timeout_s: float = 10.0
    """Longest time of one file, redirects included."""
    max_redirects: int = 3
    max_concurrent: int = 32
    """Files fetched at once, a quarter of them for one tenant; more wait."""
    ports: frozenset[int] = frozenset({443})
    plaintext: bool = False
    """Whether `http://` is taken too."""
    allowed: AllowedHosts = NONE_ALLOWED


class Fetcher:
    """Args:
    limits: what is fetched.
    lookup: how hosts are looked up; as the system does when None.
    tls: whom to trust; whom the system trusts when None.
    """

    def __init__(self, limits: FetchLimits, *, lookup: Lookup | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._limits = limits
        self._slots = Slots(limits.max_concurrent)
        # Looking a name up cannot be cancelled: whatever a name server takes, it takes these threads alone, of which
        # one tenant's fetches leave some to others.
        self._threads = ThreadPoolExecutor(max_workers=limits.max_concurrent, thread_name_prefix="media-lookup")
        resolver = _CheckedResolver(lookup or self._system_lookup, limits.allowed)
        self._session = aiohttp.ClientSession(
            # Without a cache of its own: what it connects to is what the resolver has just checked.
            connector=aiohttp.TCPConnector(
                resolver=resolver, use_dns_cache=False, limit=limits.max_concurrent, ssl=tls or True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),  # one caller's cookies are not another's
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.timeout_s),
            headers=_HEADERS,
            auto_decompress=False,
        )

    async def fetch(self, uri: str, room: Room, *, tenant: str, field: str) -> bytes:
        """The file at `uri`. Raises InvalidArgument naming `field` where it is not fetched or too large.

        It waits its turn as one of `tenant`'s.
        """
        async with self._slots.slot(tenant):
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    return await self._follow(uri, room, field)
            except aiohttp.ClientConnectorDNSError as error:
                raise not_fetched(_NOT_PUBLIC, field) from error
            except TimeoutError as error:
                raise not_fetched(f"the file was not there within {self._limits.timeout_s:g} s", field) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise not_fetched("the server there cannot be reached, or its answer broke off", field) from error

    async def close(self) -> None:
        await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self, uri: str, room: Room, field: str) -> bytes:
        url = self._checked(uri, field)
        for _ in range(self._limits.max_redirects + 1):
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await _body(response, room, field)
                url = self._checked(_target(url, response, field), field)
        raise not_fetched(f"more than {self._limits.max_redirects} redirects", field)

    def _checked(self, uri: str, field: str) -> URL:
        """The URL, whose host is a name yet to be looked up, or an address that may be connected to."""
        limits = self._limits
        if len(uri) > MAX_URI_CHARACTERS:
            raise not_fetched(f"the URL has more than {MAX_URI_CHARACTERS:,} characters", field)
        if not _URI.fullmatch(uri):
            raise not_fetched("not a URL: percent-encode what is not plain ASCII", field)
        try:
            url = URL(uri, encoded=True)
            port, host = url.port, parsed(url.raw_host or "")
        except ValueError as error:
            raise not_fetched("not a URL with a host name or an address in its usual form", field) from error
        schemes = ("https", "http") if limits.plaintext else ("https",)
        if url.scheme not in schemes:
            raise not_fetched(f"only {' and '.join(f'{scheme}://' for scheme in schemes)} are fetched", field)
        if "@" in url.raw_authority:
            raise not_fetched("a URL with a user name or password is not fetched", field)
        if port not in limits.ports:
            raise not_fetched(f"port {port} is not fetched from", field)
        if not isinstance(host, str) and not limits.allowed.admit(str(host), host):
            raise not_fetched(_NOT_PUBLIC, field)
        return url

    async def _system_lookup(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, socket.getaddrinfo, host, None, 0, socket.SOCK_STREAM)
        return [str(sockaddr[0]) for *_, sockaddr in found]


class _CheckedResolver(AbstractResolver):
    """Gives a connection the addresses that it may connect to, as numbers, which nobody resolves again."""

    def __init__(self, lookup: Lookup, allowed: AllowedHosts) -> None:
        self._lookup = lookup
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        name = str(parsed(host))
        addresses = [ip_address(address) for address in await self._lookup(name)]
        # One bad address among good ones is no accident.
        if not addresses or not all(self._allowed.admit(name, address) for address in addresses):
            raise OSError(_NOT_PUBLIC)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _target(url: URL, response: aiohttp.ClientResponse, field: str) -> str:
    location = response.headers.get("Location", "")
    if not _URI.fullmatch(location):
        raise not_fetched("a redirect leads to no URL", field)
    return str(url.join(URL(location, encoded=True)))


async def _body(response: aiohttp.ClientResponse, room: Room, field: str) -> bytes:
    if response.status != 200:
        raise not_fetched(f"the server there answers with status {response.status}", field)
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise not_fetched("the server there sends a compressed body, unasked", field)
    body = bytearray()
    async for chunk in response.content.iter_any():
        room.take(len(body), len(chunk), field)
        body += chunk
    return bytes(body)
