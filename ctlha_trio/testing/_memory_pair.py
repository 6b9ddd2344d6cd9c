"""Two whole nodes in one process, over a memory network, with disks that lose power and an arbiter in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final, TypeVar

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError, InvalidError
from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import Node, NodeConfig, run_node
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.seams import MemoryNetwork, Seams, Transport, TrioClock
from ctlha_trio.store import choose_slot, image, volume_in
from ctlha_trio.testing._power_disk import PowerCut, PowerDisk
from ctlha_trio.testing._power_medium import Loss
from ctlha_trio.testing._slow_disk import SlowDisk

NAMES: Final = ("a", "b")
VOLUME: Final = "volume"
LOOK_S: Final = 0.01
"""Between two looks at a condition: a tenth of the shortest time in the protocol."""

WAIT_LIMIT_S: Final = 120.0
"""For a condition to come true: far more than the protocol's longest wait, and no time at all on a mock clock."""

Components = Callable[[Node], Sequence[ctl_ha_component]]
Answer = TypeVar("Answer")


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
    disk_call_s: Mapping[str, float] = attrs.field(factory=dict, kw_only=True)
    """By node: what each disk call takes. Without latency an answer can never overtake a flush."""
    look_s: float = attrs.field(default=LOOK_S, kw_only=True)
    """Between two looks at a condition that is waited for."""
    on_power_cut: Callable[[str], None] | None = attrs.field(default=None, init=False)
    """Called with the node's name at the moment at which its power fails."""
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
    _silent: bool = attrs.field(default=False, init=False)
    """The crash under way breaks no connection."""
    _askers: dict[str, set[trio.CancelScope]] = attrs.field(factory=lambda: {name: set() for name in NAMES}, init=False)

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

    @property
    def record(self) -> Record:
        """What the arbiter has at this moment."""
        return self.arbiter.record

    def transport(self, name: str) -> Transport:
        """What that node reaches the other one through."""
        return self.network.transport(name)

    def break_link(self) -> None:
        """Break the connection of the two at once; nothing keeps them from making another."""
        self.network.reset(*NAMES)

    def is_up(self, name: str) -> bool:
        """Whether that node runs, or is still ending."""
        return name in self._scopes

    def seams(self, name: str) -> Seams:
        """What that node is given, with the disk that it has now."""
        disk = self.disks[name]
        return Seams(
            clock=TrioClock(),
            entropy=self.random.randbytes,
            disk=SlowDisk(disk, self.disk_call_s[name]) if name in self.disk_call_s else disk,
            transport=self.transport(name),
            arbiter=self.arbiters[name],
        )

    async def start(self, name: str) -> Node:
        """Start a node that is down; return it once it takes part. A checkpoint.

        ``FailedError`` if its power fails before. What else ends it before is raised, alone in a group.
        """
        if name in self._scopes:
            raise InvalidError(f"node {name} runs")
        node: Node | None = await self._nursery.start(self._run, name)
        if node is None:
            raise FailedError(f"the power of node {name} failed while it started")
        return node

    async def _run(self, name: str, *, task_status: "trio.TaskStatus[Node | None]") -> None:
        self.disks[name].on_cut = lambda: self._isolate(name)
        node: Node | None = None
        scope = trio.CancelScope()
        self._scopes[name] = scope
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    node = await nursery.start(run_node, self.config(name), self.seams(name), self.components)
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
            self._dismiss(name)
        if node is None:
            task_status.started(None)

    async def ask(self, name: str, question: Callable[[Node], Awaitable[Answer]]) -> Answer:
        """Ask a node something as a client outside of it would. A checkpoint.

        ``DisconnectError`` if the node is down or goes down before it has answered.
        """
        await trio.lowlevel.checkpoint()
        node = self.nodes.get(name)
        answers: list[Answer] = []
        if node is not None and not self.disks[name].is_cut:
            scope = trio.CancelScope()
            self._askers[name].add(scope)
            try:
                with scope:
                    answers.append(await question(node))
            finally:
                self._askers[name].discard(scope)
        if not answers:
            raise DisconnectError(f"node {name} is down")
        return answers[0]

    def _dismiss(self, name: str) -> None:
        for scope in self._askers[name]:
            scope.cancel(reason=f"node {name} went down")

    def crash(self, name: str, *, silently: bool = False) -> None:
        """Cut the power of a node: what was not flushed is lost when it starts again. Legal anywhere, returns at once.

        Its peer sees the connection break, as when a process dies; with ``silently`` nothing, as when a machine does.
        """
        self._silent = silently
        self.disks[name].cut_now()
        self._silent = False
        if name in self._scopes:
            self._scopes[name].cancel(reason="crashed")

    def _isolate(self, name: str) -> None:
        peer = _other(name)
        self.network.cut(name, peer)
        self.network.cut(peer, name)
        if not self._silent:
            self.network.reset(name, peer)
        if name in self._scopes:
            self._scopes[name].cancel(reason="power cut")
        self._dismiss(name)
        if self.on_power_cut is not None:
            self.on_power_cut(name)

    async def restart(self, name: str, loss: Loss | None = None) -> Node:
        """Start a crashed node with what its disk kept: of what was not flushed nothing, or what ``loss`` says."""
        await self.restore_power(name, loss)
        return await self.start(name)

    async def restore_power(self, name: str, loss: Loss | None = None) -> PowerDisk:
        """Give a crashed node its disk and its network back, as for ``restart``, without starting it. A checkpoint."""
        await self.wait_until(lambda: name not in self._scopes)
        disk = self.disks[name]
        self.disks[name] = disk.after_cut(loss or disk.outcomes()[0])
        peer = _other(name)
        if not self.disks[peer].is_cut:
            self.network.heal(name, peer)
            self.network.heal(peer, name)
        return self.disks[name]

    async def stop(self, name: str) -> None:
        """Let a node say goodbye and end. A checkpoint."""
        self.nodes[name].stop("stopped by the test")
        await self.wait_until(lambda: name not in self._scopes)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds. A checkpoint. Under a mock clock the time until then passes at once.

        ``trio.TooSlowError``, with where the nodes stand, if it does not hold within ``WAIT_LIMIT_S``.
        """
        clock = TrioClock()
        give_up_s = clock.now() + WAIT_LIMIT_S
        await trio.lowlevel.checkpoint()
        while not condition():
            if clock.now() >= give_up_s:
                raise trio.TooSlowError("; ".join(f"{name}: {node.status()}" for name, node in self.nodes.items()))
            await clock.sleep_until(clock.now() + self.look_s)

    async def wait_protected(self) -> None:
        """Return once both nodes say ``protected``. ``FailedError`` if one has failed instead."""
        await self.wait_until(lambda: bool(self.failures) or self._is_protected())
        for name, failure in self.failures.items():
            raise FailedError(f"node {name} failed: {failure!r}") from failure

    def _is_protected(self) -> bool:
        verdicts = [node.status().verdict for node in self.nodes.values()]
        return verdicts == ["protected"] * len(NAMES)

    async def wait_serving(self, name: str) -> Node:
        """Return that node once it serves the volume, alone or as primary of two."""
        await self.wait_until(lambda: self._serves(name, "protected", "degraded"))
        return self.nodes[name]

    async def wait_alone(self, name: str) -> Node:
        """Return that node once it serves the volume without its peer."""
        await self.wait_until(lambda: self._serves(name, "degraded") and self.record.members == (name,))
        return self.nodes[name]

    def _serves(self, name: str, *verdicts: str) -> bool:
        if name not in self.nodes:
            return False
        status = self.nodes[name].status()
        return status.role == "primary" and status.verdict in verdicts

    def copy(self, name: str) -> bytes:
        """The volume as that node's disk would give it now, flushed or not."""
        return volume_in(self.disks[name].content(VOLUME), self.size_bytes)

    def durable_copy(self, name: str) -> bytes:
        """The volume as that node's disk would give it after a power cut now that keeps only what was flushed."""
        return volume_in(self._durable(name), self.size_bytes)

    def durable_metadata(self, name: str) -> Metadata:
        """The metadata that would be found after such a cut."""
        return choose_slot(VOLUME, self._durable(name))[1].metadata

    def _durable(self, name: str) -> bytes:
        return self.disks[name].durable_content(VOLUME)


def _other(name: str) -> str:
    return NAMES[1] if name == NAMES[0] else NAMES[0]


@asynccontextmanager
async def open_pair(
    *,
    size_bytes: int = 1 << 20,
    seed: int = 0,
    components: Components = no_components,
    start: bool = True,
    disk_call_s: Mapping[str, float] | None = None,
) -> AsyncIterator[MemoryPair]:
    """A pair for the length of a block: started and ``protected``, unless ``start`` is False.

    Use it under Trio's ``MockClock`` with an autojump threshold of 0: then it takes no real time to wait for time-outs.
    """
    async with trio.open_nursery() as nursery:
        pair = MemoryPair(size_bytes, Random(seed), components, nursery, disk_call_s=disk_call_s or {})
        if start:
            for name in NAMES:
                await pair.start(name)
            await pair.wait_protected()
        yield pair
        nursery.cancel_scope.cancel(reason="the pair is closed")
