"""What a connection over TLS costs a process before it has proved itself: bytes, measured in a process of its own.

``python half_open_cost.py honest`` or ``endless``: what each has sent before it waits.
"""

import resource
import socket
import ssl
import sys

import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ctlha_trio.seams._certificates import make_context
from ctlha_trio.seams._identity import pin_of
from ctlha_trio.seams._tcp_stream import TcpStream, own_socket
from ctlha_trio.seams._tls_stream import MAX_HANDSHAKE_BYTES, wrap

COUNT, NOT_COUNTED = 200, 20
"""Connections; those before them let OpenSSL and Python get what they need once."""
ENDLESS = b"\x16\x03\x01\x40\x00\x01\x00\x80\x00" + bytes(16 * 1024 - 4)


def resident_bytes() -> int:
    """Of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def client_hello(context: ssl.SSLContext) -> bytes:
    """The first flight of an honest handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError


async def main(words: str) -> None:
    """Print it."""
    own, peer = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    server = make_context(own, [pin_of(peer.public_key())], server_side=True)
    client = make_context(peer, [pin_of(own.public_key())], server_side=False)
    first = client_hello(client) if words == "honest" else ENDLESS[: MAX_HANDSHAKE_BYTES - 64]
    before, ends = 0, []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with trio.open_nursery() as nursery:
            for number in range(NOT_COUNTED + COUNT):
                if number == NOT_COUNTED:
                    before = resident_bytes()
                ends.append(socket.create_connection(listening.getsockname()))
                accepted = own_socket(listening.accept()[0].detach())
                ends[-1].sendall(first)
                nursery.start_soon(wrap(TcpStream(accepted, "stranger"), server, server_side=True).handshake)
                await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == NOT_COUNTED + COUNT
            sys.stdout.write(f"{(resident_bytes() - before) // COUNT}\n")
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
