"""What waits to become durable: a bounded queue in the order of the calls, emptied at once by the commit loop."""

from collections.abc import Awaitable, Callable

import attrs
import trio

from ctlha_trio._errors import DamagedBlockError, RecordsFullError, StoreError
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Buffer

BATCH_STEPS_MAX = 256
"""Steps that wait while a batch is on the disk. More than the operations that a pair keeps in flight; a batch of them
is one flush, and beyond a few hundred the flush is no longer what it costs."""
BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Bytes that wait. At 20 MB/s, a bad day of a bad disk, a batch takes 0.2 s: well inside the time after which a disk
call counts as hung. A single larger step goes alone."""


Refusal = DamagedBlockError | RecordsFullError


@attrs.define(eq=False)
class Step:
    """One thing to make durable. It is executed even if nobody waits for it any more."""

    durable: bool = False
    refusal: Refusal | None = None
    """Why it was not executed, although the store lives."""
    ended: trio.Event = attrs.field(factory=trio.Event)
    """Set when it is durable or refused, or when the store died first."""
    on_end: "Callable[[Step], None]" = lambda _: None
    """Called when it is durable or refused; never when the store died first."""

    @property
    def size_bytes(self) -> int:
        """Bytes that it holds in memory; nothing worth counting unless it carries data."""
        return 0


@attrs.define(eq=False, kw_only=True)
class WriteStep(Step):
    """Data for one range of the volume."""

    offset: int
    data: Buffer
    """That nobody changes until it has ended."""
    repairs: bool = False
    """It is what the peer's copy holds: it makes nothing dirty. Whole blocks only. Cut by the loss of power it leaves
    them damaged, to be repaired again: what it replaces is no write that may stay half done. So they are named as
    damaged while it is under way."""

    @property
    def size_bytes(self) -> int:
        """Bytes of data."""
        return len(self.data)


@attrs.define(eq=False, kw_only=True)
class PersistStep(Step):
    """Metadata for the next slot, and its encoded form."""

    metadata: Metadata
    payload: bytes


@attrs.define(eq=False, kw_only=True)
class OrderStep(Step):
    """Anything else that is to happen while nothing is being written."""

    carry_out: Callable[[], Awaitable[None]]


@attrs.define(eq=False)
class StepQueue:
    """Steps in the order in which they were put, for one taker. Dies once, and then wakes everybody with the reason."""

    _queued: list[Step] = attrs.field(factory=list, init=False)
    _queued_bytes: int = attrs.field(default=0, init=False)
    _taken: list[Step] = attrs.field(factory=list, init=False)
    _taker_waits: bool = attrs.field(default=False, init=False)
    _alone: bool = attrs.field(default=False, init=False)
    """One step is under way by itself."""
    _fault: BaseException | None = attrs.field(default=None, init=False)
    """What the taker raises."""
    _entrance: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _arrival: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _lone_end: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _death: StoreError | None = attrs.field(default=None, init=False)

    async def complete(self, step: Step) -> None:
        """Put a step in, wait until it is durable. A checkpoint.

        ``StoreError`` if the store died before, ``DamagedBlockError`` or ``RecordsFullError`` if the step was refused.
        Cancelled while there is no room: nothing was queued. Cancelled later: the step is executed all the same.
        """
        if not self.put_nowait(step):
            async with self._entrance:
                self.check()
                while not self._has_room(step):
                    await self._room.park()
                    self.check()
                self._put(step)
        await step.ended.wait()
        if step.refusal is not None:
            raise step.refusal
        if not step.durable:
            self.check()

    def put_nowait(self, step: Step) -> bool:
        """Put a step in, to be waited for or told of; False if there is no room now. ``StoreError`` if dead."""
        self.check()
        # The lock hands over in the order of arrival; whoever finds it free and room in the queue overtakes nobody.
        if self._entrance.locked() or not self._has_room(step):
            return False
        self._put(step)
        return True

    async def take(self) -> list[Step]:
        """Wait for at least one step, take all. Those taken before must have ended. ``StoreError`` if dead."""
        self.check()
        self._taker_waits = True
        try:
            while self._fault is None and (not self._queued or self._alone):
                await self._arrival.park()
                self.check()
            self._raise_fault()
        finally:
            self._taker_waits = False
        self._taken, self._queued, self._queued_bytes = self._queued, [], 0
        self._room.unpark_all()
        return self._taken

    @property
    def is_idle(self) -> bool:
        """Whether the taker waits, as it does not before the store has recovered, and nothing else does."""
        return self._taker_waits and not self._queued and not self._alone and not self._entrance.locked()

    def begin_alone(self, step: Step) -> None:
        """Take one step that was never put in, while idle: the taker gets nothing until ``end_alone``."""
        self._taken, self._alone = [step], True

    def end_alone(self) -> None:
        """It is under way no more."""
        self._alone = False
        if self._queued:
            self._arrival.unpark_all()
        self._lone_end.unpark_all()

    async def wait_alone(self) -> None:
        """Return once no step is under way alone, cancelled or not. Raises as ``take``, and what that one died of."""
        with trio.CancelScope(shield=True):
            while self._alone:
                await self._lone_end.park()
        self._raise_fault()
        self.check()

    def fail(self, fault: BaseException) -> None:
        """Let the taker, which waits or is about to, raise it."""
        self._fault = fault
        self._arrival.unpark_all()

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def mark_durable(self, step: Step) -> None:
        """Answer whoever waits for a step. ``StoreError`` if the store died meanwhile: then it was answered so."""
        self.check()
        step.durable = True
        step.ended.set()
        step.on_end(step)

    def refuse(self, step: Step, reason: Refusal) -> None:
        """Answer whoever waits for a step that it was not executed."""
        self.check()
        step.refusal = reason
        step.ended.set()
        step.on_end(step)

    def die(self, reason: StoreError) -> None:
        """End the queue. Every step under way and every later call gets the first reason."""
        if self._death is not None:
            return
        self._death = reason
        for step in (*self._taken, *self._queued):
            step.ended.set()
        self._queued, self._queued_bytes = [], 0
        self._room.unpark_all()
        self._arrival.unpark_all()

    @property
    def is_dead(self) -> bool:
        """Whether it has ended, and everybody has the reason."""
        return self._death is not None

    def check(self) -> None:
        """``StoreError`` that names the first reason, once dead."""
        if self._death is not None:
            raise StoreError(f"the store is dead: {self._death}") from self._death

    def _has_room(self, step: Step) -> bool:
        fits = len(self._queued) < BATCH_STEPS_MAX and self._queued_bytes + step.size_bytes <= BATCH_BYTES_MAX
        return fits or not self._queued

    def _put(self, step: Step) -> None:
        self._queued.append(step)
        self._queued_bytes += step.size_bytes
        self._arrival.unpark_all()
