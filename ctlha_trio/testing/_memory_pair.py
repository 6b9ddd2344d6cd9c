"""Two whole nodes in one process, over a memory network, with disks that lose power and an arbiter in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import InvalidError
from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import Node, NodeConfig, run_node
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.seams import MemoryNetwork, Seams, TrioClock
from ctlha_trio.store import image
from ctlha_trio.testing._power_disk import PowerCut, PowerDisk
from ctlha_trio.testing._power_medium import Loss

NAMES: Final = ("a", "b")
VOLUME: Final = "volume"
_LOOK_S: Final = 0.01
"""Between two looks at a condition: a tenth of the shortest time in the protocol."""

Components = Callable[[Node], Sequence[ctl_ha_component]]


def no_components(_: Node) -> Sequence[ctl_ha_component]:
    """Only the node's own volume."""
    return ()


@attrs.define(eq=False)
class MemoryPair:
    """A pair whose nodes can be started, crashed and started again in any order. Made by ``open_pair``.

    Each incarnation runs in a task of its own. A crash cuts its disk and its network first, so that nothing that its
    clean-up does reaches either.
    """

    size_bytes: int
    random: Random
    components: Components
    _nursery: trio.Nursery
    network: MemoryNetwork = attrs.field(factory=MemoryNetwork, init=False)
    arbiter: MemoryArbiter = attrs.field(init=False)
    """The arbiter's own client; each node has another one in ``arbiters``."""
    arbiters: dict[str, MemoryArbiter] = attrs.field(init=False)
    disks: dict[str, PowerDisk] = attrs.field(init=False)
    nodes: dict[str, Node] = attrs.field(factory=dict, init=False)
    """Those that run."""
    failures: dict[str, BaseException] = attrs.field(factory=dict, init=False)
    """What ended a node that was neither crashed nor stopped."""
    _scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Make an arbiter that names both, and two disks that hold the same zeros."""
        record = Record(
            cluster="memory",
            resource="volume",
            epoch=1,
            lineage=self.random.randbytes(16).hex(),
            primary=NAMES[0],
            members=NAMES,
            proposal="init",
        )
        self.arbiter = MemoryArbiter(record)
        self.arbiters = {name: self.arbiter.client() for name in NAMES}
        self.disks = {
            name: PowerDisk({VOLUME: image(self._first_metadata(record, name), self.size_bytes)}) for name in NAMES
        }

    def _first_metadata(self, record: Record, name: str) -> Metadata:
        return Metadata(
            cluster=record.cluster,
            node=name,
            resource=record.resource,
            lineage=record.lineage,
            arbiter=self.arbiter.identity,
            epoch=record.epoch,
            revision=1,
            primary=record.primary,
            members=record.members,
            copy=Copy.MEMBER,
        )

    def config(self, name: str) -> NodeConfig:
        """That node's configuration."""
        peer = _other(name)
        return NodeConfig(
            cluster="memory",
            node=name,
            peer=peer,
            resource="volume",
            listen=name,
            peer_address=peer,
            volume_path=VOLUME,
            size_bytes=self.size_bytes,
        )

    async def start(self, name: str) -> Node:
        """Start a node that is down; return it once it takes part. A checkpoint."""
        if name in self._scopes:
            raise InvalidError(f"node {name} runs")
        node: Node = await self._nursery.start(self._run, name)
        return node

    async def _run(self, name: str, *, task_status: "trio.TaskStatus[Node]") -> None:
        seams = Seams(
            clock=TrioClock(),
            entropy=self.random.randbytes,
            disk=self.disks[name],
            transport=self.network.transport(name),
            arbiter=self.arbiters[name],
        )
        self.disks[name].on_cut = lambda: self._isolate(name)
        node: Node | None = None
        scope = trio.CancelScope()
        self._scopes[name] = scope
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    node = await nursery.start(run_node, self.config(name), seams, self.components)
                    self.nodes[name] = node
                    task_status.started(node)
        except* PowerCut:
            pass
        except* Exception as failed:
            self.failures[name] = failed
            if node is None:
                raise
        finally:
            del self._scopes[name]
            self.nodes.pop(name, None)

    def crash(self, name: str) -> None:
        """Cut the power of a node: what was not flushed is lost when it starts again. Legal anywhere, returns at once."""
        self.disks[name].cut_now()
        if name in self._scopes:
            self._scopes[name].cancel(reason="crashed")

    def _isolate(self, name: str) -> None:
        peer = _other(name)
        self.network.cut(name, peer)
        self.network.cut(peer, name)
        self.network.reset(name, peer)
        if name in self._scopes:
            self._scopes[name].cancel(reason="power cut")

    async def restart(self, name: str, loss: Loss | None = None) -> Node:
        """Start a crashed node with what its disk kept: of what was not flushed nothing, or what ``loss`` says."""
        await self.wait_until(lambda: name not in self._scopes)
        disk = self.disks[name]
        self.disks[name] = disk.after_cut(loss or disk.outcomes()[0])
        peer = _other(name)
        self.network.heal(name, peer)
        self.network.heal(peer, name)
        return await self.start(name)

    async def stop(self, name: str) -> None:
        """Let a node say goodbye and end. A checkpoint."""
        self.nodes[name].stop("stopped by the test")
        await self.wait_until(lambda: name not in self._scopes)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds. A checkpoint. Under a mock clock the time until then passes at once."""
        clock = TrioClock()
        await trio.lowlevel.checkpoint()
        while not condition():
            await clock.sleep_until(clock.now() + _LOOK_S)

    async def wait_protected(self) -> None:
        """Return once both nodes say ``protected``."""
        await self.wait_until(
            lambda: (
                len(self.nodes) == len(NAMES)
                and all(node.status().verdict == "protected" for node in self.nodes.values())
            )
        )

    async def wait_serving(self, name: str) -> Node:
        """Return that node once it serves the volume, alone or as primary of two."""
        await self.wait_until(
            lambda: (
                name in self.nodes
                and self.nodes[name].status().role == "primary"
                and self.nodes[name].status().verdict in {"protected", "degraded"}
            )
        )
        return self.nodes[name]

    def copy(self, name: str) -> bytes:
        """The volume as that node's disk would give it now, flushed or not."""
        return self.disks[name].content(VOLUME)[-self.size_bytes :]


def _other(name: str) -> str:
    return NAMES[1] if name == NAMES[0] else NAMES[0]


@asynccontextmanager
async def open_pair(
    *, size_bytes: int = 1 << 20, seed: int = 0, components: Components = no_components, start: bool = True
) -> AsyncIterator[MemoryPair]:
    """A pair for the length of a block: started and ``protected``, unless ``start`` is False.

    Use it under Trio's ``MockClock`` with an autojump threshold of 0: then it takes no real time to wait for time-outs.
    """
    async with trio.open_nursery() as nursery:
        pair = MemoryPair(size_bytes, Random(seed), components, nursery)
        if start:
            for name in NAMES:
                await pair.start(name)
            await pair.wait_protected()
        yield pair
        nursery.cancel_scope.cancel(reason="the pair is closed")
