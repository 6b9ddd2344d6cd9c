"""Two nodes as a new user starts them: by their commands, as processes of their own."""

import hashlib
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.door import DATA_SOCKET, STATUS_SOCKET, DoorClient, open_door_client, status_of
from ctlha_trio.seams import TrioClock

POLL_S = 0.02
START_S = 30.0
"""For what needs a process to start, on a machine that is busy with something else."""

CLOCK = TrioClock()


@attrs.frozen
class Finished:
    """What a command that ended left behind."""

    code: int
    out: str
    err: str


async def run_ctlha(*arguments: str | Path) -> Finished:
    """One command, to its end."""
    with trio.fail_after(START_S):
        done = await trio.run_process(
            [sys.executable, "-m", "ctlha_trio", *map(str, arguments)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


def is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_base_port() -> int:
    """A base whose two link ports are free, below those that the system gives to clients."""
    return next(port for port in random.sample(range(20_000, 32_000, 4), 1000) if is_free(port) and is_free(port + 2))


@attrs.define(eq=False)
class HandPair:
    """A pair in a folder, and the processes that were started for it."""

    folder: Path
    base_port: int
    _processes: dict[str, trio.Process] = attrs.field(factory=dict)

    def config(self, node: str) -> Path:
        return self.folder / node / "node.toml"

    def edit(self, node: str, old: str, new: str) -> None:
        text = self.config(node).read_text()
        assert old in text
        self.config(node).write_text(text.replace(old, new))

    def pin_in(self, node: str) -> str:
        """The pin that the node has of its peer."""
        found = re.search(r'pins = \["(.*)"\]', self.config(node).read_text())
        assert found is not None
        return found[1]

    def log(self, node: str) -> str:
        return (self.folder / f"{node}.log").read_text()

    def fingerprint(self, folder: str = "") -> dict[str, str]:
        """Every file below and its content; logs of this test are left out."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in (self.folder / folder).rglob("*")
            if path.suffix != ".log"
        }

    async def start(self, node: str) -> None:
        with (self.folder / f"{node}.log").open("ab") as log:
            self._processes[node] = await trio.lowlevel.open_process(
                [sys.executable, "-m", "ctlha_trio", "node", str(self.config(node))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def end(self, node: str, number: int) -> int:
        """Send a signal and return the exit code."""
        self._processes[node].send_signal(number)
        return await self.wait_ended(node)

    async def kill(self, node: str) -> None:
        await self.end(node, signal.SIGKILL)

    async def wait_ended(self, node: str) -> int:
        with trio.fail_after(START_S):
            return await self._processes.pop(node).wait()

    async def status(self, node: str) -> dict[str, object]:
        try:
            return await status_of(self.folder / node / STATUS_SOCKET)
        except DisconnectError:
            return {}

    async def wait_for(self, node: str, *, within_s: float = START_S, **wanted: object) -> dict[str, object]:
        """Its status, once that has the wanted fields."""
        deadline_s = time.monotonic() + within_s
        while True:
            status = await self.status(node)
            if status and all(status[key] == value for key, value in wanted.items()):
                return status
            assert time.monotonic() < deadline_s, f"{wanted} not within {within_s} s: {status}\n{self.log(node)}"
            await CLOCK.sleep_until(CLOCK.now() + POLL_S)

    async def wait_protected(self) -> None:
        for node in ("a", "b"):
            await self.wait_for(node, verdict="protected")

    async def primary(self) -> str:
        for node in ("a", "b"):
            if (await self.status(node)).get("role") == "primary":
                return node
        raise AssertionError("no primary")

    async def connect(self, node: str, client: int, nursery: trio.Nursery) -> DoorClient:
        door = await open_door_client(self.folder / node / DATA_SOCKET, client=client)
        nursery.start_soon(door.receive_replies)
        return door

    async def end_all(self) -> None:
        with trio.CancelScope(shield=True):
            for node in list(self._processes):
                process = self._processes.pop(node)
                process.kill()
                await process.wait()


@pytest.fixture
async def hand_pair(tmp_path: Path) -> AsyncIterator[HandPair]:
    """A pair that was just made; nothing runs."""
    pair = HandPair(tmp_path / "pair", free_base_port())
    made = await run_ctlha("init", pair.folder, "--size", "1M", "--base-port", str(pair.base_port))
    assert made.code == 0, made.err
    try:
        yield pair
    finally:
        await pair.end_all()


@pytest.fixture
async def protected_pair(hand_pair: HandPair) -> HandPair:
    """A pair whose nodes run and are in sync."""
    await hand_pair.start("a")
    await hand_pair.start("b")
    await hand_pair.wait_protected()
    return hand_pair
