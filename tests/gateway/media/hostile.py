"""URLs that a caller with bad intent would send, and what becomes of each."""

import asyncio
from dataclasses import dataclass

from services.gateway.media.room import Room
from services.runtime.errors import InvalidArgument
from tests.gateway.media.web import OUTSIDE, Names, fetching, outside, trap

MAX_BYTES = 256 * 2**10
FIELD = "messages[0].parts[0].media.uri"


@dataclass(frozen=True)
class Tried:
    """What came of the table."""

    urls: list[str]
    fetched: list[str]
    """URLs whose bytes came."""
    inside: int
    """Connections to what is inside."""
    told: list[str]
    """What callers were told."""


def hostile_names() -> Names:
    """Name servers of attackers."""
    outside, inside = [OUTSIDE], ["127.0.0.1"]
    return Names(
        {
            "files.test": [outside],
            "internal.test": [inside],
            "localhost": [["127.0.0.1", "::1"]],
            "db.localhost": [inside],
            "inside6.test": [["::1"]],
            "mapped.test": [["::ffff:127.0.0.1"]],
            "nat64.test": [["64:ff9b::7f00:1"]],
            "link.test": [["fe80::1%lo"]],
            "any.test": [["0.0.0.0"]],  # noqa: S104 - as a name server says it
            "mixed.test": [[OUTSIDE, "127.0.0.1"]],
            "metadata.google.internal": [["169.254.169.254"]],
            "rebinding.test": [outside, inside],
            "silent.test": [[]],
        }
    )


