"""Ports of this machine on which nobody listens, for processes that tests start. Below those that clients are given."""

import random
import socket
from typing import Final

ETCD_PORTS: Final = range(10_000, 19_000)
BASE_PORTS: Final = range(20_000, 32_000, 4)

_LOOPBACK: Final = "127.0.0.1"


def free_etcd_ports(count: int) -> list[int]:
    """That many, different ones. ``AssertionError`` if there are not so many."""
    free = (port for port in random.sample(ETCD_PORTS, len(ETCD_PORTS)) if is_free(port))
    found = [port for port, _ in zip(free, range(count), strict=False)]
    assert len(found) == count, "no free ports"
    return found


def free_base_port() -> int:
    """A base of a pair on this machine whose two link ports are free. ``AssertionError`` if there is none."""
    for port in random.sample(BASE_PORTS, len(BASE_PORTS)):
        if is_free(port) and is_free(port + 2):
            return port
    raise AssertionError("no free ports")


def is_free(port: int) -> bool:
    """Whether a process could listen there on loopback."""
    with socket.socket() as probe:
        # As whoever is started sets it: what a connection of before has left behind does not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
