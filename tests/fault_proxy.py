"""A proxy before a gRPC server that breaks responses at a chosen boundary.

It knows as much of HTTP/2 (https://www.rfc-editor.org/rfc/rfc9113#section-4) as that takes: frames, and the messages in
them. A response is counted in pieces: 0 is its headers, then each message, and its trailers are the last.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

_PREFACE_BYTES = 24
_DATA, _HEADERS, _RST_STREAM, _GOAWAY = 0, 1, 3, 7
_END_STREAM = 1
_INTERNAL_ERROR = struct.pack(">I", 2)
_PREFIX_BYTES = 5
_DRIBBLE_S = 0.02
_CLOSE_S = 0.05


class Fault(StrEnum):
    """What is done in a piece's place."""

    CUT = "cut"
    """The connection is reset."""
    CUT_INSIDE = "cut_inside"
    """The connection is reset amid the piece."""
    HALF_CLOSE = "half_close"
    """The server's side of the connection ends in order."""
    GOAWAY = "goaway"
    """The server says that it processes no stream of the connection."""
    RESET = "reset"
    """The stream alone is reset."""
    END = "end"
    """The stream ends in order, without trailers."""
    STALL = "stall"
    """Nothing of the stream comes any more; the connection lives on."""
    CORRUPT_FRAME = "corrupt_frame"
    """The bits of the frame's header are turned."""
    CORRUPT_MESSAGE = "corrupt_message"
    """The bits of the frame's payload are turned."""
    CORRUPT_BODY = "corrupt_body"
    """The bits of the payload are turned but for the length that gRPC puts before a message."""
    SLOW = "slow"
    """This piece and those after it come a byte at a time."""


@dataclass(frozen=True)
class Break:
    """A fault, and the piece in whose place it comes."""

    fault: Fault
    piece: int


@dataclass
class _Stream:
    breaks: Break
    pieces: int = 0
    unread: bytearray = field(default_factory=bytearray)
    gone: bool = False
    cancelled: bool = False
    """By the client."""


