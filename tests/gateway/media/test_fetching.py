"""What is fetched, from real servers on loopback."""

import asyncio
import ssl
from pathlib import Path

import pytest

from services.gateway.media.fetching import Fetcher, FetchLimits
from services.gateway.media.room import Room
from services.runtime.errors import InvalidArgument
from tests.gateway.media.web import OUTSIDE, PNG, Names, fetching, outside, trap
from tests.runtime.test_tls import Authority

FIELD = "items[3].media.uri"


def room(each: int = 2**20, together: int = 2**20) -> Room:
    return Room(each, together)


async def test_a_file_is_fetched_as_it_is() -> None:
    async with outside() as server, fetching(ports=[server.port]) as fetcher:
        for _ in range(2):
            assert await fetcher.fetch(f"{server.url}/picture?sig=%2Fa%2Bb+c", room(), tenant="one", field=FIELD) == PNG
    assert server.fetched == ["/picture?sig=%2Fa%2Bb+c"] * 2
    for headers in server.headers:
        assert headers["Accept-Encoding"] == "identity"
        assert not {"Cookie", "Referer", "Authorization"} & headers.keys()


async def test_redirects_are_followed_three_times() -> None:
    async with outside() as server, fetching(ports=[server.port]) as fetcher:
        assert await fetcher.fetch(f"{server.url}/hops?left=3", room(), tenant="one", field=FIELD) == PNG
        assert len(server.fetched) == 4
        with pytest.raises(InvalidArgument, match="more than 3 redirects") as caught:
            await fetcher.fetch(f"{server.url}/hops?left=4", room(), tenant="one", field=FIELD)
        assert len(server.fetched) == 8
    assert caught.value.field == FIELD


async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    names = Names({"rebinding.test": [[OUTSIDE], ["127.0.0.1"]]})
    async with outside() as server, trap() as inside, fetching(names, ports=[server.port, inside.port]) as fetcher:
        assert (
            await fetcher.fetch(f"http://rebinding.test:{server.port}/picture", room(), tenant="one", field=FIELD)
            == PNG
        )
        assert names.asked == ["rebinding.test"]
        with pytest.raises(InvalidArgument, match="none that is public"):
            await fetcher.fetch(f"http://rebinding.test:{inside.port}/", room(), tenant="one", field=FIELD)
    assert names.asked == ["rebinding.test"] * 2
    assert inside.connections == 0


async def test_the_system_looks_names_up_when_nobody_else_does() -> None:
    async with trap() as inside:
        limits = FetchLimits(ports=frozenset({inside.port}), plaintext=True)
        fetcher = Fetcher(limits)
        try:
            for host in ("localhost", "no-such-host.invalid"):
                with pytest.raises(InvalidArgument, match="none that is public"):
                    await fetcher.fetch(f"http://{host}:{inside.port}/", room(), tenant="one", field=FIELD)
        finally:
            await fetcher.close()
    assert inside.connections == 0


async def test_an_allowed_host_may_be_inside() -> None:
    names = Names({"store.internal": [[OUTSIDE]], "other.internal": [[OUTSIDE]]})
    async with outside() as server, fetching(names, ports=[server.port], allowed=["store.internal"]) as fetcher:
        assert (
            await fetcher.fetch(f"http://STORE.internal:{server.port}/picture", room(), tenant="one", field=FIELD)
            == PNG
        )
        for host in ("other.internal", OUTSIDE):
            with pytest.raises(InvalidArgument, match="none that is public"):
                await fetcher.fetch(f"http://{host}:{server.port}/picture", room(), tenant="one", field=FIELD)
    assert len(server.fetched) == 1


async def test_plaintext_and_other_ports_are_off_by_default() -> None:
    limits = FetchLimits()
    assert (limits.plaintext, limits.ports) == (False, {443})
    async with outside() as server, fetching(ports=[server.port], plaintext=False) as fetcher:
        with pytest.raises(InvalidArgument, match="only https:// are fetched"):
            await fetcher.fetch(f"{server.url}/picture", room(), tenant="one", field=FIELD)
    assert server.fetched == []


async def test_https_wants_a_certificate_of_that_host(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(authority.certificate_file))
    names = Names({"files.test": [["127.0.0.1"]]})

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfile")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_tls) as server:
        port = server.sockets[0].getsockname()[1]
        for tls, host, whole in (
            (trusting, "127.0.0.1", True),
            (trusting, "files.test", False),  # the certificate is of another name
            (None, "127.0.0.1", False),  # nobody that the system trusts has signed it
        ):
            async with fetching(names, ports=[port], allowed=["127.0.0.1"], plaintext=False, tls=tls) as fetcher:
                url = f"https://{host}:{port}/"
                if whole:
                    assert await fetcher.fetch(url, room(), tenant="one", field=FIELD) == b"file"
                else:
                    with pytest.raises(InvalidArgument, match="cannot be reached"):
                        await fetcher.fetch(url, room(), tenant="one", field=FIELD)


async def test_files_share_the_room_of_their_request() -> None:
    shared = room(together=len(PNG) + 1)
    async with outside() as server, fetching(ports=[server.port]) as fetcher:
        await fetcher.fetch(f"{server.url}/picture", shared, tenant="one", field=FIELD)
        with pytest.raises(InvalidArgument, match="the request") as caught:
            await fetcher.fetch(f"{server.url}/picture", shared, tenant="one", field="items[4].media.uri")
    assert caught.value.field == "items[4].media.uri"


@pytest.mark.parametrize("what", ["slow", "silent"])
async def test_who_is_cancelled_hangs_up(what: str) -> None:
    async with outside() as server, fetching(ports=[server.port]) as fetcher:
        fetch = asyncio.create_task(fetcher.fetch(f"{server.url}/{what}", room(), tenant="one", field=FIELD))
        async with asyncio.timeout(20):
            while not server.fetched:  # noqa: ASYNC110 - the request has arrived
                await asyncio.sleep(0.001)
            fetch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetch
            await server.hung_up.wait()


async def test_one_tenant_leaves_fetches_to_others() -> None:
    async with outside() as server, fetching(ports=[server.port]) as fetcher:
        silent = f"{server.url}/silent"
        running = [asyncio.create_task(fetcher.fetch(silent, room(), tenant="one", field=FIELD)) for _ in range(40)]
        async with asyncio.timeout(20):
            while len(server.fetched) < 8:  # noqa: ASYNC110 - a quarter of all
                await asyncio.sleep(0.001)
            assert await fetcher.fetch(f"{server.url}/picture", room(), tenant="two", field=FIELD) == PNG
        assert len(server.fetched) == 9
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
