"""What is wrong with the data: each node tells the other one, so that neither says that all is well of what is not.

Of the data the primary knows, and tells. The secondary goes on with what it was told when the role comes to it. Of its
disk each node tells by itself.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from ctlha_trio.ha._medium import MediumLog
from ctlha_trio.ha._outbox import Outbox
from ctlha_trio.ha._status import role_of
from ctlha_trio.pair import DataFault, DataFaultTold, PairState, Range, Verification
from ctlha_trio.wire import Feature

TOLD_RUNS_MAX: Final = 64
"""Runs of lost blocks that are told by place when a session begins. With what lies between them they are half as many
messages as may wait to be sent."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class DataFaults:
    """As one node knows them. Nothing here is of any consequence for the pair."""

    medium: MediumLog
    _outbox: Outbox
    _state: Callable[[], PairState]
    _known: Sequence[Range] = ()
    """Blocks that the disk names as damaged, from before this start. Whether the other copy has them whole shows when
    somebody reads them: then they are repaired."""
    copies_differ: bool = attrs.field(default=False, init=False)
    """As a comparison has found, here or at the peer, and none that was complete has found otherwise since."""
    file_gone: bool = attrs.field(default=False, init=False)
    """The name of this node's copy is not that of the open file any more."""
    peer_disk_fails: bool = attrs.field(default=False, init=False)
    """As it says in this session."""
    _hears: bool = attrs.field(default=False, init=False)
    """Whether there is a session in which the peer is to be told."""
    _leads: bool = attrs.field(default=False, init=False)
    """Whether the peer was told everything, and what changes is all that it has to be told."""
    _has_untold: bool = attrs.field(default=False, init=False)
    """There were more runs than it was told by place."""
    _told: dict[DataFault, bool] = attrs.field(factory=dict, init=False)
    _found_since: set[DataFault] = attrs.field(factory=set, init=False)
    """Since the comparison that runs, or was interrupted, began, and not by it: it may lie behind it."""

    def __attrs_post_init__(self) -> None:
        self.medium.on_mended = self._mended
        self.medium.counts = self._is_primary
        for offset, size in self._known:
            self.medium.add_damaged(offset, size)
            _LOG.error("damaged, as before this start: %d bytes at %d", size, offset)

    def session_began(self) -> None:
        """Tell the peer, if it is of a version that hears such."""
        self.session_ended()
        self._hears = self._outbox.may_say(Feature.DATA_FAULTS)
        self._look()

    def session_ended(self) -> None:
        """What the peer says of its disk is of the session."""
        self._hears = self._leads = self.peer_disk_fails = False
        self._told.clear()

    def stepped(self, before: PairState, after: PairState) -> None:
        """The core has stepped."""
        if after.phase is before.phase and after.verification is before.verification and after.resync is before.resync:
            return
        verification, resync = after.verification, after.resync
        if verification is not None and verification is not before.verification:
            if _begins(verification, before.verification):
                self._found_since.clear()
            self._compared(verification)
        if resync is not None and resync is not before.resync and resync.whole:
            self.copies_differ = False
        self._look()

    def _compared(self, verification: Verification) -> None:
        """That there is nothing only a pass over all of the volume can tell. What was found of a copy ends with it."""
        is_complete = not verification.running and not verification.why
        if verification.differing_bytes:
            self.copies_differ = True
        elif not verification.partner or (is_complete and DataFault.COPIES_DIFFER not in self._found_since):
            self.copies_differ = False
        if is_complete and not verification.unreadable_bytes and DataFault.MORE_BLOCKS_LOST not in self._found_since:
            self.medium.has_more = False

    def lost(self, offset: int, size: int) -> None:
        """Blocks are damaged on every copy that counts. Only news is told: they are read at any rate."""
        if self._add(offset, size) and self._leads:
            self._say(DataFault.BLOCKS_LOST, True, offset, size)
        self._look()

    def file_is(self, gone: bool) -> None:
        """Whether the copy of this node ends with its process."""
        self.file_gone = gone
        self._look()

    def take(self, told: DataFaultTold) -> None:
        """The peer tells. Of the data only whoever is primary, of this epoch or of one that this node comes to."""
        state = self._state()
        if told.fault is DataFault.DISK_FAILING:
            self.peer_disk_fails = told.is_so
        elif told.epoch > state.epoch or (told.epoch == state.epoch and not self._is_primary()):
            self._take_of_data(told)

    def _take_of_data(self, told: DataFaultTold) -> None:
        if told.is_so:
            self._found_since.add(told.fault)
        match told.fault:
            case DataFault.BLOCKS_LOST if told.is_so:
                self._add(told.offset, told.size)
            case DataFault.BLOCKS_LOST:
                self.medium.forget(told.offset, told.size)
            case DataFault.MORE_BLOCKS_LOST:
                self.medium.has_more = told.is_so
            case _:
                self.copies_differ = told.is_so

    def _add(self, offset: int, size: int) -> bool:
        """Whether that is news."""
        is_news = self.medium.add_damaged(offset, size)
        if not self.medium.knows(offset, size):
            self._found_since.add(DataFault.MORE_BLOCKS_LOST)
        if is_news:
            _LOG.error("damaged on every copy that counts: %d bytes at %d", size, offset)
        return is_news

    def _is_primary(self) -> bool:
        return role_of(self._state()) == "primary"

    def _mended(self, offset: int, size: int) -> None:
        if self._leads:
            self._say(DataFault.BLOCKS_LOST, False, offset, size)
        self._look()

    def _look(self) -> None:
        """Tell the peer what it does not know."""
        if not self._hears:
            return
        is_primary = self._is_primary()
        if is_primary and not self._leads:
            self._tell_places()
        self._leads = is_primary
        self._tell(DataFault.DISK_FAILING, self.medium.is_failing or self.file_gone)
        if is_primary:
            has_untold = self._has_untold and self.medium.has_damage
            self._tell(DataFault.MORE_BLOCKS_LOST, self.medium.has_more or has_untold)
            self._tell(DataFault.COPIES_DIFFER, self.copies_differ)

    def _tell_places(self) -> None:
        """Of every range whether it is lost. What the peer knows otherwise is of the past."""
        self._told.clear()
        runs, end = list(self.medium.runs()), self._state().size_bytes
        self._has_untold = len(runs) > TOLD_RUNS_MAX
        place = 0
        for offset, size in runs[:TOLD_RUNS_MAX]:
            if place < offset:
                self._say(DataFault.BLOCKS_LOST, False, place, offset - place)
            place = min(offset + size, end)
            self._say(DataFault.BLOCKS_LOST, True, offset, place - offset)
        if place < end:
            self._say(DataFault.BLOCKS_LOST, False, place, end - place)

    def _tell(self, fault: DataFault, is_so: bool) -> None:
        if self._told.get(fault) is not is_so:
            self._told[fault] = is_so
            self._say(fault, is_so, 0, 0)

    def _say(self, fault: DataFault, is_so: bool, offset: int, size: int) -> None:
        self._outbox.say(DataFaultTold(self._state().epoch, fault, is_so, offset, size))


def _begins(verification: Verification, before: Verification | None) -> bool:
    """Whether that is the first step of a comparison of everything: one that goes on does not look back."""
    is_another = before is None or before.number != verification.number
    return is_another and verification.running and not verification.cursor
