"""The demo's two nodes: processes of their own, in a folder that goes with the demo."""

import random
import signal
import subprocess
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._demo_report import DemoViolation
from ctlha_trio.cli._init import CONFIG_FILE, NODES
from ctlha_trio.door import DATA_SOCKET, STATUS_SOCKET, status_of, switchover_of
from ctlha_trio.seams import TrioClock

POLL_S: Final = 0.02
"""Between two looks at a node's status, which costs it less than a millisecond."""
LAST_WORDS: Final = 5
"""Lines of a dead node's log that go into the verdict."""
_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 32_000
"""Below the ports that Linux gives to those who dial. One of those could be taken while its node is down, even by the
survivor that dials it."""
_PORT_TRIES: Final = 200

_CLOCK: Final = TrioClock()


@attrs.define(eq=False)
class DemoNode:
    """One node and its process, while there is one."""

    name: str
    folder: Path
    _command: Sequence[str]
    _process: trio.Process | None = attrs.field(default=None, init=False)
    _ending: trio.Process | None = attrs.field(default=None, init=False)
    """The process whose end is wanted."""

    @property
    def data_socket(self) -> Path:
        """For clients."""
        return self.folder / DATA_SOCKET

    @property
    def volume(self) -> Path:
        """Its copy."""
        return load_config(self.folder / CONFIG_FILE).volume_path

    async def start(self, nursery: trio.Nursery) -> None:
        """Start its process. If that ends unasked, the nursery gets a ``DemoViolation``."""
        with self._log.open("ab") as log:
            # A group of its own: an interrupt from the terminal is the demo's affair, also while the node boots.
            self._process = await trio.lowlevel.open_process(
                [*self._command, str(self.folder / CONFIG_FILE)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        nursery.start_soon(self._watch, self._process)

    async def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        if self._process is not None:
            self._ending = self._process
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and wait until the process is gone. ``DemoViolation`` if it does not end well."""
        assert self._process is not None
        self._ending = self._process
        self._process.send_signal(signal.SIGTERM)
        code = await self._process.wait()
        if code != 0:
            raise DemoViolation(
                f"node {self.name} ended with {_describe_end(code)} when it was stopped: {self.last_words()}"
            )

    async def status(self) -> dict[str, object]:
        """What it says of itself; empty if it does not answer."""
        try:
            return await status_of(self.folder / STATUS_SOCKET)
        except DisconnectError:
            return {}

    async def wait_status(self, key: str, value: str) -> dict[str, object]:
        """Return its status once that says so."""
        while (status := await self.status()).get(key) != value:
            await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)
        return status

    async def wait_answer(self) -> None:
        """Return once it says anything."""
        while not await self.status():
            await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)

    async def wait_phase(self, phases: Collection[str], since_s: float) -> float:
        """When it first entered one of the phases after a moment. Both on the monotonic clock."""
        while True:
            transitions = (await self.status()).get("transitions")
            for transition in transitions if isinstance(transitions, list) else []:
                phase, _, _ = str(transition.get("what")).partition(":")
                if phase in phases and float(transition.get("at_s", 0)) >= since_s:
                    return float(transition["at_s"])
            await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)

    async def hand_over(self) -> None:
        """Have it give the role to the other node. ``FailedError`` if it does not."""
        await switchover_of(self.folder / STATUS_SOCKET)

    def last_words(self) -> str:
        """The end of its log, in one line."""
        lines = self._log.read_text(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-LAST_WORDS:]) or "it said nothing"

    async def describe(self) -> str:
        """In a few words how it is, for a verdict."""
        status = await self.status()
        if not status:
            return f"node {self.name} does not answer"
        return f"node {self.name} is {status.get('verdict')} as {status.get('role')} ({status.get('reasons')})"

    @property
    def _log(self) -> Path:
        return self.folder.with_suffix(".log")

    async def _watch(self, process: trio.Process) -> None:
        code = await process.wait()
        if process is not self._ending:
            raise DemoViolation(f"node {self.name} ended unasked with {_describe_end(code)}: {self.last_words()}")


def _describe_end(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


@asynccontextmanager
async def demo_nodes(folder: Path, command: Sequence[str]) -> AsyncIterator[tuple[DemoNode, DemoNode]]:
    """The nodes of a pair that was made in ``folder``. Whatever happens, their processes are gone at the end."""
    first, second = (DemoNode(name, folder / name, command) for name in NODES)
    try:
        yield first, second
    finally:
        with trio.CancelScope(shield=True):  # SIGKILL is not refused, so this is short
            await first.kill()
            await second.kill()


async def free_addresses() -> tuple[str, str]:
    """Two free ports of this machine, as addresses."""
    found: list[str] = []
    for port in random.sample(range(_FIRST_PORT, _LAST_PORT), _PORT_TRIES):
        with trio.socket.socket() as probe:
            try:
                await probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(f"127.0.0.1:{port}")
        if len(found) == len(NODES):
            return found[0], found[1]
    raise DemoViolation(f"no free port among {_PORT_TRIES} tried between {_FIRST_PORT} and {_LAST_PORT}")
