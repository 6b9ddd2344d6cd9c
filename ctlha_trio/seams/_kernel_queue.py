"""What the kernel tells of a TCP connection, and what it may hold of one in front of a message."""

import socket
import sys

UNSENT_BYTES = 256 * 1024
"""That the kernel takes before they can be sent. A message waits behind them: a quarter of a millisecond at a gigabyte
a second. With half of it a sender that is held up wakes twice as often. No path is slower for it, since what is under
way does not count. What has come and was not read is not bounded here: with a receive buffer of fixed size the kernel
drops what comes in small pieces, and has it sent again."""

RECEIVED_AT = slice(128, 136)
"""Where Linux has ``tcpi_bytes_received`` in its ``struct tcp_info``: all that the other side sent, read or not."""


def bound_unsent(tcp: socket.socket) -> None:
    """Let little wait in the kernel to be sent."""
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def received_bytes(tcp: socket.socket) -> int:
    """How much has come by a connection since it began, whether it was read or not."""
    information = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RECEIVED_AT.stop)
    return int.from_bytes(information[RECEIVED_AT], sys.byteorder)
