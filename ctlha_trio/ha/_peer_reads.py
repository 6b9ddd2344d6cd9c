"""Ranges that a node reads for its peer: to compare them, to copy them, to repair the peer's."""

import hashlib
from collections.abc import Callable, Collection
from itertools import islice
from typing import Final

import attrs

from ctlha_trio.ha._disk_work import DiskWork
from ctlha_trio.ha._outbox import Outbox
from ctlha_trio.pair import RANGES_LIMIT, actions, events, messages
from ctlha_trio.store import BlockStore

DIGEST_BYTES: Final = 32


def digest_of(data: bytes) -> bytes:
    """BLAKE2b: two ranges that differ in a bit must never be taken as equal."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def say_ready(store: BlockStore, outbox: Outbox, action: actions.SendReady) -> None:
    """Name the ranges in which this copy may differ by its own doing; none, and no base, if they are too many."""
    ranges, base_epoch = list(islice(store.dirty_ranges(), RANGES_LIMIT)), action.base_epoch
    if len(ranges) == RANGES_LIMIT:
        ranges, base_epoch = [], 0
    for offset, size in ranges:
        outbox.say(messages.OwnRange(action.epoch, offset, size))
    outbox.say(messages.ResyncReady(action.epoch, base_epoch))


@attrs.define(eq=False)
class PeerReads:
    """What is read for one session is said in no other."""

    _disk: DiskWork
    _outbox: Outbox
    _feed: Callable[[events.Event], None]
    _under_way: Callable[[], Collection[int]]
    """Sequences of the operations that the core knows."""
    _kept: dict[int, bytes] = attrs.field(factory=dict, init=False)
    """The range under comparison, by sequence, until the peer has answered."""

    def send_compare(self, action: actions.SendCompare) -> None:
        """Then ``Compare`` is said, or ``Damaged``."""
        session = self._outbox.session

        def done(data: bytes) -> None:
            if session != self._outbox.session:
                return
            if action.keep:
                # A target that began anew within the session never answers what it was asked before.
                under_way = self._under_way()
                self._kept = {sequence: kept for sequence, kept in self._kept.items() if sequence in under_way}
                self._kept[action.sequence] = data
            self._outbox.say(
                messages.Compare(action.epoch, action.sequence, action.offset, action.size, digest_of(data))
            )

        def damaged(offset: int, size: int) -> None:
            self._feed(events.Damaged(action.sequence, offset, size))

        self._disk.read(action.offset, action.size, done, damaged)

    def compare(self, action: actions.CompareRange) -> None:
        """Then ``RangeCompared`` or ``RangeDamaged``."""

        def done(data: bytes) -> None:
            equal = digest_of(data) == action.digest
            self._feed(events.RangeCompared(action.session, action.sequence, equal))

        self._read_for(action, done)

    def push_range(self, action: actions.PushRange) -> None:
        """Then the range is pushed, or ``RangeDamaged``."""
        session = self._outbox.session

        def done(data: bytes) -> None:
            if session == self._outbox.session:
                repair = messages.RepairData(action.epoch, action.sequence, action.offset, action.size)
                self._outbox.push(repair, data)

        self._read_for(action, done)

    def push_copy(self, action: actions.PushCopy) -> None:
        """Push a range that was kept."""
        copy = messages.CopyData(action.epoch, action.sequence, action.offset, action.size)
        self._outbox.push(copy, self._kept.pop(action.sequence))

    def found_equal(self, sequence: int) -> None:
        """The peer has the same."""
        self._kept.pop(sequence, None)

    def session_ended(self) -> None:
        """Nobody can be asked for it any more."""
        self._kept.clear()

    def _read_for(self, action: actions.CompareRange | actions.PushRange, done: Callable[[bytes], None]) -> None:
        def damaged(offset: int, size: int) -> None:
            self._feed(events.RangeDamaged(action.session, action.sequence, offset, size))

        self._disk.read(action.offset, action.size, done, damaged)
