"""Scripts by which two links act, of which nothing is left to chance.

``recorded/version-N-SCRIPT.txt`` is what both said when N was the newest version of the protocol. It is never made
anew for a version that was released: nodes of that version are in use. For a version in the making:
``python -m tests.unit.link.recorded_scripts N``.

Node ``a`` dials. Time stands still but for the steps that let it go on.
"""

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import attrs
import trio
import trio.testing

from ctlha_trio._errors import CtlHaError
from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.dma import Dma, Rights
from ctlha_trio.link import Channel, ChannelEvent, Link, LinkConfig, Transfer
from ctlha_trio.seams import MemoryNetwork, Transport, TrioClock
from ctlha_trio.testing._pairs.deterministic_trio import scheduling_from
from ctlha_trio.wire import KnownRecord
from tests.unit.link.recorded_link import Record, TappedTransport

FOLDER: Final = Path(__file__).parent / "recorded"
TICK_S: Final = 0.125
"""A little more than from one heartbeat to the next, and exact in binary."""
EPOCH: Final = 4
MEMORY: Final = bytes(range(32))
KEY_SIZE: Final = 16
SLOT_SIZE: Final = 16


def key(node: str, number: int) -> bytes:
    """The keys of a node, in the order in which it makes them."""
    return node.encode() + bytes([number]) * (KEY_SIZE - 1)


@attrs.define(eq=False)
class Entropy:
    """Keys as above; the half of a session likewise; and the shortest back-off."""

    node: str
    keys: int = 0

    def __call__(self, size: int) -> bytes:
        if size == KEY_SIZE:
            self.keys += 1
            return key(self.node, self.keys)
        return self.node.encode() * size if size == 4 else bytes(size)


@attrs.define(eq=False)
class Party:
    """A link and its consumer."""

    link: Link
    channel: Channel
    dma: Dma
    nursery: trio.Nursery
    reports: list[CtlHaError]
    events: list[ChannelEvent] = attrs.field(factory=list)
    memory: bytearray = attrs.field(factory=lambda: bytearray(MEMORY))
    into: bytearray = attrs.field(factory=lambda: bytearray(KEY_SIZE))
    transfers: list[Transfer] = attrs.field(factory=list)
    done: list[Transfer] = attrs.field(factory=list)

    def register(self) -> None:
        """Two keys for the same memory: to write, and to read."""
        self.dma.register(self.memory, epoch=EPOCH)
        self.dma.register(self.memory, epoch=EPOCH, rights=Rights.READ)

    def send(self, *texts: str) -> None:
        for text in texts:
            self.channel.send_nowait(text.encode().ljust(SLOT_SIZE, b"."))

    def receive(self, count: int) -> None:
        for _ in range(count):
            self.channel.receive_nowait()

    async def hear(self) -> None:
        while True:
            self.events += await self.channel.receive_events()

    def push(self, number: int) -> None:
        remote = RemoteBuffer(key("b", number), 8)
        self.transfers.append(self.dma.start_push(remote, b"pushed", on_done=self.done.append))

    def pull(self, number: int) -> None:
        remote = RemoteBuffer(key("b", number), 8)
        self.transfers.append(self.dma.start_pull(remote, memoryview(self.into), on_done=self.done.append))

    def cancel(self) -> None:
        for transfer in self.transfers[-1:]:
            transfer.cancel()

    def push_message(self) -> None:
        message = b"placed".ljust(SLOT_SIZE, b".")
        self.link.push_nowait(RemoteBuffer(key("b", 1)), b"data", self.channel, message)

    def leave(self) -> None:
        self.nursery.start_soon(self.link.goodbye, "stopped")


@attrs.define(eq=False)
class World:
    """Both sides of a script, or one of them."""

    network: MemoryNetwork
    clock: trio.testing.MockClock
    parties: dict[str, Party] = attrs.field(factory=dict)


@attrs.frozen
class Step:
    """What one node does, or else what happens to the world."""

    title: str
    act: Callable[[Party], None] = lambda _: None
    node: str = ""
    happen: Callable[[World], None] = lambda _: None

    def take(self, world: World) -> None:
        if self.node in world.parties:
            self.act(world.parties[self.node])
        self.happen(world)


def a(title: str, act: Callable[[Party], None]) -> Step:
    return Step(f"a {title}", act, "a")


def b(title: str, act: Callable[[Party], None]) -> Step:
    return Step(f"b {title}", act, "b")


def tick(title: str) -> Step:
    return Step(title, happen=lambda world: world.clock.jump(TICK_S))


