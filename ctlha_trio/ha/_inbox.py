"""What the peer says: events of the pair's channel in order, and the ring into which it pushes data."""

import logging
from mmap import mmap
from typing import Final, Protocol

import attrs
import trio

from ctlha_trio._errors import DisconnectError, RemoteProtocolError
from ctlha_trio.dma import Dma, Region, TransferCounters
from ctlha_trio.ha._raising import raise_in
from ctlha_trio.link import Channel, ChannelEvent, Connected, Disconnected, EventRange, Link, LossReason
from ctlha_trio.pair import (
    DataFaultTold,
    Grant,
    Operation,
    OperationKind,
    Pushed,
    ResyncLeft,
    Spoken,
    decode,
    decode_record,
    decode_records,
    pushed_bytes,
)
from ctlha_trio.pair.events import BEGUN_ANEW, Loss
from ctlha_trio.pair.messages import (
    Compare,
    CopyData,
    Damaged,
    Fetch,
    MirrorRecord,
    MirrorWrite,
    MirrorZeroes,
    OwnRange,
    Propose,
    RepairData,
    Seal,
)
from ctlha_trio.seams import Buffer

RING_BYTES: Final = 8 << 20
"""Data pushed and not yet stored: eight of the largest writes, thousands of small ones."""

_LOG: Final = logging.getLogger(__name__)
_LOSSES: Final = {
    LossReason.CLOSED: Loss.CLOSED,
    LossReason.DROPPED: Loss.CLOSED,
    LossReason.REPLACED: Loss.CLOSED,
    LossReason.SILENT: Loss.SILENT,
    LossReason.GOODBYE: Loss.GOODBYE,
}


class Hearer(Protocol):
    """Who is told."""

    def session_began(self, session: int, peer_incarnation: int) -> None:
        """A session, by the link's id."""

    def session_ended(self, loss: Loss) -> None:
        """It is over."""

    def heard(self, spoken: Spoken, data: Buffer) -> None:
        """A message, with the data that was placed for it.

        That of a write is lent: it lies in the ring, and stays as it is until the peer is told that it is stored.
        """


