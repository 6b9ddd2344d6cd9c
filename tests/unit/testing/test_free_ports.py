import socket
from collections.abc import Iterator

import pytest

from ctlha_trio.testing._processes import free_ports


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port on which somebody listens, the first of the few that there are."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(free_ports, "ETCD_PORTS", range(port, port + 1))
        monkeypatch.setattr(free_ports, "BASE_PORTS", range(port, port + 1))
        yield port


def test_a_port_on_which_somebody_listens_is_not_free(taken: int) -> None:
    assert not free_ports.is_free(taken)
    with pytest.raises(AssertionError, match="no free ports"):
        free_ports.free_etcd_ports(1)
    with pytest.raises(AssertionError, match="no free ports"):
        free_ports.free_base_port()


def test_a_pair_has_neither_node_where_somebody_listens(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_ports, "BASE_PORTS", range(taken - 2, taken - 1))
    with pytest.raises(AssertionError, match="no free ports"):
        free_ports.free_base_port()


def test_ports_that_are_free_are_different_ones() -> None:
    ports = free_ports.free_etcd_ports(6)
    assert len({*ports, free_ports.free_base_port()}) == 7
    assert all(map(free_ports.is_free, ports))