def cut_off_b(world: World) -> None:
    """If it is here: who only says what is recorded hears no more and no less for it."""
    if "b" in world.parties:
        world.network.cut("a", "b")


@attrs.frozen
class Script:
    steps: tuple[Step, ...]
    b_changes: Mapping[str, str] = MappingProxyType({})
    b_knows: KnownRecord | None = None


SCRIPTS: Final = {
    "session": Script(
        (
            tick("a first heartbeat is answered"),
            tick("and the next"),
            b("registers memory", Party.register),
            a("sends a message", lambda party: party.send("one")),
            a("sends more at once than b has room for", lambda party: party.send("two", "three", "four")),
            b("receives them", lambda party: party.receive(4)),
            b("answers", lambda party: party.send("five", "six")),
            a("receives that", lambda party: party.receive(2)),
            a("pushes with a message behind it", Party.push_message),
            b("receives the message", lambda party: party.receive(1)),
            a("pushes", lambda party: party.push(1)),
            a("pushes without the right", lambda party: party.push(2)),
            a("pulls", lambda party: party.pull(2)),
            a("pulls by a key that is none", lambda party: party.pull(9)),
            Step("nothing arrives at b", happen=cut_off_b),
            a("pulls once more", lambda party: party.pull(2)),
            a("does not want it any more", Party.cancel),
            Step("all arrives at b", happen=lambda world: world.network.heal()),
            b("is at another epoch", lambda party: party.link.announce(epoch=EPOCH + 1, revision=10)),
            tick("and says so"),
            a("takes its leave", Party.leave),
            tick("and tells that it has stopped"),
        )
    ),
    "stopped": Script(
        (b("has stopped", Party.leave), tick("a asks again")),
        b_knows=KnownRecord("line", EPOCH, 10, leads=True, ancestors=("before",)),
    ),
    "foreign": Script((), b_changes=MappingProxyType({"cluster": "other"})),
}


def make_party(
    node: str, script: Script, network: MemoryNetwork, nursery: trio.Nursery, transport: Transport | None = None
) -> Party:
    """A link that is told to run. It dials only if it is ``a``."""
    peer = "b" if node == "a" else "a"
    changes = dict(script.b_changes) if node == "b" else {}
    knows = script.b_knows if node == "b" else None
    entropy, reports = Entropy(node), list[CtlHaError]()
    link = Link(
        LinkConfig(
            cluster=changes.get("cluster", "c"),
            node=node,
            peer=peer,
            resource="volume",
            size_bytes=4096,
            listen=f"{node}-address",
            peer_address=f"{peer}-address" if node == "a" else "nowhere",
        ),
        clock=TrioClock(),
        entropy=entropy,
        transport=transport or network.transport(node),
        incarnation=ord(node),
        alive=lambda: True,
        report=reports.append,
        knows=lambda: knows,
    )
    link.announce(epoch=EPOCH, revision=9)
    channel = link.open_channel(0x80, slot_size=SLOT_SIZE, slots=4)
    party = Party(link, channel, Dma(link, entropy), nursery, reports)
    nursery.start_soon(link.run)
    nursery.start_soon(party.hear)
    return party


@asynccontextmanager
async def scripted(
    script: Script, *nodes: str, network: MemoryNetwork, record: Record | None = None
) -> AsyncIterator[World]:
    """Run these nodes; what they say is recorded. The clock must be a mock that does not jump by itself."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    world = World(network, clock)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            transport: Transport = network.transport(node)
            if record is not None:
                transport = TappedTransport(transport, node, record)
            world.parties[node] = make_party(node, script, network, nursery, transport)
        yield world
        nursery.cancel_scope.cancel()


async def record_script(script: Script) -> str:
    """What both sides say in it."""
    record = Record()
    record.begin("a dials b")
    async with scripted(script, "b", "a", network=MemoryNetwork(), record=record) as world:
        await trio.testing.wait_all_tasks_blocked()
        for step in script.steps:
            record.begin(step.title)
            step.take(world)
            await trio.testing.wait_all_tasks_blocked()
        return str(record)


def run_recorded(script: Script) -> str:
    """The same, from outside of Trio."""
    with scheduling_from(1):
        return trio.run(record_script, script, clock=trio.testing.MockClock())


def recorded(version: int, name: str) -> Path:
    """Where it is kept."""
    return FOLDER / f"version-{version}-{name}.txt"


if __name__ == "__main__":
    for script_name, each in SCRIPTS.items():
        recorded(int(sys.argv[1]), script_name).write_text(run_recorded(each), encoding="ascii")