def hostile_urls(inside: int, outside: int) -> list[str]:
    """The table. `inside` is the port of what must not be reached, `outside` that of the attackers' own server."""
    server = f"http://files.test:{outside}"
    return [
        # schemes
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        f"ftp://127.0.0.1:{inside}/x",
        f"gopher://127.0.0.1:{inside}/_INFO",
        f"dict://127.0.0.1:{inside}/info",
        f"ws://127.0.0.1:{inside}/",
        "data:image/png;base64,iVBORw0KGgo=",
        f"//127.0.0.1:{inside}/",
        f"http:127.0.0.1:{inside}/",
        "https://",
        # one address, many ways to write it
        f"http://127.0.0.1:{inside}/",
        f"https://127.0.0.1:{inside}/",
        f"http://127.0.0.1.:{inside}/",
        f"http://127.1:{inside}/",
        f"http://127.0.1:{inside}/",
        f"http://2130706433:{inside}/",
        f"http://4294967296:{inside}/",
        f"http://0x7f000001:{inside}/",
        f"http://0x7f.0x0.0x0.0x1:{inside}/",
        f"http://0x7F.1:{inside}/",
        f"http://0177.0.0.1:{inside}/",
        f"http://017700000001:{inside}/",
        f"http://127.0.0.1%00.test:{inside}/",
        f"http://%31%32%37.0.0.1:{inside}/",
        f"http://①②⑦.⓪.⓪.①:{inside}/",
        f"http://127。0。0。1:{inside}/",
        f"http://127.0.0.3:{inside}/",
        f"http://0.0.0.0:{inside}/",
        f"http://0:{inside}/",
        f"http://[::1]:{inside}/",
        f"http://[0:0:0:0:0:0:0:1]:{inside}/",
        f"http://[::]:{inside}/",
        f"http://[::ffff:127.0.0.1]:{inside}/",
        f"http://[::ffff:7f00:1]:{inside}/",
        f"http://[::127.0.0.1]:{inside}/",
        f"http://[64:ff9b::7f00:1]:{inside}/",
        f"http://[64:ff9b:1::7f00:1]:{inside}/",
        f"http://[2002:7f00:1::]:{inside}/",
        f"http://[2001:0:7f00:1:0:0:80ff:fffe]:{inside}/",
        f"http://[fe80::1%25lo]:{inside}/",
        f"http://[::1%25lo]:{inside}/",
        # metadata and other networks
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[fd20:ce::254]/computeMetadata/v1/",
        "http://100.100.100.200/latest/meta-data/",
        "http://168.63.129.16/machine",
        "http://192.0.0.192/opc/v2/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://10.0.0.1/",
        "http://172.31.255.255/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://198.18.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[fc00::1]/",
        "http://[ff02::1]/",
        # who is the host?
        f"http://files.test@127.0.0.1:{inside}/",
        f"http://files.test:80@127.0.0.1:{inside}/",
        f"http://127.0.0.1:{inside}@files.test:{outside}/picture",
        f"http://@127.0.0.1:{inside}/",
        f"http://127.0.0.1:{inside}\\@files.test:{outside}/picture",
        f"http://files.test\\@127.0.0.1:{inside}/",
        f"http://files.test:{outside} @127.0.0.1:{inside}/",
        f"http://files.test:{outside}\r\nHost: 127.0.0.1/picture",
        f"http://127.0.0.1\t:{inside}/",
        f"http://127.0.0.1:{inside}/?{'x' * 2_048}",
        # names that lead inside
        f"http://localhost:{inside}/",
        f"http://LOCALHOST.:{inside}/",
        f"http://db.localhost:{inside}/",
        f"http://internal.test:{inside}/",
        f"http://inside6.test:{inside}/",
        f"http://mapped.test:{inside}/",
        f"http://nat64.test:{inside}/",
        f"http://link.test:{inside}/",
        f"http://any.test:{inside}/",
        f"http://mixed.test:{inside}/",
        f"http://silent.test:{inside}/",
        f"http://unknown.test:{inside}/",
        # ports
        f"http://{OUTSIDE}:22/",
        f"http://{OUTSIDE}:6379/",
        f"http://{OUTSIDE}:0/",
        f"http://{OUTSIDE}:65536/",
        # redirects
        f"{server}/to?url=http://127.0.0.1:{inside}/",
        f"{server}/to?url=http://127.0.0.1:{inside}/&status=301",
        f"{server}/to?url=http://127.0.0.1:{inside}/&status=303",
        f"{server}/to?url=http://127.0.0.1:{inside}/&status=308",
        f"{server}/to?url=//127.0.0.1:{inside}/",
        f"{server}/to?url=http://[::1]:{inside}/",
        f"{server}/to?url=http://2130706433:{inside}/",
        f"{server}/to?url=http://internal.test:{inside}/",
        f"{server}/to?url=http://files.test@127.0.0.1:{inside}/",
        f"{server}/to?url=gopher://127.0.0.1:{inside}/_INFO",
        f"{server}/to?url=file:///etc/passwd",
        f"{server}/to?url={server}/to?url=http://127.0.0.1:{inside}/",
        f"{server}/loop",
        f"{server}/hops?left=4",
        f"{server}/nowhere",
        # the first answer leads outside, the second inside, where the redirect comes back to the same name
        f"http://rebinding.test:{outside}/to?url=http://rebinding.test:{inside}/",
        # bodies
        f"{server}/large",
        f"{server}/endless",
        f"{server}/slow",
        f"{server}/silent",
        f"{server}/bomb",
        f"{server}/cut",
        f"{server}/missing",
        f"{server}/headers_without_end",
    ]


async def try_hostile_urls(timeout_s: float) -> Tried:
    """Fetches the whole table at once; whoever is slow is given up after `timeout_s` seconds."""
    async with trap() as inside, outside() as server:
        urls = hostile_urls(inside.port, server.port)
        ports = {inside.port, server.port}
        async with fetching(hostile_names(), ports=ports, timeout_s=timeout_s) as fetcher:
            outcomes = await asyncio.gather(
                # Of many tenants: those of one would wait for each other.
                *(fetcher.fetch(url, Room(MAX_BYTES, MAX_BYTES), tenant=url, field=FIELD) for url in urls),
                return_exceptions=True,
            )
        connections = inside.connections
    unexpected = [o for o in outcomes if isinstance(o, BaseException) and not isinstance(o, InvalidArgument)]
    if unexpected:
        raise unexpected[0]
    return Tried(
        urls=urls,
        fetched=[url for url, outcome in zip(urls, outcomes, strict=True) if isinstance(outcome, bytes)],
        inside=connections,
        told=[outcome.message for outcome in outcomes if isinstance(outcome, InvalidArgument)],
    )
