"""A connection to Redis that is reset while it idles, under uvloop, on which the services run."""

import asyncio
import socket
import struct
import threading

import uvloop

from services.gemini_proxy.accounts.books import Lease
from services.gemini_proxy.accounts.errors import BooksUnavailable
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from tests.gemini_proxy.accounts.samples import claim, settings
from tests.valkey import valkey_server


class Relay:
    """Passes connections on to a port, each way by a thread, until they are reset."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        """Ends every connection by RST."""
        for client in self._clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.shutdown(socket.SHUT_RD)
            client.close()
        self._clients.clear()

    def close(self) -> None:
        self.reset()
        self._server.close()

    def _accept(self) -> None:
        try:
            while True:
                client, _ = self._server.accept()
                store = socket.create_connection(("127.0.0.1", self._port))
                self._clients.append(client)
                for ends in ((client, store), (store, client)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()
        except OSError:
            return

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            if sink not in self._clients:
                sink.close()


def test_it_is_a_store_that_is_away_for_a_moment() -> None:
    async def reserve(relay: Relay) -> None:
        client = connect(f"redis://127.0.0.1:{relay.port}", timeout_s=5)
        books = RedisBooks(client, settings())
        assert isinstance(await books.reserve(claim()), Lease)
        relay.reset()
        await asyncio.sleep(0.1)  # for the RST to come
        away = 0
        for _ in range(5):
            try:
                assert isinstance(await books.reserve(claim()), Lease)
            except BooksUnavailable:
                away += 1
        assert away <= 1
        await client.aclose()

    with valkey_server(save="") as store:
        relay = Relay(int(store.connection_url.rpartition(":")[2]))
        uvloop.run(reserve(relay))
        relay.close()
