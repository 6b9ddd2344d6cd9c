"""Trio's own sockets and its ``SSLStream``: what a program of Trio's would use without a framework."""

import time
from typing import Final

import trio
from trio.socket import SocketType

from ctlha_trio._errors import DisconnectError
from ctlha_trio.bench._bare_blocking import CHUNK_BYTES
from ctlha_trio.bench._orders import MESSAGE

Secure = trio.SSLStream[trio.SocketStream]
_READY: Final = b"r"


async def ping_socket(connection: SocketType, count: int) -> list[float]:
    """Seconds of each message there and back."""
    took_s, buffer = [], memoryview(bytearray(len(MESSAGE)))
    for _ in range(count):
        began_s = time.perf_counter()
        await connection.send(MESSAGE)
        await _fill_from_socket(connection, buffer)
        took_s.append(time.perf_counter() - began_s)
    return took_s


async def pong_socket(connection: SocketType, count: int) -> None:
    """Send each message back."""
    buffer = memoryview(bytearray(len(MESSAGE)))
    for _ in range(count):
        await _fill_from_socket(connection, buffer)
        await connection.send(buffer)


async def _fill_from_socket(connection: SocketType, buffer: memoryview) -> None:
    filled = await connection.recv_into(buffer)
    while filled < len(buffer):
        received = await connection.recv_into(buffer[filled:])
        if not received:
            raise _closed()
        filled += received


async def ping_stream(connection: Secure, count: int) -> list[float]:
    """Seconds of each message there and back."""
    took_s = []
    for _ in range(count):
        began_s = time.perf_counter()
        await connection.send_all(MESSAGE)
        await _receive(connection, len(MESSAGE))
        took_s.append(time.perf_counter() - began_s)
    return took_s


async def pong_stream(connection: Secure, count: int) -> None:
    """Send each message back."""
    for _ in range(count):
        await _receive(connection, len(MESSAGE))
        await connection.send_all(MESSAGE)


async def send_chunks(connection: Secure, count: int) -> float:
    """Seconds from the receiver's word that it is ready to its word that all is there."""
    chunk = bytes(CHUNK_BYTES)
    await _receive(connection, len(_READY))
    began_s = time.perf_counter()
    for _ in range(count):
        await connection.send_all(chunk)
    await _receive(connection, len(_READY))
    return time.perf_counter() - began_s


async def receive_chunks(connection: Secure, count: int) -> float:
    """Seconds from this side's word that it is ready to the last byte."""
    began_s = time.perf_counter()
    await connection.send_all(_READY)
    await _receive(connection, count * CHUNK_BYTES)
    took_s = time.perf_counter() - began_s
    await connection.send_all(_READY)
    return took_s


async def _receive(connection: Secure, size: int) -> None:
    """Take so many bytes, which nobody keeps."""
    while size:
        received = await connection.receive_some(min(size, CHUNK_BYTES))
        if not received:
            raise _closed()
        size -= len(received)


def _closed() -> DisconnectError:
    return DisconnectError("a connection to compare with was closed")
