"""Two whole nodes in one process, over a memory network, with disks that lose power and an arbiter in memory."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import isawaitable
from random import Random
from typing import TypeVar

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError, InvalidError
from ctlha_trio._vocabulary import ctl_ha_channel, ctl_ha_component
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import ChannelConfig, Node, NodeConfig, run_node
from ctlha_trio.pair import Record
from ctlha_trio.seams import Fencer, Seams, Transport
from ctlha_trio.store import Layout, image
from ctlha_trio.testing._pairs.first_metadata import first_metadata
from ctlha_trio.testing._pairs.pair_faults import NAMES, ByNode, check_name, other
from ctlha_trio.testing._pairs.pair_view import VOLUME, PairView, program_failure
from ctlha_trio.testing._pairs.plain_nursery import plain
from ctlha_trio.testing._pairs.slow_disk import SlowDisk
from ctlha_trio.testing._pairs.virtual_clock import VirtualClock
from ctlha_trio.testing._power.disk import PowerCut, PowerDisk
from ctlha_trio.testing._power.medium import Loss
from ctlha_trio.testing._power.powered_arbiter import PoweredArbiter

Components = Callable[[Node], Sequence[ctl_ha_component]]
Answer = TypeVar("Answer")


def no_components(_: Node) -> Sequence[ctl_ha_component]:
    """Only the node's own volume."""
    return ()


