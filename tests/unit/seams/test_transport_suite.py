import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ctlha_trio.seams import Buffer, MemoryNetwork, TcpTransport, TlsTransport, describe_key, parse_pin
from ctlha_trio.seams._memory_network import MemoryStream
from ctlha_trio.testing import TRANSPORT_CHECKS, PairFactory, TransportPair


def make_memory_pair() -> TransportPair:
    network = MemoryNetwork()
    return TransportPair(server=network.transport("server"), client=network.transport("client"), address="anywhere")


def make_tcp_pair(address: str = "127.0.0.1:0") -> TransportPair:
    return TransportPair(server=TcpTransport(), client=TcpTransport(), address=address)


def make_tls_pair(address: str = "127.0.0.1:0") -> TransportPair:
    server, client = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    return TransportPair(
        server=TlsTransport(key=server, pins=[parse_pin(describe_key(client))]),
        client=TlsTransport(key=client, pins=[parse_pin(describe_key(server))]),
        address=address,
    )


def make_tls_pair_of_an_older_python() -> TransportPair:
    """Python 3.11.2 sets an option by which the end of TCP reads as no bytes instead of an error."""
    pair = make_tls_pair()
    for transport in (pair.server, pair.client):
        assert isinstance(transport, TlsTransport)
        for context in (transport._client, transport._server):
            context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return pair


def make_tcp_pair_of_ipv6() -> TransportPair:
    return make_tcp_pair("[::1]:0")


def make_tls_pair_of_ipv6() -> TransportPair:
    return make_tls_pair("[::1]:0")


def has_ipv6() -> bool:
    """Whether this machine has the address itself: some are made without."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


PAIRS = [make_memory_pair, make_tcp_pair, make_tls_pair, make_tls_pair_of_an_older_python]
PAIRS += [make_tcp_pair_of_ipv6, make_tls_pair_of_ipv6] if has_ipv6() else []


@pytest.mark.parametrize("make_pair", PAIRS)
@pytest.mark.parametrize("check", TRANSPORT_CHECKS)
async def test_conforms(check: Callable[[PairFactory], Awaitable[None]], make_pair: PairFactory) -> None:
    await check(make_pair)


async def test_a_transport_that_takes_one_piece_at_a_time_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one would be that was written for ``send_nowait(data)``."""
    send = MemoryStream.send_nowait

    def send_nowait(stream: MemoryStream, data: Buffer) -> bool:
        return send(stream, data)

    monkeypatch.setattr(MemoryStream, "send_nowait", send_nowait)
    failed = set[str]()
    for check in TRANSPORT_CHECKS:
        try:
            await check(make_memory_pair)
        except* (AssertionError, TypeError):
            failed.add(check.__name__)
    assert failed == {"check_pieces_are_sent_as_one"}
