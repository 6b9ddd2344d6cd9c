"""Two whole nodes in one process, over a memory network, with disks that lose power and an arbiter in memory."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError, InvalidError
from ctlha_trio._vocabulary import ctl_ha_channel, ctl_ha_component
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import ChannelConfig, Node, NodeConfig, run_node
from ctlha_trio.pair import Record
from ctlha_trio.seams import Seams, Transport
from ctlha_trio.store import Layout, image
from ctlha_trio.testing._pairs.first_metadata import first_metadata
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.testing._pairs.pair_view import VOLUME, PairView
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
    on_power_cut: Callable[[str], None] | None = attrs.field(default=None, init=False)
    """Called with the node's name at the moment at which its power fails."""
    arbiters: dict[str, MemoryArbiter] = attrs.field(init=False)
    _failures: dict[str, BaseException] = attrs.field(factory=dict, init=False)
    _noted: set[str] = attrs.field(factory=set, init=False)
    """Nodes whose failure somebody has looked at."""
    _failed_last: set[str] = attrs.field(factory=set, init=False)
    """Nodes that failed when they last ran."""
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
        self.arbiters = {name: self.arbiter.client() for name in NAMES}
        for name in NAMES:
            self.disks[name] = PowerDisk(
                {VOLUME: image(first_metadata(record, name, self.arbiter.identity), self.size_bytes)}
            )

    def __repr__(self) -> str:
        return f"<MemoryPair: {', '.join(map(repr, self.nodes.values())) or 'no node is up'}>"

    def config(self, name: str) -> NodeConfig:
        """That node's configuration."""
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

    @property
    def failures(self) -> dict[str, BaseException]:
        """What ended a node that was not crashed, or what a handler of one raised, however that ended, by node.

        Who has looked knows: closing the pair does not raise it.
        """
        found = self._found_failures()
        self._noted.update(found)
        return found

    @property
    def unnoted_failures(self) -> dict[str, BaseException]:
        """Those that nobody has looked at."""
        return {name: failure for name, failure in self._found_failures().items() if name not in self._noted}

    def _found_failures(self) -> dict[str, BaseException]:
        raised = {name: handler_failure(node) for name, node in self.nodes.items()}
        return self._failures | {name: failure for name, failure in raised.items() if failure is not None}

    def transport(self, name: str) -> Transport:
        """What that node reaches the other one through."""
        return self.network.transport(name)

    def is_up(self, name: str) -> bool:
        """Whether that node runs, or is still ending."""
        return name in self._scopes

    def seams(self, name: str) -> Seams:
        """What that node is given, with the disk that it has now."""
        return Seams(
            clock=VirtualClock(),
            entropy=self.random.randbytes,
            disk=SlowDisk(self.disks[name], lambda: self.disk_call_s.get(name, 0.0)),
            transport=self.transport(name),
            arbiter=PoweredArbiter(self.arbiters[name], self.disks[name]),
        )

    async def start(self, name: str) -> Node:
        """Start a node that is down; return it once it takes part. A checkpoint.

        ``FailedError`` if its power fails before. What else ends it before is raised, and is not among ``failures``.
        """
        self._check_open(name)
        if name in self._scopes:
            raise InvalidError(f"node {name} runs, or is still ending")
        self._noted.discard(name)
        self._failed_last.discard(name)
        node: Node | None = await self._nursery.start(self._run, name)
        if node is None:
            raise FailedError(f"the power of node {name} failed while it started")
        return node

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
            raised = None if node is None else handler_failure(node)
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
        """Let a bit of that byte of the volume flip on the node's disk, as disks do without a word. Legal anywhere."""
        self._check_open(name)
        self.disks[name].decay(VOLUME, Layout(self.size_bytes).file_offset(offset))

    async def restart(self, name: str, loss: Loss | None = None) -> Node:
        """Start a crashed node with what its disk kept: of what was not flushed nothing, or what ``loss`` says.

        A node that was stopped is started with all that is there. ``InvalidError`` for one that runs.
        """
        self._check_open(name)
        if not self.disks[name].is_cut:
            return await self.start(name)
        await self.restore_power(name, loss)
        return await self.start(name)

    async def restore_power(self, name: str, loss: Loss | None = None) -> PowerDisk:
        """Give a crashed node its disk and its network back, as for ``restart``, without starting it. A checkpoint."""
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

    async def wait_protected(self) -> None:
        """Return once both nodes say ``protected``. ``FailedError`` if one has failed instead."""
        await self.wait_until(lambda: bool(self._failed_last) or self._is_protected())
        raise_failures({name: failure for name, failure in self.failures.items() if name in self._failed_last})


def handler_failure(node: Node) -> Exception | None:
    """What its handlers and callbacks raised, if any did."""
    return ExceptionGroup("handlers raised", node.handler_errors) if node.handler_errors else None


def raise_failures(failures: Mapping[str, BaseException]) -> None:
    """``FailedError`` that names each node of these, from what ended it. Nothing if there are none."""
    if failures:
        said = "; ".join(f"node {name} failed: {failure!r}" for name, failure in failures.items())
        raise FailedError(said) from plain(BaseExceptionGroup("nodes failed", [*failures.values()]))
