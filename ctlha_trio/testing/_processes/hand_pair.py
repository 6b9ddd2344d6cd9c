"""A pair as a user runs it, by its commands: each node a process of its own, which can be killed and stopped."""

import hashlib
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.door import (
    DATA_SOCKET,
    DECISIONS_FILE,
    STATUS_SOCKET,
    DoorClient,
    Reply,
    open_door_client,
    status_of,
)
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.testing._processes.free_ports import free_base_port

POLL_S: Final = 0.02
START_S: Final = 30.0
"""For what needs a process to start, on a machine that is busy with something else."""

SIZE_BYTES: Final = 1024 * 1024
NODES: Final = ("a", "b")
OTHER: Final = {"a": "b", "b": "a"}

NODE_PROGRAM: Final = ("-m", "ctlha_trio")
"""Arguments of Python that are ``ctlha``."""

_LOOPBACK: Final = "127.0.0.1"
_BOTH_ON_LOOPBACK: Final[Mapping[str, str]] = dict.fromkeys(NODES, _LOOPBACK)
_STARTED_HERE: Final[Mapping[str, Sequence[str]]] = dict.fromkeys(NODES, ())
_CLOCK: Final = TrioClock()


@attrs.frozen
class Finished:
    """What a command that ended left behind."""

    code: int
    out: str
    err: str


