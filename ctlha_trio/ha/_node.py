"""A running node, as those who use it see it: volume, channels, transfers, status, and its end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import get_ident

import attrs
import trio

from ctlha_trio._errors import ComponentError, FailedError
from ctlha_trio._vocabulary import (
    CTL_HA_DATA_CTL,
    CTL_HA_DATA_ZFS,
    RemoteBuffer,
    ctl_evt_handler,
    ctl_ha_channel,
    ctl_ha_dtid,
)
from ctlha_trio.dma import Dma, Region, Rights
from ctlha_trio.ha._client_requests import Answer
from ctlha_trio.ha._component_faults import FaultKind
from ctlha_trio.ha._component_policy import ComponentWatch
from ctlha_trio.ha._config import NodeConfig
from ctlha_trio.ha._consumers import Consumers
from ctlha_trio.ha._current import entered
from ctlha_trio.ha._direct_transfers import DirectTransfers, PendingTransfer
from ctlha_trio.ha._file_watch import FileWatch
from ctlha_trio.ha._give_back import GiveBackStand
from ctlha_trio.ha._message_channel import MessageChannel
from ctlha_trio.ha._notices import Notice
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.ha._policies import Policies
from ctlha_trio.ha._rehearsal import Rehearsal, rehearse_switchover
from ctlha_trio.ha._resync_progress import left_s
from ctlha_trio.ha._status import Note, Reason, Status, TransferStatistics, in_order, is_paired, judge, role_of
from ctlha_trio.ha._supervisor import Supervisor
from ctlha_trio.ha._transfers import Transfers
from ctlha_trio.ha._volume import Volume
from ctlha_trio.link import Link
from ctlha_trio.pair import MEMBERS, FailoverPlan, OperationKind, PairState, Plan, Record, plan_failover
from ctlha_trio.seams import Buffer, Clock


@attrs.define(eq=False, repr=False)
class Node:
    """A running node. Given out by ``run_node`` and ``open_node``."""

    config: NodeConfig
    volume: Volume
    _driver: PairDriver
    _link: Link
    _dma: Dma
    _supervisor: Supervisor
    _policies: Policies
    _file_watch: FileWatch
    _nursery: trio.Nursery
    _clock: Clock
    token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token, init=False)
    thread: int = attrs.field(factory=get_ident, init=False)
    """Of the run that it belongs to."""
    has_ended: bool = attrs.field(default=False, init=False)
    _consumers: Consumers = attrs.field(init=False)
    channels: Mapping[ctl_ha_channel, MessageChannel] = attrs.field(init=False)
    """Those that were opened."""
    _direct: DirectTransfers = attrs.field(init=False)
    _stop_asked: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stop_reason: str = attrs.field(default="", init=False)
    _component_watch: ComponentWatch = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._driver.readiness.own = lambda: self._supervisor.ready
        self._supervisor.on_ready = self._driver.readiness.look
        self._component_watch = ComponentWatch(self._clock, self._driver, self._supervisor, self.stop)
        self._direct = DirectTransfers(self._dma)
        self._consumers = Consumers(
            self.config,
            self._link,
            self._nursery,
            self._clock,
            self.current,
            dma=self._dma,
        )
        self.channels = self._consumers.channels

    @property
    def pair(self) -> PairState:
        """The state of the pair core, as a value."""
        return self._driver.state

    @property
    def lineage(self) -> str:
        """Of the record that this node acts on; empty while it knows none."""
        record = self._driver.state.record
        return "" if record is None else record.lineage

    @property
    def revision(self) -> int:
        """Of that record; 0 while it knows none."""
        return self._driver.state.revision

    def current(self) -> AbstractContextManager[None]:
        """In ``with node.current():`` the header's functions mean this node, in tasks that are started there too."""
        return entered(self)

    def __repr__(self) -> str:
        state = self._driver.state
        return f"<Node {self.config.node}: {state.phase.name} in epoch {state.epoch}>"

    @property
    def transfers(self) -> Transfers:
        """The header's requests of this node."""
        return self._consumers.transfers

    def open_channel(self, channel: ctl_ha_channel, handler: ctl_evt_handler | None = None) -> MessageChannel:
        """Open a consumer's channel, once. Not a checkpoint.

        ``InvalidError`` if it is open already, NONE or MAX; ``FailedError`` if the node has ended.
        """
        self._require_life()
        return self._consumers.open_channel(channel, handler)

    def channel(self, channel: ctl_ha_channel) -> MessageChannel:
        """The channel that was opened. ``InvalidError`` if none was."""
        return self._consumers.channel(channel)

    def register_region(
        self,
        memory: Buffer,
        rights: Rights = Rights.WRITE,
        *,
        uses: int | None = None,
        lifetime_s: float | None = None,
        data_id: ctl_ha_dtid | None = None,
    ) -> Region:
        """Let the peer reach ``memory`` under a random key, which goes to it in a message: ``region.remote``.

        The key dies with the session, with the epoch, and with ``region.close()``; once ``uses`` transfers are done,
        before anybody is told of the last; and after ``lifetime_s`` seconds. What comes by it is counted with the
        transfers of ``data_id``, with the native ones if that is None. ``DisconnectError`` without a session,
        ``InvalidError`` without rights, a whole number of uses, or time, for a ``data_id`` that is none, or with the
        right to write for memory that is read-only, ``BusyError`` if too many are registered. The memory cannot be
        resized until the key is dead.
        """
        counters = self._direct.counters if data_id is None else self.transfers.counters_of(data_id)
        expires_s = None if lifetime_s is None else self._dma.now() + lifetime_s
        return self._dma.register(
            memory, epoch=self._link.epoch, rights=rights, uses=uses, expires_s=expires_s, counters=counters
        )

    async def push(self, remote: RemoteBuffer, data: Buffer) -> None:
        """Put ``data`` into the peer's memory; return once the peer has confirmed that all of it is in place.

        Waits for room while ``TRANSFERS_IN_FLIGHT_MAX`` of the node's own are under way. Always a checkpoint.
        ``InvalidError`` for no bytes or a place that cannot be, else errors as of ``PendingTransfer.wait``. Cancelled:
        the transfer may go on, so ``data`` must stay unchanged until the session ends.
        """
        await self._direct.transfer(lambda: self._direct.push_nowait(remote, data))

    async def pull(self, remote: RemoteBuffer, into: bytearray | memoryview) -> None:
        """Fill ``into`` from the peer's memory; return once the last byte is here. As ``push`` in all else.

        Cancelled: the transfer may go on, and ``into`` may be written until the session ends.
        """
        await self._direct.transfer(lambda: self._direct.pull_nowait(remote, into))

    def push_nowait(self, remote: RemoteBuffer, data: Buffer, *, timeout_s: float | None = None) -> PendingTransfer:
        """Start a push; ``wait`` of what it returns tells the end. ``BusyError`` if too many are under way.

        After ``timeout_s`` seconds it is cancelled, with the reason ``deadline``.

        ``DisconnectError`` without a session; ``InvalidError`` as of ``push``, and for a time below 0 or that is none;
        ``TypeError`` for a place that is no ``RemoteBuffer``. Not a checkpoint.
        """
        return self._direct.push_nowait(remote, data, timeout_s=timeout_s)

    def pull_nowait(
        self, remote: RemoteBuffer, into: bytearray | memoryview, *, timeout_s: float | None = None
    ) -> PendingTransfer:
        """Start a pull, as ``push_nowait`` a push. ``InvalidError`` also if ``into`` cannot be written."""
        return self._direct.pull_nowait(remote, into, timeout_s=timeout_s)

    async def submit(
        self,
        kind: OperationKind,
        *,
        client: int,
        number: int,
        offset: int = 0,
        size: int = 0,
        data: Buffer = b"",
        key: str = "",
    ) -> Answer:
        """One operation of a client that numbers its own: see ``Volume.submit``."""
        return await self.volume.submit(
            kind, client=client, number=number, offset=offset, size=size, data=data, key=key
        )

    def status(self) -> Status:
        """The verdict and what it rests on, as of now."""
        state = self._driver.state
        resync = self._driver.resync.left
        blocked, tried = resync is not None and resync.blocked, self._driver.condemnation.tried
        verdict, reasons = judge(state, source_blocked=blocked, mark_tried=tried)
        waits, faults = self._supervisor.take_overs.waits(), self._driver.data_faults
        beside = (
            (self.handler_errors, Reason.HANDLER_FAILED),
            (self._supervisor.faults.failing, Reason.COMPONENT_FAILED),
            (self._supervisor.faults.errors(FaultKind.RAISED), Reason.COMPONENT_RAISED),
            (self._supervisor.faults.errors(FaultKind.ERROR), Reason.COMPONENT_ERROR),
            (self._components_start, Reason.COMPONENT_STARTING),
            (is_paired(state) and not self._driver.readiness.of_peer, Reason.PEER_COMPONENTS),
            (faults.medium.has_damage, Reason.MEDIUM_ERROR),
            (faults.file_gone, Reason.FILE_GONE),
            (faults.medium.is_failing, Reason.DISK_FAILING),
            (faults.peer_disk_fails, Reason.PEER_DISK_FAILING),
            (faults.copies_differ, Reason.COPIES_DIFFER),
        )
        found = {reason for is_so, reason in beside if is_so}
        found |= self._policies.waits_for | {Reason(wait.reason) for wait in waits}
        verdict = "degraded" if found and verdict == "protected" else verdict
        if self._driver.disk_hangs and verdict != "stopped":
            verdict = "at-risk"
            found.add(Reason.DISK_HANGS)
        statistics = self._link.statistics()
        return Status(
            verdict=verdict,
            reasons=tuple(reason.value for reason in in_order(found.union(reasons))),
            notes=(*self.config.notes, *(note.value for note in self._notes())),
            node=self.config.node,
            role=role_of(state),
            state=self._supervisor.state.name,
            epoch=state.epoch,
            link=self._link.state,
            link_version=None if (session := self._link.session) is None else session.version,
            round_trip_s=statistics.round_trip_s,
            heartbeat_late_s=statistics.late_s,
            peer_heartbeat_late_s=statistics.peer_late_s,
            arbiter="online" if state.arbiter_answers else "unknown",
            resync_bytes_left=0 if resync is None else resync.left_bytes,
            resync_bytes_per_s=0 if resync is None else resync.bytes_per_s,
            resync_left_s=None if resync is None else left_s(resync),
            flaps=self._policies.flaps,
            peer_restarts=self._policies.peer_restarts,
            loop_late_s=self._policies.loop.late_s,
            give_back_in_s=self._policies.give_back_in_s,
            repaired_blocks=faults.medium.repaired,
            damaged_bytes=faults.medium.damaged_bytes,
            verification=self._driver.verifications.status(),
            transitions=tuple(self._driver.transitions.kept),
            differing_settings=self._driver.settings.differing,
            transfers=self._transfer_statistics,
            component_waits=waits,
        )

    @property
    def _transfer_statistics(self) -> TransferStatistics:
        return TransferStatistics(
            pair=self._driver.transfers.totals(),
            ctl=self.transfers.counters_of(CTL_HA_DATA_CTL).totals(),
            zfs=self.transfers.counters_of(CTL_HA_DATA_ZFS).totals(),
            native=self._direct.counters.totals(),
        )

    @property
    def _components_start(self) -> bool:
        supervisor = self._supervisor
        explained = supervisor.faults.all or supervisor.take_overs.start_waits
        return self._driver.state.phase in MEMBERS and not supervisor.ready and not explained

    def _notes(self) -> Iterator[Note]:
        if not self._policies.waits_for:
            yield from (note for note in Note if note in self._policies.distrusted)
        if self._policies.loop.stalled:
            yield Note.LOOP_STALLED
        if self._policies.give_back is not GiveBackStand.NOTHING_TO_DO:
            yield Note(self._policies.give_back.value)
        if self._driver.settings.differing:
            yield Note.SETTINGS_DIFFER

    def follow_records(self, follow: Callable[[Record | None, Record, int, str], None]) -> None:
        """Call ``follow`` for each record that this node begins to act on from now on; it must neither wait nor raise.

        It is given the record before, None at first, the record, its revision, and why. Not a checkpoint. ``TypeError``
        for what cannot be called.
        """
        _require_function(follow)

        def tell(before: Record | None, after: Record) -> None:
            follow(before, after, self._driver.state.revision, self._driver.roles.why or self._driver.state.why)

        self._driver.record_followers.append(tell)

    def follow_notices(self, follow: Callable[[Notice], None]) -> None:
        """Call ``follow`` for each stop, refusal, fence and release from now on, likewise. Not a checkpoint."""
        _require_function(follow)
        self._driver.notices.followers.append(follow)

    async def switchover(self) -> None:
        """Make the peer primary. A checkpoint. ``RoleStaysError`` with its causes if that did not come about.

        Any other ``FailedError`` if the node ended meanwhile, or another switchover is under way.
        """
        await self._driver.roles.hand_over()

    def rehearse_switchover(self) -> Rehearsal:
        """What ``switchover`` would do now, of which nothing is done. Not a checkpoint."""
        return rehearse_switchover(self._driver, self._link)

    def rehearse_failover(self) -> FailoverPlan:
        """What would follow if the other node died now. Not a checkpoint."""
        return plan_failover(self._driver.state)

    def verify(self) -> int:
        """Begin to compare both copies while they are in use; its number. How it goes is in ``status``.

        One that runs goes on, one that was interrupted goes on where it was. ``FailedError`` with the reason if this
        node is not the primary of two members in sync, or has ended. Not a checkpoint.
        """
        self._require_life()
        return self._driver.verifications.ask()

    def plan_force(self, abandon: str) -> Plan:
        """What ``force_primary`` would change, of which nothing is done. Not a checkpoint.

        ``InvalidError`` if ``abandon`` is not the other node, ``FailedError`` with the reason why it cannot be forced.
        """
        return self._driver.roles.plan_force(abandon)

    async def force_primary(self, plan: Plan) -> None:
        """Make this node the only one that counts, and its copy the volume. Returns once the arbiter has taken it.

        Only for whoever knows that the other node is powered off, or has had it fenced and says so with
        ``plan.fenced(evidence)``: what it acknowledged, and this copy does not hold, is lost, and so is all that it
        acknowledges until it finds out. ``FailedError`` with the reason if it did not come about, as when the record is
        not the plan's any more. A checkpoint. Cancelled: it may come about all the same.
        """
        await self._driver.roles.force(plan)

    def stop(self, reason: str) -> None:
        """Ask the node to say goodbye and end. Legal anywhere, returns at once; the first reason counts.

        The other node is told it in one line of at most 256 bytes, with a question mark for what is not printable.
        """
        if not self._stop_asked.is_set():
            self._stop_reason = reason
            self._stop_asked.set()

    async def run(self, *, task_status: "trio.TaskStatus[Node]") -> None:
        """Initialise the components, join the pair, go on until ``stop``. Called by ``run_node``."""
        with self.current():
            self._consumers.start()
            await self._supervisor.init()
            self._driver.start()
            self._policies.start(self._nursery, lambda: self.status().verdict == "protected")
            self._nursery.start_soon(self._component_watch.run)
            await self._take_part(task_status)

    def close(self) -> None:
        """Its tasks have ended, nobody can use it any more: tell whoever still waits for it. For ``run_node``."""
        self.has_ended = True
        self._driver.end()
        self._consumers.close()

    def _require_life(self) -> None:
        if self.has_ended:
            raise FailedError(f"node {self.config.node} has ended")

    async def _take_part(self, task_status: "trio.TaskStatus[Node]") -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._supervisor.run)
            task_status.started(self)
            await self._stop_asked.wait()
            self._driver.notices.tell("stop", "asked", self._stop_reason)
            self._file_watch.stopping()
            nursery.cancel_scope.cancel(reason=f"stopping: {self._stop_reason}")
        failures = [*self._component_watch.ended_by]
        try:
            await self._supervisor.quiesce()
        except ComponentError as error:
            failures.append(error)
        clean = await self._driver.leave(self._stop_reason)
        self._driver.notices.tell("stop", "done" if clean else "unclean", self._stop_reason)
        await self._consumers.tell_all()
        if failures:
            raise failures[0]

    @property
    def handler_errors(self) -> Sequence[Exception]:
        """What handlers and callbacks raised."""
        return self._consumers.errors

    @property
    def component_errors(self) -> Sequence[ComponentError]:
        """What hooks of components raised, as causes: the latest of each component, even if it runs again."""
        return tuple(self._supervisor.faults.raised.values())


def _require_function(follow: object) -> None:
    if not callable(follow):
        raise TypeError(f"who follows is {follow!r}: give a function")
