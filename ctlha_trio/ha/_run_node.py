"""One incarnation of a node, from its first look at the disk to its goodbye: the parts put together, and run."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from inspect import iscoroutine
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ConfigError, CtlHaError, RefusedError
from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.dma import Dma
from ctlha_trio.ha._config import NodeConfig
from ctlha_trio.ha._disk_watch import DISK_STALL_S
from ctlha_trio.ha._fault_log import FaultLog
from ctlha_trio.ha._file_watch import FileWatch
from ctlha_trio.ha._left_steps import LeftSteps
from ctlha_trio.ha._misconfiguration import ends_node
from ctlha_trio.ha._node import Node
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.ha._peer_fence import PeerFence
from ctlha_trio.ha._policies import Policies
from ctlha_trio.ha._raising import raise_in
from ctlha_trio.ha._supervisor import Supervisor
from ctlha_trio.ha._take_overs import TakeOvers, serving_record
from ctlha_trio.ha._volume import Volume
from ctlha_trio.link import Link, LinkConfig
from ctlha_trio.pair import FLIGHTS_LIMIT, SLOT_BYTES, Record, boot
from ctlha_trio.pair.events import Disowned, PeerKnows
from ctlha_trio.seams import Seams
from ctlha_trio.store import BlockStore
from ctlha_trio.wire import KnownRecord, Refusal

PAIR_CHANNEL: Final = 0x80
"""Wire channels from here on are the pair's own; 1 and 2 belong to the header's consumers."""

_LOG: Final = logging.getLogger(__name__)


def no_components(_: Node) -> Sequence[ctl_ha_component]:
    """A node whose only component is its volume."""
    return ()


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
    ``RefusedError`` or ``UntrustedPeerError`` if it shows, before this node has taken any part, that one of the two is
    configured wrongly: nothing was written until then. Only with a copy that was just made, or if the peer has this
    node's own id; any other says so in its log and goes on. ``ComponentError``, from what was raised, for what
    ended this node as a spare one, or is not mended at its end.
    Cancelled: ends at once without a goodbye, like a crash.
    """
    store = await _open_store(config, seams)
    async with AsyncExitStack() as at_end:
        at_end.callback(store.close)
        _check_identity(config, store, seams)
        async with trio.open_nursery() as nursery:
            state, first = boot(
                me=config.node,
                peer=config.peer,
                incarnation=int.from_bytes(seams.entropy(8), "little") or 1,
                size_bytes=config.size_bytes,
                metadata=store.metadata,
                marked_from=store.marked_from,
            )
            behind = _BehindLink(FaultLog(seams.clock), nursery)
            link = _make_link(config, seams, state.incarnation, behind)
            channel = link.open_channel(PAIR_CHANNEL, slot_size=SLOT_BYTES, slots=2 * FLIGHTS_LIMIT, answered=True)
            dma = Dma(link, seams.entropy)
            driver = PairDriver(state, first, config, seams, store, link, channel, dma, nursery)
            behind.driver = driver
            volume = Volume(config.size_bytes, driver, state.incarnation)
            supervised: list[ctl_ha_component] = [volume.component()]
            take_overs = _take_overs(config, seams, driver, nursery)
            supervisor = Supervisor(seams.clock, supervised, lambda: driver.state.phase, driver.changed, take_overs)
            policies = Policies(seams.clock, driver, config.give_back)
            told = driver.data_faults.file_is
            file_watch = FileWatch(seams.clock, config.volume_path, config.peer, store.look_at_file, told)
            node = Node(config, volume, driver, link, dma, supervisor, policies, file_watch, nursery, seams.clock)
            # Only when its tasks have ended: a handler's clean-up is still this node's.
            at_end.callback(node.close)
            at_end.push_async_callback(driver.condemnation.end)
            with node.current():
                supervised.extend(_made_by(components, node))
            await nursery.start(link.run)
            nursery.start_soon(driver.commit)
            nursery.start_soon(file_watch.run)
            await node.run(task_status=task_status)
            nursery.cancel_scope.cancel(reason="the node has left")
        if behind.failures:
            raise behind.failures[0]
        if node.handler_errors:
            raise ExceptionGroup("handlers raised", node.handler_errors)


