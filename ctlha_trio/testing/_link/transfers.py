"""What may become of transfers: each ends once, in time, and as what it says is true.

L8 a transfer ends once, at its deadline at the latest, and before channels hear of the end of the session. L9 it ends
as done only if it may and all of it is where it belongs; else its reason is true, and so is the count of what is left.
L10 memory of a transfer that is over is left alone.
"""

from typing import Final

import attrs

from ctlha_trio._vocabulary import ctl_ha_status
from ctlha_trio.dma import Dma, Rights, Transfer
from ctlha_trio.link import Link
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.journal import Journal
from ctlha_trio.testing._link.memories import GUARD_BYTES, Memories, Memory, Writing, common_prefix, data_of
from ctlha_trio.wire import FRAGMENT_SIZE_MAX, Denial

LATE_S: Final = 0.001
"""A deadline is met in its own moment."""
SCRIBBLE: Final = b"\xfd"
SUCCESS, DISCONNECT = ctl_ha_status.CTL_HA_STATUS_SUCCESS, ctl_ha_status.CTL_HA_STATUS_DISCONNECT


def is_in_hand(link: Link, transfer: Transfer | None) -> bool:
    """Whether a fragment of that push is just being sent."""
    connection = link._connection
    held = connection._requests._in_hand if connection is not None else ()
    return any(push.transfer is transfer for push in held)


