import os
import socket
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ctlha_trio._errors import ConfigError, DisconnectError, InvalidError
from ctlha_trio.door import (
    MAX_SOCKET_PATH_BYTES,
    _connect,
    is_answered,
    open_door_client,
    status_of,
    switchover_of,
)
from ctlha_trio.door._connect import connect
from ctlha_trio.door._sockets import BoundSocket, is_own_user

LONG_S = 5.0


def leave_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
        dead.listen()


async def test_a_bound_socket_is_for_its_user_only_and_goes_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bound = BoundSocket.bind(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert is_answered(path)
    bound.close()
    assert not path.exists()
    bound.close()


async def test_a_dead_nodes_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    leave_stale_socket(path)
    assert path.exists()
    assert not is_answered(path)
    bound = BoundSocket.bind(path)
    assert is_answered(path)
    bound.close()


async def test_a_living_nodes_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    living = BoundSocket.bind(path)
    with pytest.raises(ConfigError, match="already running"):
        BoundSocket.bind(path)
    assert is_answered(path)
    living.close()


async def test_a_full_backlog_is_a_living_node(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waiting:
        listening.bind(os.fspath(path))
        listening.listen(0)
        waiting.connect(os.fspath(path))
        assert is_answered(path)
        with pytest.raises(ConfigError):
            BoundSocket.bind(path)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket, whose backlog is full with one connection."""
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waiting:
        listening.bind(os.fspath(tmp_path / "s"))
        listening.listen(0)
        listening.settimeout(LONG_S)
        waiting.connect(os.fspath(tmp_path / "s"))
        yield listening


async def test_a_node_that_takes_no_connection_is_said_to_take_none(
    crowded: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connect, "CONNECT_S", 0.1)
    path = Path(crowded.getsockname())
    for ask in (status_of, switchover_of, partial(open_door_client, client=1)):
        with pytest.raises(DisconnectError, match=r"s: takes no connection within 0\.1 s$"):
            await ask(path)


async def test_a_node_that_others_have_reached_first_is_waited_for(crowded: socket.socket) -> None:
    async def take_one() -> None:
        await wait_all_tasks_blocked()
        crowded.accept()[0].close()

    with trio.fail_after(LONG_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_one)
            stream = await connect(crowded.getsockname())
        with crowded.accept()[0] as accepted:
            await stream.send_all(b"asked")
            assert accepted.recv(5) == b"asked"
        await stream.aclose()


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_what_is_no_socket_is_never_removed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
    with pytest.raises(ConfigError, match="not a socket"):
        BoundSocket.bind(path)
    assert path.exists()


@pytest.mark.parametrize(("length", "fits"), [(MAX_SOCKET_PATH_BYTES, True), (MAX_SOCKET_PATH_BYTES + 1, False)])
async def test_the_longest_path_that_fits(tmp_path: Path, length: int, fits: bool) -> None:
    path = tmp_path / ("x" * (length - len(os.fsencode(tmp_path)) - 1))
    if fits:
        BoundSocket.bind(path).close()
    else:
        with pytest.raises(ConfigError, match="longer than the 107 bytes"):
            BoundSocket.bind(path)


async def test_closing_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = BoundSocket.bind(path)
    path.unlink()
    second = BoundSocket.bind(path)
    first.close()
    assert is_answered(path)
    second.close()


async def test_closing_survives_a_removed_folder(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    bound = BoundSocket.bind(folder / "s")
    (folder / "s").unlink()
    folder.rmdir()
    bound.close()


async def test_the_users_own_processes_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with theirs, trio.socket.from_stdlib_socket(ours) as wrapped:
        stream = trio.SocketStream(wrapped)
        assert is_own_user(stream)
        uid = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
        assert not is_own_user(stream)


async def test_a_socket_that_goes_while_it_is_looked_at_is_no_foreign_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that starts removes what the one before has left, and a client may dial just then."""
    path = tmp_path / "data.sock"
    leave_stale_socket(path)
    look = Path.stat

    def look_before_it_goes(looked_at: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        status = look(looked_at, follow_symlinks=follow_symlinks)
        if looked_at == path:
            path.unlink()
        return status

    monkeypatch.setattr(Path, "stat", look_before_it_goes)
    with pytest.raises(DisconnectError, match="no node listens there"):
        await open_door_client(path, client=1)


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_socket_that_is_missing_where_nobody_may_write_is_a_node_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    """As its file system is read-only since its disk failed. Where only this user may not write, another user may."""
    allowed, found = os.access, os.statvfs(tmp_path)
    flags = found.f_flag & ~os.ST_RDONLY | (os.ST_RDONLY if read_only else 0)
    monkeypatch.setattr(os, "access", lambda asked, mode: not mode & os.W_OK and allowed(asked, mode))
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*tuple(found)[:8], flags, *tuple(found)[9:])))
    expected = DisconnectError if read_only else ConfigError
    for ask in (status_of, partial(open_door_client, client=1)):
        with pytest.raises(expected):
            await ask(tmp_path / "s")


@pytest.mark.parametrize("client", [-1, 1 << 64, 1.0, "x", None], ids=repr)
async def test_a_client_is_a_number_of_64_bits(tmp_path: Path, client: Any) -> None:
    with pytest.raises(InvalidError, match="64 bits"):
        await open_door_client(tmp_path / "s", client=client)


async def test_a_name_that_cannot_be_removed_ends_no_node_with_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    bound = BoundSocket.bind(folder / "s")
    folder.rename(tmp_path / "away")
    folder.touch()
    bound.close()
    assert "cannot be removed" in caplog.text
    assert bound.listener.socket.fileno() == -1
