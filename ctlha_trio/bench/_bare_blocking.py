"""Blocking sockets, each side in a thread: the limit of what Python can send and receive."""

import socket
import time

from ctlha_trio._errors import DisconnectError

CHUNK_BYTES = 1024 * 1024
"""Of one ``sendall``, and of one transfer between the nodes."""
_READY = b"r"


def send_chunks(connection: socket.socket, count: int) -> float:
    """Seconds from the receiver's word that it is ready to its word that all is there."""
    chunk = bytes(CHUNK_BYTES)
    _expect_ready(connection)
    began_s = time.perf_counter()
    for _ in range(count):
        connection.sendall(chunk)
    _expect_ready(connection)
    return time.perf_counter() - began_s


def receive_chunks(connection: socket.socket, count: int) -> float:
    """Seconds from this side's word that it is ready to the last byte."""
    chunk = memoryview(bytearray(CHUNK_BYTES))
    began_s = time.perf_counter()
    connection.sendall(_READY)
    for _ in range(count):
        _fill(connection, chunk)
    took_s = time.perf_counter() - began_s
    connection.sendall(_READY)
    return took_s


def _fill(connection: socket.socket, chunk: memoryview) -> None:
    filled = 0
    while filled < len(chunk):
        received = connection.recv_into(chunk[filled:])
        if not received:
            raise DisconnectError("a connection to compare with was closed")
        filled += received


def _expect_ready(connection: socket.socket) -> None:
    if connection.recv(1) != _READY:
        raise DisconnectError("a connection to compare with was closed")