@attrs.define(eq=False)
class Inbox:
    """Reads the channel, in order, for one hearer. What that raises ends the node, and nothing is told after it."""

    _link: Link
    _channel: Channel
    _dma: Dma
    _hearer: Hearer
    _nursery: trio.Nursery
    """The node's."""
    _size_bytes: int
    """Of the volume."""
    _counters: TransferCounters = attrs.field(factory=TransferCounters)
    _rings: dict[int, memoryview] = attrs.field(factory=dict, init=False)
    """By epoch: the one that is granted, and the one before, of which messages may still wait to be read."""
    _region: Region | None = attrs.field(default=None, init=False)
    _deaf: bool = attrs.field(default=True, init=False)
    """There is no session, or the peer said in it what it may not: what it said after that does not count."""
    _has_ended: bool = attrs.field(default=False, init=False)

    def grant(self, epoch: int) -> Grant | None:
        """Make and name a ring for this session and epoch; None if the session has just ended.

        The one before stays as it is: the disk may still write out of it. It is gone when nobody looks at it any more.
        """
        if self._region is not None:
            self._region.close()
            self._region = None
        # From the kernel, which gives memory only for what is written to.
        ring = memoryview(mmap(-1, RING_BYTES))
        self._rings = {**dict(list(self._rings.items())[-1:]), epoch: ring}
        try:
            self._region = self._dma.register(ring, epoch=epoch, reserved=True, counters=self._counters)
        except DisconnectError:
            return None
        return Grant(epoch, self._region.key, RING_BYTES)

    def drop_session(self, reason: str, *, blames_peer: bool = True) -> None:
        """End the session, and hear nothing more that came in it; because the peer broke the protocol, or not."""
        if blames_peer:
            _LOG.error("the session ends, for the peer broke the protocol: %s", reason)
        else:
            _LOG.info("the session ends, and another one begins: %s", reason)
        self._deaf = True
        self._link.drop(reason)

    async def run(self) -> None:
        """Tell the hearer of everything, each in the turn of the loop in which the link has it, until cancelled."""
        self._channel.hear(self._take, self._hear)
        try:
            await trio.sleep_forever()
        finally:
            self._has_ended = True

    def _take(self, event: ChannelEvent) -> None:
        if self._has_ended:
            return
        try:
            self._tell(event)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._has_ended = True
        raise_in(self._nursery, error)

    def _tell(self, event: ChannelEvent) -> None:
        match event:
            case Connected():
                self._deaf = False
                self._hearer.session_began(event.session, event.peer_incarnation)
            case Disconnected():
                self._log_end(event)
                self._deaf = True
                self._hearer.session_ended(_LOSSES[event.reason])
            case EventRange():
                # MSG_SENT: the pair's own messages are answered by messages.
                pass

    def _log_end(self, ended: Disconnected) -> None:
        peer, why = self._link.config.peer, ended.detail
        match ended.reason:
            case LossReason.SILENT:
                _LOG.warning("the session ends, for the peer is silent: %s", why)
            case LossReason.DROPPED if why == BEGUN_ANEW:
                _LOG.info("node %s ends the session, and another one begins: %s", peer, why)
            case LossReason.DROPPED:
                _LOG.warning("node %s dropped the session: %s", peer, why)
            case LossReason.GOODBYE:
                _LOG.info("node %s said goodbye: %s", peer, why)
            case _ if not self._deaf:  # or it is said already
                _LOG.info("the session with node %s ended: %s", peer, why)

    def _hear(self, count: int) -> None:
        if self._has_ended:
            return
        try:
            self._tell_received(count)
        except BaseException as error:
            self._fail(error)

    def _tell_received(self, count: int) -> None:
        for _ in range(count):
            slot = self._channel.receive_nowait()
            if self._deaf:
                continue
            try:
                spoken = decode(slot)
                data = self._data_of(spoken)
            except RemoteProtocolError as error:
                self.drop_session(str(error))
            else:
                self._hearer.heard(spoken, data)

    def _data_of(self, spoken: Spoken) -> Buffer:
        """The placed data: of a write as it lies in the ring, for the disk; of all else a copy."""
        message = spoken.message if isinstance(spoken, Pushed) else spoken
        where = message.operation if isinstance(message, Propose) else message
        if (
            isinstance(
                where,
                Operation
                | MirrorWrite
                | MirrorZeroes
                | CopyData
                | RepairData
                | Compare
                | Fetch
                | Damaged
                | OwnRange
                | DataFaultTold,
            )
            and where.offset + where.size > self._size_bytes
        ):
            raise RemoteProtocolError("out-of-range", f"{where.size} bytes at {where.offset} of the volume")
        if isinstance(spoken, ResyncLeft) and spoken.left_bytes > self._size_bytes:
            raise RemoteProtocolError("out-of-range", f"{spoken.left_bytes} bytes left of the volume")
        if not isinstance(spoken, Pushed):
            return b""
        end = spoken.ring_offset + pushed_bytes(spoken.message)
        if end > RING_BYTES:
            raise RemoteProtocolError("out-of-range", f"data up to {end} of the ring")
        ring = self._rings.get(spoken.message.epoch)
        if ring is None:
            raise RemoteProtocolError("out-of-range", f"no ring was granted for epoch {spoken.message.epoch}")
        placed = ring[spoken.ring_offset : end].toreadonly()
        if isinstance(spoken.message, MirrorWrite):
            return placed
        data = bytes(placed)
        match spoken.message:
            case MirrorRecord() as told:
                record = decode_record(data)
                if (record.epoch, record.sequence) != (told.epoch, told.sequence):
                    raise RemoteProtocolError("malformed", f"a record of another version: {record}")
            case Propose(operation=operation, size=size):
                data = data[:size]
                if operation.kind is OperationKind.PUT_RECORD:
                    decode_record(data)
            case Seal(size=size):
                data = data[:size]
                decode_records(data)
            case _:
                pass
        return data