@attrs.define(eq=False, kw_only=True)
class Moved:
    """One push or pull."""

    number: int
    name: str
    """Who started it."""
    link: Link
    dma: Dma
    session: int
    is_push: bool
    memory: Memory
    offset: int
    local: bytearray
    """The starter's memory."""
    deadline_s: float | None
    may_be_done: bool
    """Whether nothing is against it at its start."""
    epochs: set[int] = attrs.field(factory=set)
    """In which the starter was meanwhile."""
    writing: Writing | None = None
    transfer: Transfer | None = None
    is_cancelled: bool = False
    is_over: bool = False
    frozen: bytes = b""
    """The starter's memory, once it is over."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.local)

    @property
    def rights(self) -> Rights:
        """That it needs."""
        return Rights.WRITE if self.is_push else Rights.READ

    @property
    def told(self) -> str:
        """For lines."""
        return f"{'push' if self.is_push else 'pull'} {self.number}"

    @property
    def reading(self) -> tuple[int, int]:
        """The part of the block that is pulled."""
        return GUARD_BYTES + self.offset, GUARD_BYTES + self.offset + self.size


@attrs.define(eq=False)
class Transfers:
    """The model of all of them."""

    _journal: Journal
    _memories: Memories
    all: list[Moved] = attrs.field(factory=list, init=False)
    waiting: dict[Moved, None] = attrs.field(factory=dict, init=False)

    def of(self, name: str) -> list[Moved]:
        """Those of an end that are not over."""
        return [moved for moved in self.waiting if moved.name == name]

    def start(self, moved: Moved) -> None:
        """Start it. Raises what the link does; then it was not."""
        remote = moved.memory.remote.at(moved.offset)
        at_once: list[Transfer] = []
        on_done = at_once.append

        def tell(transfer: Transfer) -> None:
            (on_done if moved.transfer is None else self._done(moved))(transfer)

        if moved.is_push:
            moved.transfer = moved.dma.start_push(remote, moved.local, on_done=tell, deadline_s=moved.deadline_s)
        else:
            into = memoryview(moved.local)
            moved.transfer = moved.dma.start_pull(remote, into, on_done=tell, deadline_s=moved.deadline_s)
        if at_once:
            self._journal.problem(f"L8: {moved.told} of {moved.name} ends within its start")
        self.all.append(moved)
        self.waiting[moved] = None
        self._journal.counts["transfers"] += 1
        moved.memory.under_way += 1
        if moved.may_be_done:
            if moved.is_push:
                moved.writing = Writing(GUARD_BYTES + moved.offset, bytes(moved.local))
                moved.memory.writings.append(moved.writing)
            else:
                moved.memory.readings.append(moved.reading)
        due = "" if moved.deadline_s is None else f", until {moved.deadline_s:.6f}"
        place = f"key {moved.memory.number} at {moved.offset}"
        self._journal.note(moved.name, f"starts {moved.told}: {moved.size} bytes, {place}{due}")

    def cancel(self, moved: Moved) -> None:
        """Take it back."""
        assert moved.transfer is not None
        in_hand = is_in_hand(moved.link, moved.transfer)
        self._journal.note(moved.name, f"cancels {moved.told}")
        moved.is_cancelled = True
        moved.transfer.cancel()
        if not moved.is_over and not in_hand:
            self._journal.problem(f"L8: {moved.told} of {moved.name} goes on although it was cancelled")
        self._journal.reach(Situation.CANCELLED_IN_HAND, if_so=in_hand)

    def enter_epoch(self, name: str, epoch: int) -> None:
        """A node is at another epoch."""
        for moved in self.of(name):
            moved.epochs.add(epoch)

    def check_lost(self, name: str, link: Link) -> None:
        """The channels of a link are about to hear of the end of its session."""
        left = [moved.told for moved in self.waiting if moved.link is link]
        if left:
            self._journal.problem(f"L8: channels of {name} hear of the end before {left} have ended")

    def check_deadlines(self) -> None:
        """None waits beyond its own."""
        for moved in self.waiting:
            late = moved.deadline_s is not None and moved.dma.now() > moved.deadline_s + LATE_S
            if late and not is_in_hand(moved.link, moved.transfer):
                self._journal.problem(f"L8: {moved.told} of {moved.name} waits beyond its deadline")
            self._journal.reach(Situation.OVERDUE_IN_HAND, if_so=late)

    def check_all_left_alone(self) -> None:
        """What is over is not touched."""
        for moved in self.all:
            if moved.is_over and moved.frozen != moved.local:
                self._journal.problem(f"L10: memory of {moved.told} of {moved.name} is written to after its end")

    def _done(self, moved: Moved) -> "_Ending":
        return _Ending(self._journal, self._memories, self, moved)


@attrs.define(eq=False)
class _Ending:
    """Judges the end of one transfer."""

    _journal: Journal
    _memories: Memories
    _transfers: Transfers
    _moved: Moved

    def __call__(self, transfer: Transfer) -> None:
        """It is said to be over."""
        moved = self._moved
        left = f", {transfer.left_bytes} left" if transfer.left_bytes else ""
        said = f"{transfer.status.name} {transfer.reason}".strip().removeprefix("CTL_HA_STATUS_")
        self._journal.note(moved.name, f"{moved.told} is over: {said}{left}")
        if moved.is_over:
            self._say("L8", "ends twice")
            return
        moved.is_over = True
        del self._transfers.waiting[moved]
        if transfer is not moved.transfer:
            self._say("L8", "ends as another one")
        if moved.memory.readings and not moved.is_push and moved.may_be_done:
            moved.memory.readings.remove(moved.reading)
        if transfer.status is SUCCESS:
            self._end_done(transfer)
        elif transfer.status is DISCONNECT:
            self._end_lost()
        elif transfer.reason in {"cancelled", "deadline"}:
            self._end_taken_back(transfer)
        else:
            self._end_denied(transfer)
        self._check_left(transfer)
        self._leave()

    def _say(self, rule: str, what: str) -> None:
        self._journal.problem(f"{rule}: {self._moved.told} of {self._moved.name} {what}")

    def _end_done(self, transfer: Transfer) -> None:
        moved = self._moved
        moved.memory.under_way -= 1
        if not moved.may_be_done or moved.memory.epoch not in moved.epochs:
            self._say("L9", "is done, and was not allowed")
        if transfer.left_bytes or transfer.reason:
            self._say("L9", f"is done with {transfer.left_bytes} bytes left: {transfer.reason!r}")
        if moved.deadline_s is not None and moved.dma.now() > moved.deadline_s + LATE_S:
            self._say("L8", "is done beyond its deadline")
        several = moved.size > FRAGMENT_SIZE_MAX
        if moved.is_push:
            if moved.writing is not None and not moved.memory.placed(moved.writing):
                self._say("L5", "is done, and its data is not there")
            self._journal.reach(Situation.PUSHED)
            self._journal.reach(Situation.PUSHED_IN_FRAGMENTS, if_so=several)
        else:
            self._journal.reach(Situation.PULLED)
            self._journal.reach(Situation.PULLED_IN_FRAGMENTS, if_so=several)
        self._journal.counts["transfers_done"] += 1
        self._memories.use(moved.memory)

    def _end_lost(self) -> None:
        moved = self._moved
        if moved.link.session_id == moved.session:
            self._say("L9", "ends with the session, which lives")
        self._journal.reach(Situation.TRANSFER_LOST)

    def _end_taken_back(self, transfer: Transfer) -> None:
        moved = self._moved
        if transfer.reason == "cancelled":
            if not moved.is_cancelled:
                self._say("L9", "ends as cancelled, and nobody did")
            self._journal.reach(Situation.PUSH_CANCELLED if moved.is_push else Situation.PULL_CANCELLED)
            return
        if moved.deadline_s is None or moved.dma.now() < moved.deadline_s:
            self._say("L9", "ends for its deadline, before it")
        self._journal.reach(Situation.PUSH_OVERDUE if moved.is_push else Situation.PULL_OVERDUE)

    def _end_denied(self, transfer: Transfer) -> None:
        moved, memory = self._moved, self._moved.memory
        memory.under_way -= 1
        denial = Denial(transfer.reason)
        if denial is Denial.STALE_EPOCH:
            is_true = moved.epochs != {memory.epoch}
        else:
            is_true = self._memories.may_be_denied(
                memory, denial, rights=moved.rights, offset=moved.offset, size=moved.size
            )
        if not is_true:
            self._say("L9", f"is denied as {denial.value}, which is not so")
        self._journal.counts["denials"] += 1
        self._journal.reach(Situation[f"DENIED_{denial.name}"])

    def _check_left(self, transfer: Transfer) -> None:
        """What is said to have been moved was."""
        moved = self._moved
        if not 0 <= transfer.left_bytes <= moved.size or (transfer.left_bytes == 0) != (transfer.status is SUCCESS):
            self._say("L9", f"says that {transfer.left_bytes} of {moved.size} bytes are left")
        came = moved.size - transfer.left_bytes
        if moved.is_push:
            if moved.writing is None:
                if came and transfer.status is not SUCCESS:
                    self._say("L9", f"is said to have placed {came} bytes, and was not allowed")
            elif moved.writing in moved.memory.writings and came > self._placed(moved.writing):
                self._say("L9", f"is said to have placed {came} bytes, which are not there")
            return
        seen, there = bytes(moved.local), moved.memory.content(moved.offset, moved.size)
        if not moved.may_be_done:
            if seen != _untouched(moved.size):
                self._say("L9", "has brought data that it may not have")
        elif seen[:came] != there[:came]:
            self._say("L9", f"is said to have brought {came} bytes, which are not the peer's")

    def _placed(self, writing: Writing) -> int:
        return common_prefix(self._moved.memory.seen(writing), writing.data)

    def _leave(self) -> None:
        """The memory is its owner's again, who changes it at once."""
        moved = self._moved
        if moved.is_push:
            moved.local[:] = SCRIBBLE * moved.size
        moved.frozen = bytes(moved.local)


def _untouched(size: int) -> bytes:
    """What is in a starter's memory before a pull."""
    return b"\xee" * size


def local_for(number: int, size: int, *, is_push: bool) -> bytearray:
    """A starter's memory: data to push, or room for what is pulled."""
    return bytearray(data_of(number, size) if is_push else _untouched(size))