async def run_ctlha(*arguments: str | Path, launcher: Sequence[str] = ()) -> Finished:
    """One command, to its end. ``launcher`` is put before it."""
    with trio.fail_after(START_S):
        done = await trio.run_process(
            [*launcher, sys.executable, *NODE_PROGRAM, *map(str, arguments)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


@attrs.define(eq=False)
class HandPair:
    """A pair in a folder, and the processes that were started for it."""

    folder: Path
    base_port: int
    size_bytes: int = SIZE_BYTES
    hosts: Mapping[str, str] = _BOTH_ON_LOOPBACK
    launchers: Mapping[str, Sequence[str]] = _STARTED_HERE
    """Put before a node's command, such as what takes it to another network."""
    _processes: dict[str, trio.Process] = attrs.field(factory=dict, init=False)

    def address(self, node: str) -> str:
        """Of its link."""
        return f"{self.hosts[node]}:{self.base_port + (2 if node == 'b' else 0)}"

    def config(self, node: str) -> Path:
        """Its configuration."""
        return self.folder / node / "node.toml"

    def volume(self, node: str) -> Path:
        """Its copy."""
        return self.folder / node / "volume.img"

    def edit(self, node: str, old: str, new: str) -> None:
        """Change what its configuration says."""
        text = self.config(node).read_text()
        assert old in text
        self.config(node).write_text(text.replace(old, new))

    def pin_in(self, node: str) -> str:
        """The pin that the node has of its peer."""
        found = re.search(r'pins = \["(.*)"\]', self.config(node).read_text())
        assert found is not None
        return found[1]

    def log(self, node: str) -> str:
        """What all its processes have said."""
        return (self.folder / f"{node}.log").read_text()

    def fingerprint(self, folder: str = "") -> dict[str, str]:
        """Every file below and its content; the logs of this test, and those of decisions, are left out."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in (self.folder / folder).rglob("*")
            if path.suffix != ".log" and path.name != DECISIONS_FILE
        }

    def decisions(self, node: str) -> list[dict[str, Any]]:
        """Its log of decisions, line by line."""
        return [json.loads(line) for line in (self.folder / node / DECISIONS_FILE).read_text().splitlines()]

    def changes(self, node: str, since: int, until: int) -> list[tuple[str, int]]:
        """What its log of decisions calls the records behind ``since``, as far as ``until``, and their epochs.

        A line is written beside what it tells of; at the end of the process all are.
        """
        lines = [line for line in self.decisions(node) if "after" in line]
        return [(line["decision"], line["epoch"]) for line in lines if since < line["epoch"] <= until]

    def faults(self, node: str) -> list[str]:
        """What it said about its configuration, each as ``key: problem``."""
        start = f"{self.config(node)}: "
        return [line.removeprefix(start) for line in self.log(node).splitlines() if line.startswith(start)]

    async def start(self, node: str, program: Sequence[str] = NODE_PROGRAM) -> None:
        """Start its process; returns at once."""
        with (self.folder / f"{node}.log").open("ab") as log:
            self._processes[node] = await trio.lowlevel.open_process(
                [*self.launchers[node], sys.executable, *program, "node", str(self.config(node))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def replace_disk(self, node: str) -> None:
        """One that was killed loses its backing file, with the metadata in it, and is started with a new one."""
        self.volume(node).unlink()
        done = await run_ctlha("replace", self.config(node), node)
        assert done.code == 0, done.err
        await self.start(node)

    def pid(self, node: str) -> int:
        """Of its process."""
        return self._processes[node].pid

    def send_signal(self, node: str, number: int) -> None:
        """Returns at once."""
        self._processes[node].send_signal(number)

    async def end(self, node: str, number: int) -> int:
        """Send a signal and return the exit code."""
        self.send_signal(node, number)
        return await self.wait_ended(node)

    async def kill(self, node: str) -> None:
        """SIGKILL, and wait until the process is gone."""
        await self.end(node, signal.SIGKILL)

    async def wait_ended(self, node: str) -> int:
        """The exit code of its process."""
        with trio.fail_after(START_S):
            code = await self._processes[node].wait()
        del self._processes[node]
        return code

    async def status(self, node: str) -> dict[str, object]:
        """What it says of itself; empty if it does not answer."""
        try:
            return await status_of(self.folder / node / STATUS_SOCKET)
        except DisconnectError:
            return {}

    async def wait_for(self, node: str, *, within_s: float = START_S, **wanted: object) -> dict[str, object]:
        """Its status, once that has the wanted fields."""
        return await self.wait_until(
            node, lambda status: all(status[key] == value for key, value in wanted.items()), within_s=within_s
        )

    async def wait_until(
        self,
        node: str,
        is_wanted: Callable[[dict[str, object]], bool],
        *,
        within_s: float = START_S,
        poll_s: float = POLL_S,
    ) -> dict[str, object]:
        """Its status, once that is as wanted. ``AssertionError`` with status and log if that takes too long."""
        deadline_s = time.monotonic() + within_s
        while True:
            status = await self.status(node)
            if status and is_wanted(status):
                return status
            if time.monotonic() >= deadline_s:
                raise AssertionError(f"{node} is not as wanted within {within_s} s: {status}\n{self.log(node)}")
            await _CLOCK.sleep_until(_CLOCK.now() + poll_s)

    async def wait_logged(self, node: str, text: str) -> None:
        """Return once its processes have said that."""
        with trio.fail_after(START_S):
            while text not in self.log(node):
                await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)

    async def decided(self, node: str, decision: str, having: str = "decision") -> dict[str, Any]:
        """The last line of its log of decisions that has this field, once that is of this decision.

        A line is written beside what it tells of.
        """

        def is_last(lines: Sequence[Mapping[str, Any]]) -> bool:
            return [line["decision"] for line in lines if having in line][-1:] == [decision]

        return [line for line in await self.wait_decisions(node, is_last) if having in line][-1]

    async def wait_decisions(
        self, node: str, is_wanted: Callable[[Sequence[Mapping[str, Any]]], bool]
    ) -> list[dict[str, Any]]:
        """Its log of decisions, once that is as wanted. ``AssertionError`` with the log if that takes too long."""
        lines: list[dict[str, Any]] = []
        with trio.move_on_after(START_S):
            while True:
                with suppress(FileNotFoundError):
                    lines = self.decisions(node)
                if is_wanted(lines):
                    return lines
                await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)
        raise AssertionError(f"the decisions of {node} are not as wanted: {lines}")

    async def start_protected(self, program: Sequence[str] = NODE_PROGRAM) -> None:
        """Start both nodes; return once they are in sync."""
        for node in NODES:
            await self.start(node, program)
        await self.wait_protected()

    async def wait_protected(self) -> None:
        """Return once both nodes say so of one epoch: one of them may not have heard of a loss yet."""
        deadline_s = time.monotonic() + START_S
        while True:
            epochs = [(await self.wait_for(node, verdict="protected"))["epoch"] for node in NODES]
            again = await self.status(NODES[0])
            if (again.get("verdict"), again.get("epoch")) == ("protected", epochs[1]):
                return
            assert time.monotonic() < deadline_s, f"not protected in one epoch: {epochs}, {again}"
            await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)

    async def epoch(self, node: str) -> int:
        """In which it stands."""
        epoch = (await self.status(node))["epoch"]
        assert isinstance(epoch, int)
        return epoch

    async def primary(self) -> str:
        """The node that says that it is primary."""
        for node in NODES:
            if (await self.status(node)).get("role") == "primary":
                return node
        raise AssertionError("no primary")

    async def node_that_is(self, role: str) -> str:
        """The primary, or else the other one."""
        primary = await self.primary()
        return primary if role == "primary" else OTHER[primary]

    async def connect(self, node: str, client: int, nursery: trio.Nursery) -> DoorClient:
        """A client of its data socket, whose replies are received in the nursery."""
        door = await open_door_client(self.folder / node / DATA_SOCKET, client=client)
        nursery.start_soon(door.receive_replies)
        return door

    async def write_and_read(
        self, node: str, client: int, writes: Mapping[int, bytes], found: Mapping[int, bytes]
    ) -> None:
        """Write blocks by their number, then find these, as a client that has asked for nothing before.

        What the node answers `not primary` to was not executed: on a busy machine it may come to serve only then.
        """
        async with trio.open_nursery() as nursery:
            door = await self.connect(node, client, nursery)
            numbers = itertools.count(1)

            async def served(kind: OperationKind, block: int, **what: Any) -> Reply:
                with trio.fail_after(START_S):
                    while True:
                        reply = await door.execute(kind, number=next(numbers), offset=block * BLOCK_BYTES, **what)
                        if reply.outcome is not Outcome.NOT_PRIMARY:
                            assert reply.outcome is Outcome.DONE
                            return reply
                        await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)

            for block, data in writes.items():
                await served(OperationKind.WRITE, block, data=data)
            for block, data in found.items():
                assert bytes((await served(OperationKind.READ, block, size=BLOCK_BYTES)).data) == data
            door.close()

    async def end_all(self) -> None:
        """Kill what still runs."""
        with trio.CancelScope(shield=True):
            for node in list(self._processes):
                process = self._processes.pop(node)
                process.kill()
                await process.wait()


@asynccontextmanager
async def made_pair(
    folder: Path,
    *arguments: str,
    size_bytes: int = SIZE_BYTES,
    hosts: Mapping[str, str] = _BOTH_ON_LOOPBACK,
    launchers: Mapping[str, Sequence[str]] = _STARTED_HERE,
) -> AsyncIterator[HandPair]:
    """A pair that was just made; nothing runs. ``arguments`` are for ``ctlha init``, which is run where node a is."""
    pair = HandPair(folder, free_base_port(), size_bytes, hosts, launchers)
    size_and_port = ("--size", str(size_bytes), "--base-port", str(pair.base_port))
    made = await run_ctlha("init", folder, *size_and_port, *arguments, launcher=launchers["a"])
    assert made.code == 0, made.err
    for node in NODES:
        for other in NODES:
            address = pair.address(other)
            pair.edit(node, f'"{address.replace(hosts[other], _LOOPBACK)}"', f'"{address}"')
    try:
        yield pair
    finally:
        await pair.end_all()