class FaultProxy:
    """Breaks the responses to requests that hold one of the marks in `breaks`; passes all else on."""

    def __init__(self, upstream: str) -> None:
        """`upstream` is `host:port`."""
        self._host, port = upstream.rsplit(":", 1)
        self._port = int(port)
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.breaks: dict[bytes, Break] = {}
        self.broken = 0
        """Faults made so far."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultProxy"]:
        """Listens on a free port, `address`."""
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            self.address = f"127.0.0.1:{listener.getsockname()[1]}"
            loop.add_reader(listener, self._accept, listener)
            try:
                yield self
            finally:
                loop.remove_reader(listener)
                while self._connections:
                    for writer in self._writers:
                        writer.transport.abort()
                    # One that is still being opened is closed the next time.
                    await asyncio.wait(self._connections, timeout=_CLOSE_S)

    def _accept(self, listener: socket.socket) -> None:
        # Not by asyncio's server: it loses connections that come while it closes.
        with suppress(BlockingIOError):
            connection = asyncio.create_task(self._connect(listener.accept()[0]))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        client, to_client = await asyncio.open_connection(sock=accepted)
        async with self._closing(to_client):
            server, to_server = await asyncio.open_connection(self._host, self._port)
            async with self._closing(to_server):
                streams: dict[int, _Stream] = {}
                pumps = [
                    asyncio.create_task(self._pass_requests(client, to_server, streams)),
                    asyncio.create_task(self._pass_responses(server, to_client, streams)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)

    @asynccontextmanager
    async def _closing(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        """Resets the connection at the end; one that is lost ends the block."""
        self._writers.add(writer)
        with suppress(OSError):
            try:
                yield
            finally:
                writer.transport.abort()
                self._writers.discard(writer)
                await writer.wait_closed()

    async def _pass_requests(
        self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter, streams: dict[int, _Stream]
    ) -> None:
        with suppress(OSError, EOFError):
            to_server.write(await client.readexactly(_PREFACE_BYTES))
            while True:
                frame = await _Frame.read(client)
                if frame.type == _DATA:
                    for mark, breaks in self.breaks.items():
                        if mark in frame.payload:
                            streams[frame.stream] = _Stream(breaks)
                if frame.type == _RST_STREAM and frame.stream in streams:
                    streams[frame.stream].cancelled = True
                to_server.write(frame.encoded)
                await to_server.drain()

    async def _pass_responses(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, streams: dict[int, _Stream]
    ) -> None:
        with suppress(OSError, EOFError):
            while True:
                frame = await _Frame.read(server)
                stream = streams.get(frame.stream)
                if stream is None or frame.type not in (_DATA, _HEADERS):
                    to_client.write(frame.encoded)
                else:
                    for piece in _pieces(frame, stream):
                        await self._pass(piece, stream, to_client)
                await to_client.drain()

    async def _pass(self, frame: "_Frame", stream: _Stream, to_client: asyncio.StreamWriter) -> None:
        fault, number = stream.breaks.fault, stream.pieces
        stream.pieces += 1
        if stream.gone:
            return
        if number == stream.breaks.piece:
            self.broken += 1
        if fault is Fault.SLOW and number >= stream.breaks.piece:
            await _dribble(frame.encoded, stream, to_client)
        elif number == stream.breaks.piece:
            stream.gone = True
            await _break(fault, frame, to_client)
        else:
            to_client.write(frame.encoded)


@dataclass(frozen=True)
class _Frame:
    type: int
    flags: int
    stream: int
    payload: bytes

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> "_Frame":
        """Raises EOFError at the end."""
        high, low, type_, flags, stream = struct.unpack(">BHBBI", await reader.readexactly(9))
        return cls(type_, flags, stream & 0x7FFFFFFF, await reader.readexactly(high << 16 | low))

    @property
    def encoded(self) -> bytes:
        size = len(self.payload)
        return struct.pack(">BHBBI", size >> 16, size & 0xFFFF, self.type, self.flags, self.stream) + self.payload


def _pieces(frame: _Frame, stream: _Stream) -> list[_Frame]:
    """The pieces that end in `frame`: of DATA, each whole message as a frame of its own."""
    if frame.type == _HEADERS:
        return [frame]
    stream.unread += frame.payload
    pieces = []
    while len(stream.unread) >= _PREFIX_BYTES:
        size = _PREFIX_BYTES + int.from_bytes(stream.unread[1:_PREFIX_BYTES], "big")
        if len(stream.unread) < size:
            break
        pieces.append(_Frame(_DATA, 0, frame.stream, bytes(stream.unread[:size])))
        del stream.unread[:size]
    return pieces


async def _dribble(data: bytes, stream: _Stream, to_client: asyncio.StreamWriter) -> None:
    """A byte at a time, and the rest at once when the client has left: other streams of the connection wait."""
    for i, byte in enumerate(data):
        if to_client.is_closing():
            return
        if stream.cancelled:
            to_client.write(data[i:])
            return
        to_client.write(bytes([byte]))
        await asyncio.sleep(_DRIBBLE_S)


async def _break(fault: Fault, frame: _Frame, to_client: asyncio.StreamWriter) -> None:
    match fault:
        case Fault.CUT_INSIDE:
            to_client.write(frame.encoded[: 9 + len(frame.payload) // 2])
            await to_client.drain()
            _reset(to_client)
        case Fault.CUT:
            _reset(to_client)
        case Fault.HALF_CLOSE:
            to_client.write_eof()
        case Fault.GOAWAY:
            to_client.write(_Frame(_GOAWAY, 0, 0, struct.pack(">I", 0) + _INTERNAL_ERROR).encoded)
        case Fault.RESET:
            to_client.write(_Frame(_RST_STREAM, 0, frame.stream, _INTERNAL_ERROR).encoded)
        case Fault.END:
            to_client.write(_Frame(_DATA, _END_STREAM, frame.stream, b"").encoded)
        case Fault.CORRUPT_FRAME:
            to_client.write(_turned(frame.encoded[:9]) + frame.payload)
        case Fault.CORRUPT_MESSAGE:
            to_client.write(frame.encoded[:9] + _turned(frame.payload))
        case Fault.CORRUPT_BODY:
            to_client.write(frame.encoded[: 9 + _PREFIX_BYTES] + _turned(frame.payload[_PREFIX_BYTES:]))
        case Fault.STALL:
            pass


def _turned(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes the connection by an RST, which unread data or a lingering time of 0 makes of a close."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
