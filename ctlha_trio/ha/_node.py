"""A node: the parts below put together for one incarnation, from its first look at the disk to its goodbye."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ComponentError, ConfigError, CtlHaError, RefusedError, UntrustedPeerError
from ctlha_trio._vocabulary import ctl_evt_handler, ctl_ha_channel, ctl_ha_component
from ctlha_trio.dma import Dma, Region, Rights
from ctlha_trio.ha._config import NodeConfig
from ctlha_trio.ha._consumers import Consumers
from ctlha_trio.ha._current import entered
from ctlha_trio.ha._message_channel import MessageChannel
from ctlha_trio.ha._pair_driver import Answer, PairDriver
from ctlha_trio.ha._status import Reason, Status, TransitionStatus, bytes_left, judge, role_of
from ctlha_trio.ha._supervisor import Supervisor
from ctlha_trio.ha._transfers import Transfers
from ctlha_trio.ha._volume import Volume
from ctlha_trio.link import Link, LinkConfig
from ctlha_trio.pair import FLIGHTS_LIMIT, SLOT_BYTES, OperationKind, PairState, Phase, boot
from ctlha_trio.seams import Buffer, Clock, Seams
from ctlha_trio.store import BlockStore

PAIR_CHANNEL: Final = 0x80
"""Wire channels from here on are the pair's own; 1 and 2 belong to the header's consumers."""

_FRESH: Final = frozenset({Phase.BOOTING, Phase.WAITING, Phase.OUTDATED})
"""Phases of a node that has written nothing, as long as it has had no session yet."""
_MISCONFIGURED: Final = frozenset({"same-node", "foreign-cluster", "wrong-peer", "resource", "size"})

_LOG: Final = logging.getLogger(__name__)


def no_components(_: "Node") -> Sequence[ctl_ha_component]:
    """A node whose only component is its volume."""
    return ()


@attrs.define(eq=False)
class Node:
    """A running node. Given out by ``run_node`` and ``open_node``."""

    config: NodeConfig
    volume: Volume
    _driver: PairDriver
    _link: Link
    _dma: Dma
    _supervisor: Supervisor
    _nursery: trio.Nursery
    _clock: Clock
    _token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token, init=False)
    _consumers: Consumers = attrs.field(init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _stop_asked: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stop_reason: str = attrs.field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._consumers = Consumers(self.config, self._link, self._nursery, self._clock, self.current, dma=self._dma)

    @property
    def pair(self) -> PairState:
        """The state of the pair core, as a value."""
        return self._driver.state

    def current(self) -> AbstractContextManager[None]:
        """In ``with node.current():`` the header's functions mean this node, in tasks that are started there too."""
        return entered(self)

    def check_usable(self, token: trio.lowlevel.TrioToken, *, even_ended: bool) -> None:
        """``RuntimeError`` if the node belongs to another run of Trio, or has ended and that counts."""
        if token is not self._token:
            raise RuntimeError("the node is of another run")
        if self._ended and not even_ended:
            raise RuntimeError(f"node {self.config.node} has ended")

    @property
    def transfers(self) -> Transfers:
        """The header's requests of this node."""
        return self._consumers.transfers

    def open_channel(self, channel: ctl_ha_channel, handler: ctl_evt_handler | None = None) -> MessageChannel:
        """Open a consumer's channel, once. ``InvalidError`` if it is open already, NONE or MAX. Not a checkpoint."""
        return self._consumers.open_channel(channel, handler)

    def channel(self, channel: ctl_ha_channel) -> MessageChannel:
        """The channel that was opened. ``InvalidError`` if none was."""
        return self._consumers.channel(channel)

    def register_region(self, memory: Buffer, rights: Rights = Rights.WRITE) -> Region:
        """Let the peer reach ``memory`` under a random key, which goes to it in a message: ``region.remote``.

        The key dies with the session, with the epoch, and with ``region.close()``. ``DisconnectError`` without a
        session, ``InvalidError`` without rights, or with the right to write for memory that is read-only, ``BusyError``
        if too many are registered. The memory cannot be resized until the key is dead.
        """
        return self._dma.register(memory, epoch=self._link.epoch, rights=rights)

    async def submit(
        self, kind: OperationKind, *, client: int, number: int, offset: int, size: int, data: Buffer = b""
    ) -> Answer:
        """One operation of a client that numbers its own. ``InvalidError`` if it cannot be one. A checkpoint."""
        return await self.volume.submit(kind, client=client, number=number, offset=offset, size=size, data=data)

    def status(self) -> Status:
        """The verdict and what it rests on, as of now."""
        state = self._driver.state
        verdict, reasons = judge(state)
        for is_so, reason in (
            (self.handler_errors, Reason.HANDLER_FAILED),
            (self._supervisor.failed, Reason.COMPONENT_FAILED),
        ):
            if is_so:
                verdict = "degraded" if verdict == "protected" else verdict
                reasons = (*reasons, reason)
        return Status(
            verdict=verdict,
            reasons=tuple(reason.value for reason in reasons),
            notes=self.config.notes,
            node=self.config.node,
            role=role_of(state),
            state=str(self._supervisor.state.name),
            epoch=state.epoch,
            link=self._link.state,
            arbiter="online" if state.arbiter_answers else "unknown",
            resync_bytes_left=bytes_left(state),
            transitions=tuple(TransitionStatus(t.at_s, t.what, t.epoch) for t in self._driver.transitions),
        )

    async def switchover(self) -> None:
        """Make the peer primary. ``FailedError`` with the reason if that did not come about. A checkpoint."""
        await self._driver.hand_over()

    def stop(self, reason: str) -> None:
        """Ask the node to say goodbye and end. Legal anywhere, returns at once; the first reason counts."""
        if not self._stop_asked.is_set():
            self._stop_reason = reason
            self._stop_asked.set()

    async def run(self, *, task_status: "trio.TaskStatus[Node]") -> None:
        """Initialise the components, join the pair, go on until ``stop``. Called by ``run_node``."""
        with self.current():
            try:
                self._consumers.start()
                await self._supervisor.init()
                self._driver.start()
                await self._take_part(task_status)
            finally:
                self._ended = True
                self._consumers.close()

    async def _take_part(self, task_status: "trio.TaskStatus[Node]") -> None:
        failures: list[ComponentError] = []

        async def supervise() -> None:
            try:
                await self._supervisor.run()
            except ComponentError as error:
                failures.append(error)
                self.stop(f"component failed: {error}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise)
            task_status.started(self)
            await self._stop_asked.wait()
            nursery.cancel_scope.cancel(reason=f"stopping: {self._stop_reason}")
        try:
            await self._supervisor.quiesce()
        except ComponentError as error:
            failures.append(error)
        await self._driver.leave(self._stop_reason)
        await self._consumers.tell_all()
        if failures:
            raise failures[0]

    @property
    def handler_errors(self) -> Sequence[Exception]:
        """What handlers and callbacks raised."""
        return self._consumers.errors


async def run_node(
    config: NodeConfig,
    seams: Seams,
    components: Callable[[Node], Sequence[ctl_ha_component]] = no_components,
    *,
    task_status: "trio.TaskStatus[Node]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one node until ``Node.stop``; give the node out with ``started``.

    ``components`` makes the node's components, which start after the volume in the order given.
    ``ConfigError`` if disk, arbiter and configuration do not belong together; ``OSError`` if the address cannot be had;
    ``RefusedError`` or ``UntrustedPeerError`` if the peer shows, before this node has taken any part, that one of
    the two is configured wrongly: nothing was written until then. ``ComponentError`` if a component fails.
    Cancelled: ends at once without a goodbye, like a crash.
    """
    store = await BlockStore.open(seams.disk, config.volume_path, size_bytes=config.size_bytes, clock=seams.clock)
    try:
        _check_identity(config, store, seams)
        failures: list[CtlHaError] = []
        async with trio.open_nursery() as nursery:
            state, first = boot(
                me=config.node,
                peer=config.peer,
                incarnation=int.from_bytes(seams.entropy(8), "little") or 1,
                size_bytes=config.size_bytes,
                metadata=store.metadata,
            )

            def report(error: CtlHaError) -> None:
                _LOG.warning("link: %s", error)
                if _is_misconfiguration(error) and _is_fresh(driver.state):
                    failures.append(error)
                    nursery.cancel_scope.cancel(reason="the configuration is wrong")

            link = _make_link(config, seams, state.incarnation, report, alive=lambda: not driver.disk_hangs)
            channel = link.open_channel(PAIR_CHANNEL, slot_size=SLOT_BYTES, slots=2 * FLIGHTS_LIMIT)
            dma = Dma(link, seams.entropy)
            driver = PairDriver(state, first, config.volume_path, seams, store, link, channel, dma, nursery)
            volume = Volume(config.size_bytes, driver, state.incarnation)
            supervised: list[ctl_ha_component] = [volume.component()]
            node = Node(
                config,
                volume,
                driver,
                link,
                dma,
                Supervisor(seams.clock, supervised, lambda: driver.state.phase, driver.changed),
                nursery,
                seams.clock,
            )
            with node.current():
                supervised.extend(components(node))
            await nursery.start(link.run)
            nursery.start_soon(driver.commit)
            await node.run(task_status=task_status)
            nursery.cancel_scope.cancel(reason="the node has left")
        if failures:
            raise failures[0]
        if node.handler_errors:
            raise ExceptionGroup("handlers raised", node.handler_errors)
    finally:
        store.close()


def _check_identity(config: NodeConfig, store: BlockStore, seams: Seams) -> None:
    """Nothing is served from another pair's copy, or by another pair's arbiter."""
    metadata = store.metadata
    for key, found, wanted in (
        ("cluster", metadata.cluster, config.cluster),
        ("node", metadata.node, config.node),
        ("resource", metadata.resource, config.resource),
        ("arbiter", metadata.arbiter, seams.arbiter.identity),
    ):
        if found != wanted:
            raise ConfigError(config.volume_path, key, f"the copy belongs to {found!r}, not to {wanted!r}")


def _is_misconfiguration(error: CtlHaError) -> bool:
    """Whether only a person can put it right: trying again will not."""
    return isinstance(error, UntrustedPeerError) or (isinstance(error, RefusedError) and error.reason in _MISCONFIGURED)


def _is_fresh(state: PairState) -> bool:
    """Whether this node has taken no part yet, and so has written nothing."""
    return not state.sessions and state.phase in _FRESH


def _make_link(
    config: NodeConfig,
    seams: Seams,
    incarnation: int,
    report: Callable[[CtlHaError], None],
    *,
    alive: Callable[[], bool],
) -> Link:
    return Link(
        LinkConfig(
            cluster=config.cluster,
            node=config.node,
            peer=config.peer,
            resource=config.resource,
            size_bytes=config.size_bytes,
            listen=config.listen,
            peer_address=config.peer_address,
        ),
        clock=seams.clock,
        entropy=seams.entropy,
        transport=seams.transport,
        incarnation=incarnation,
        alive=alive,
        report=report,
    )


@asynccontextmanager
async def open_node(
    config: NodeConfig, seams: Seams, components: Callable[[Node], Sequence[ctl_ha_component]] = no_components
) -> AsyncIterator[Node]:
    """``run_node`` for the length of a block; leaving it stops the node and waits for its goodbye."""
    async with trio.open_nursery() as nursery:
        node: Node = await nursery.start(run_node, config, seams, components)
        try:
            yield node
        finally:
            node.stop("closed")