@attrs.define(eq=False)
class _BehindLink:
    """What the link asks, and whom it tells: the driver, which is made behind it. What that raises ends the node."""

    _fault_log: FaultLog
    _nursery: trio.Nursery
    driver: PairDriver = attrs.field(init=False)
    failures: list[CtlHaError] = attrs.field(factory=list, init=False)
    """For which this node ends."""

    def report(self, error: CtlHaError) -> None:
        """Something is wrong with the peer, or it says that of this node."""
        try:
            self._take_report(error)
        except BaseException as failure:
            raise_in(self._nursery, failure)

    def _take_report(self, error: CtlHaError) -> None:
        self._fault_log.report(error, session=self.driver.state.sessions)
        self.driver.notices.reported(error)
        if isinstance(error, RefusedError) and error.by_peer and error.reason == Refusal.TWIN:
            self.driver.feed(Disowned())
        if ends_node(error, self.driver.state):
            self.failures.append(error)
            self._nursery.cancel_scope.cancel(reason="the configuration is wrong")

    def hear(self, record: KnownRecord) -> None:
        """The peer tells which record it has from the arbiter."""
        try:
            self.driver.feed(PeerKnows(record))
        except BaseException as failure:
            raise_in(self._nursery, failure)

    def knows(self) -> KnownRecord:
        """Which one this node has."""
        return self.driver.state.knows

    def is_alive(self) -> bool:
        """Whether this node agrees to a session."""
        return not self.driver.disk_hangs


def _take_overs(config: NodeConfig, seams: Seams, driver: PairDriver, nursery: trio.Nursery) -> TakeOvers:
    def serving() -> Record | None:
        return serving_record(driver.state)

    tell = driver.notices.tell
    fence = PeerFence(seams.fencer, config.peer, serving, tell, driver.changed)
    return TakeOvers(seams.clock, serving, tell, fence, LeftSteps(seams.clock, nursery.start_soon))


def _made_by(components: Callable[[Node], Sequence[ctl_ha_component]], node: Node) -> Sequence[ctl_ha_component]:
    """``TypeError`` for what makes no components."""
    if not callable(components):
        raise TypeError(f"the components are {components!r}: give the function that makes them for a node")
    made: object = components(node)
    if iscoroutine(made):
        made.close()
        raise TypeError("the function that makes components is async: it must be a plain one")
    if not isinstance(made, Sequence):
        raise TypeError(f"the function that makes components returned {made!r}: a list, empty if there are none")
    for each in made:
        if not isinstance(each, ctl_ha_component):
            raise TypeError(f"among the components is {each!r}: each must be a ctl_ha_component")
    return made


async def _open_store(config: NodeConfig, seams: Seams) -> BlockStore:
    """A disk that hangs is said in the log: its call can be neither cancelled nor left behind."""
    opened: list[BlockStore] = []
    errors: list[CtlHaError] = []

    async def tell_of_a_disk_that_hangs() -> None:
        await seams.clock.sleep_until(seams.clock.now() + DISK_STALL_S)
        _LOG.error(
            "%s: the disk has not answered for %d s, and the node waits for it", config.volume_path, DISK_STALL_S
        )

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_of_a_disk_that_hangs)
            try:
                size_bytes = config.size_bytes
                store = await BlockStore.open(seams.disk, config.volume_path, size_bytes=size_bytes, clock=seams.clock)
                opened.append(store)
            except CtlHaError as error:
                errors.append(error)
            nursery.cancel_scope.cancel()
    except BaseException:
        for store in opened:
            store.close()
        raise
    if errors:
        raise errors[0]
    return opened[0]


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


def _make_link(config: NodeConfig, seams: Seams, incarnation: int, behind: _BehindLink) -> Link:
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
        alive=behind.is_alive,
        report=behind.report,
        heard=behind.hear,
        knows=behind.knows,
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