@attrs.define(eq=False, repr=False)
class MemoryPair(PairView):
    """A pair whose nodes can be started, crashed and started again in any order. Made by ``open_pair``.

    Each incarnation runs in a task of its own. A crash cuts its disk and its network first, so that nothing that its
    clean-up does reaches either.
    """

    random: Random
    components: Components
    _nursery: trio.Nursery
    channels: Mapping[ctl_ha_channel, ChannelConfig] = attrs.field(factory=dict, kw_only=True)
    """Of both nodes."""
    fencers: dict[str, Fencer] = attrs.field(factory=dict, init=False)
    """By node: how one that starts from now on can have the other one fenced. One that is not here cannot."""
    on_power_cut: Callable[[str], None] | None = attrs.field(default=None, init=False)
    """Called with the node's name at the moment at which its power fails."""
    arbiters: ByNode[MemoryArbiter] = attrs.field(init=False)
    _starting: set[str] = attrs.field(factory=set, init=False)
    """Nodes that ``start`` or ``restart`` is at."""
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
        self.arbiter: MemoryArbiter = MemoryArbiter(record)
        self.arbiters = ByNode({name: self.arbiter.client() for name in NAMES})
        for name in NAMES:
            self.disks[name] = PowerDisk(
                {VOLUME: image(first_metadata(record, name, self.arbiter.identity), self.size_bytes)}
            )

    def __repr__(self) -> str:
        return f"<MemoryPair: {', '.join(map(repr, self.nodes.values())) or 'no node is up'}>"

    def config(self, name: str) -> NodeConfig:
        """That node's configuration."""
        check_name(name)
        peer = other(name)
        return NodeConfig(
            cluster="memory",
            node=name,
            peer=peer,
            resource="volume",
            listen=name,
            peer_address=peer,
            volume_path=VOLUME,
            size_bytes=self.size_bytes,
            channels=self.channels,
        )

    def transport(self, name: str) -> Transport:
        """What that node reaches the other one through."""
        check_name(name)
        return self.network.transport(name)

    def is_up(self, name: str) -> bool:
        """Whether that node runs, or is still ending."""
        check_name(name)
        return name in self._scopes

    def seams(self, name: str) -> Seams:
        """What that node is given, with the disk that it has now."""
        check_name(name)
        return Seams(
            clock=VirtualClock(),
            entropy=self.random.randbytes,
            disk=SlowDisk(self.disks[name], lambda: self.disk_call_s.get(name, 0.0)),
            transport=self.transport(name),
            arbiter=PoweredArbiter(self.arbiters[name], self.disks[name]),
            fencer=self.fencers.get(name),
        )

    async def start(self, name: str) -> Node:
        """Start a node that is down and has power; return it once it takes part. A checkpoint.

        ``InvalidError`` for one that runs, is being started, or was crashed: ``restart`` is for that. ``FailedError``
        if its power fails before it takes part. What else ends it before is raised, and is not among ``failures``.
        """
        self._check_down(name)
        if self.disks[name].is_cut:
            raise InvalidError(f"node {name} has no power: await restart({name!r}) instead")
        with self._being_started(name):
            return await self._start(name)

    async def _start(self, name: str) -> Node:
        self._noted.discard(name)
        self._failed_last.discard(name)
        node: Node | None = await self._nursery.start(self._run, name)
        if node is None:
            raise FailedError(f"the power of node {name} failed while it started")
        return node

    def _check_down(self, name: str) -> None:
        self._check_open(name)
        if name in self._starting:
            raise InvalidError(f"node {name} is being started already")
        if name in self._scopes and not self.disks[name].is_cut:
            raise InvalidError(f"node {name} runs, or is still ending: crash it, or await stop({name!r}), first")

    @contextmanager
    def _being_started(self, name: str) -> Iterator[None]:
        self._starting.add(name)
        try:
            yield
        finally:
            self._starting.discard(name)

    async def _run(self, name: str, *, task_status: "trio.TaskStatus[Node | None]") -> None:
        self.disks[name].on_cut = lambda: self._isolate(name)
        node: Node | None = None
        failure: BaseException | None = None
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
            failure = plain(failed)
        finally:
            del self._scopes[name]
            self.nodes.pop(name, None)
            self._dismiss(name)
            raised = None if node is None else program_failure(node)
            if raised is not None:
                self._failures[name] = raised
        if failure is None:
            if node is None:
                task_status.started(None)
        elif node is None:
            raise failure
        else:
            self._failures[name] = failure
            self._failed_last.add(name)

    async def ask(self, name: str, question: Callable[[Node], Awaitable[Answer]]) -> Answer:
        """Ask a node something as a client outside of it would. A checkpoint.

        ``DisconnectError`` if the node is down or goes down before it has answered. ``TypeError`` for what is no async
        function of a node.
        """
        self._check_open(name)
        if not callable(question):
            raise TypeError(
                f"the question is {question!r}: give the function, such as lambda node: node.volume.flush()"
            )
        await trio.lowlevel.checkpoint()
        node = self.nodes.get(name)
        answers: list[Answer] = []
        if node is not None and not self.disks[name].is_cut:
            scope = trio.CancelScope()
            self._askers[name].add(scope)
            try:
                with scope:
                    asked = question(node)
                    if not isawaitable(asked):
                        raise TypeError(
                            f"the question is not async, it returns {asked!r}: ask pair.nodes[{name!r}] for that"
                        )
                    answers.append(await asked)
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
        self._check_open(name)
        self._silent = silently
        self.disks[name].cut_now()
        self._silent = False
        if name in self._scopes:
            self._scopes[name].cancel(reason="crashed")

    def _isolate(self, name: str) -> None:
        self.connect_powered()
        if not self._silent:
            self.network.reset(*NAMES)
        self.network.silence(name)
        # Whoever waits for something of this node waits for the next incarnation from now on.
        self.nodes.pop(name, None)
        if name in self._scopes:
            self._scopes[name].cancel(reason="power cut")
        self._dismiss(name)
        if self.on_power_cut is not None:
            self.on_power_cut(name)

    def decay(self, name: str, offset: int) -> None:
        """Let a bit of that byte of the volume flip on the node's disk, as disks do without a word. Legal anywhere.

        ``InvalidError`` if the volume has no such byte.
        """
        self._check_open(name)
        if not 0 <= offset < self.size_bytes:
            raise InvalidError(f"no byte at {offset}: the volume has {self.size_bytes}, from 0")
        self.disks[name].decay(VOLUME, Layout(self.size_bytes).file_offset(offset))

    async def restart(self, name: str, loss: Loss | None = None) -> Node:
        """Start a crashed node with what its disk kept: of what was not flushed nothing, or what ``loss`` says.

        A node that was stopped or failed is started with all that is there. ``InvalidError`` for one that runs or is
        being started, for a ``loss`` that is not among the ``outcomes()`` of its disk, and for any where nothing was
        lost. The rest is as in ``start``.
        """
        self._check_down(name)
        disk = self.disks[name]
        if loss is not None and not disk.is_cut:
            raise InvalidError(f"node {name} was not crashed, so its disk has lost nothing: leave loss out")
        if loss is not None and loss not in disk.outcomes():
            raise InvalidError(f"not what became of the disk: take one of disks[{name!r}].outcomes() after the crash")
        with self._being_started(name):
            if disk.is_cut:
                await self.restore_power(name, loss)
            return await self._start(name)

    async def restore_power(self, name: str, loss: Loss | None = None) -> PowerDisk:
        """Give a crashed node its disk and its network back, as for ``restart``, without starting it. A checkpoint."""
        self._check_open(name)
        await self.wait_until(lambda: name not in self._scopes)
        disk = self.disks[name]
        self.disks[name] = disk.after_cut(loss or disk.outcomes()[0])
        self.connect_powered()
        return self.disks[name]

    async def stop(self, name: str) -> None:
        """Let a node say goodbye and end. A checkpoint. ``InvalidError`` if it is down."""
        self._check_open(name)
        if name not in self.nodes:
            raise InvalidError(f"node {name} is down")
        self.nodes[name].stop("stopped by the test")
        await self.wait_until(lambda: name not in self._scopes)
