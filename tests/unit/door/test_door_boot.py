"""The status socket of a node that does not come to start."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import FailedError
from ctlha_trio.door import BOOT_S, STATUS_SOCKET, BootDoor, status_of, switchover_of
from ctlha_trio.ha import Reason, booting_status
from ctlha_trio.seams import TrioClock


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for the name of a socket."""
    with TemporaryDirectory() as path:
        yield Path(path)


def boot_door(folder: Path) -> BootDoor:
    return BootDoor(folder, TrioClock(), booting_status("a", ("note",), Reason.DISK_HANGS))


async def test_a_node_that_does_not_start_says_so(folder: Path, mock_clock: MockClock) -> None:
    boot, socket = boot_door(folder), folder / STATUS_SOCKET
    async with trio.open_nursery() as nursery:
        nursery.start_soon(boot.run)
        await wait_all_tasks_blocked()
        mock_clock.jump(BOOT_S - 1)
        await wait_all_tasks_blocked()
        assert not socket.exists()
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        status = await status_of(socket)
        assert (status["verdict"], status["reasons"]) == ("at-risk", ["disk-hangs", "booting"])
        assert (status["node"], status["role"], status["state"]) == ("a", "none", "CTL_HA_STATE_UNKNOWN")
        with pytest.raises(FailedError, match="has not started yet"):
            await switchover_of(socket)
        async with await trio.open_unix_socket(os.fspath(socket)) as stream:
            await stream.send_all(b"[" * 2000 + b"\n")
            assert b"has not started yet" in await stream.receive_some()
        boot.close()
        assert not socket.exists()


async def test_a_node_that_starts_in_time_finds_its_socket_free(folder: Path, mock_clock: MockClock) -> None:
    boot = boot_door(folder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(boot.run)
        await wait_all_tasks_blocked()
        boot.close()
        mock_clock.jump(2 * BOOT_S)
        await wait_all_tasks_blocked()
        assert not (folder / STATUS_SOCKET).exists()


async def test_the_socket_of_another_process_is_left_to_it(
    folder: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = boot_door(folder), boot_door(folder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        await wait_all_tasks_blocked()
        mock_clock.jump(BOOT_S)
        await wait_all_tasks_blocked()
        nursery.start_soon(second.run)
        await wait_all_tasks_blocked()
        mock_clock.jump(BOOT_S)
        await wait_all_tasks_blocked()
        assert "is this node already running?" in caplog.text
        second.close()
        assert await status_of(folder / STATUS_SOCKET)
        first.close()
