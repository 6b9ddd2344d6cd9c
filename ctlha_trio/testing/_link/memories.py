"""What may become of memory that an end has registered: only what was allowed, and nothing once its key is dead.

L5 a push that is done is placed, in full. L6 nothing is written outside the range of a push that is allowed. L7 nothing
is written with a key whose owner knows that it is dead.
"""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.dma import Region, Rights
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.journal import Journal
from ctlha_trio.wire import Denial

GUARD_BYTES: Final = 64
"""Before and behind each memory: whatever is written there was meant for it."""
CYCLE: Final = 251
_FORWARD: Final = bytes(range(CYCLE)) * 4000
_BACKWARD: Final = _FORWARD[::-1]


def data_of(number: int, size: int) -> bytes:
    """Data that differs from byte to byte, and from that of the next number."""
    start = number * 37 % CYCLE
    return _FORWARD[start : start + size]


def common_prefix(one: bytes, other: bytes) -> int:
    """Bytes that are equal at the beginning of both, which have one length."""
    low, high = 0, len(one)
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def is_part(seen: bytes, data: bytes, before: bytes, *, at_least: int = 0) -> bool:
    """Whether so much of the data, or more, was written over what was there before, from its beginning on."""
    count = common_prefix(seen, data)
    return count >= at_least and seen[count:] == before[count:]


@attrs.define(eq=False)
class Writing:
    """Data that is being placed, or of which nobody knows how much was."""

    start: int
    """In the memory's block."""
    data: bytes

    @property
    def end(self) -> int:
        """Behind it."""
        return self.start + len(self.data)


@attrs.define(eq=False)
class Memory:
    """Registered under one key, by one process. Times are seconds of its node's clock."""

    number: int
    owner: str
    session: int
    epoch: int
    size: int
    rights: Rights
    uses: int | None
    expires_s: float | None
    for_messages: bool
    """Whether pushes with messages go there: who makes trouble with keys leaves this one alone."""
    block: bytearray = attrs.field(init=False)
    region: Region = attrs.field(init=False)
    remote: RemoteBuffer = attrs.field(init=False)
    used: int = 0
    """Transfers that are done."""
    under_way: int = 0
    """Transfers that may still be done, or were without a word."""
    why: set[Denial] = attrs.field(factory=set, init=False)
    """Of what it has died, as its owner knows."""
    writings: list[Writing] = attrs.field(factory=list, init=False)
    readings: list[tuple[int, int]] = attrs.field(factory=list, init=False)
    """Parts of the block that are being pulled."""
    _image: bytearray = attrs.field(init=False)
    """The block as it must be, but for the writings."""
    _frozen: bytes | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Fill it."""
        self.block = bytearray(_BACKWARD[: self.size + 2 * GUARD_BYTES])
        self._image = bytearray(self.block)

    @property
    def view(self) -> memoryview:
        """What is registered."""
        return memoryview(self.block)[GUARD_BYTES : GUARD_BYTES + self.size]

    @property
    def is_dead(self) -> bool:
        """Whether its owner knows that its key is dead."""
        return bool(self.why)

    def is_free(self, start: int, end: int) -> bool:
        """Whether nothing is written or read in that part of the block, or may have been."""
        taken = [(writing.start, writing.end) for writing in self.writings] + self.readings
        return all(end <= one or other <= start for one, other in taken)

    def has_range(self, offset: int, size: int) -> bool:
        """Whether so much lies within."""
        return offset + size <= self.size

    def content(self, offset: int, size: int) -> bytes:
        """What its owner sees."""
        start = GUARD_BYTES + offset
        return bytes(self.block[start : start + size])

    def before(self, writing: Writing) -> bytes:
        """What was there before it."""
        return bytes(self._image[writing.start : writing.end])

    def seen(self, writing: Writing) -> bytes:
        """What is there."""
        return bytes(self.block[writing.start : writing.end])

    def placed(self, writing: Writing) -> bool:
        """It is said to be done: whether it is there. From then on it must stay."""
        self.writings.remove(writing)
        is_there = self.seen(writing) == writing.data
        self._image[writing.start : writing.end] = writing.data
        return is_there

    def difference(self) -> str:
        """What is wrong with its content, empty if nothing is."""
        if self._frozen is not None and self._frozen != self.block:
            return "L7: it was written to after its key had died"
        seen = bytearray(self.block)
        for writing in self.writings:
            if not is_part(self.seen(writing), writing.data, self.before(writing)):
                return "L6: it holds what no push has brought"
            seen[writing.start : writing.end] = self.before(writing)
        if seen != self._image:
            return "L6: it was written to where no push may be"
        return ""

    def freeze(self) -> None:
        """Nothing may be written from here on."""
        if self._frozen is None:
            self._frozen = bytes(self.block)


@attrs.define(eq=False)
class Memories:
    """All that were registered."""

    _journal: Journal
    _now_s: Callable[[str], float]
    """By the clock of a node."""
    epoch_of: Callable[[str], int]
    """In which a node is."""
    all: list[Memory] = attrs.field(factory=list, init=False)

    def add(self, memory: Memory) -> None:
        """It was registered."""
        self.all.append(memory)
        self._journal.counts["keys"] += 1
        until = "" if memory.expires_s is None else f", until {memory.expires_s:.6f}"
        uses = "" if memory.uses is None else f", for {memory.uses}"
        self._journal.note(
            memory.owner, f"key {memory.number}: {memory.size} bytes, {memory.rights.name or 'BOTH'}{uses}{until}"
        )

    def live(self, owner: str) -> list[Memory]:
        """Those of a node whose keys are not known to be dead."""
        return [memory for memory in self.all if memory.owner == owner and not memory.is_dead]

    def bury(self, memory: Memory, why: Denial) -> None:
        """Its owner knows that its key is dead."""
        if not memory.is_dead:
            self._journal.note(memory.owner, f"key {memory.number} is dead: {why.value}")
        memory.why.add(why)
        if memory.region.alive:
            self._journal.problem(f"L7: key {memory.number} of {memory.owner} lives on: {why.value}")
        memory.freeze()
        self.check(memory)

    def leave_epoch(self, owner: str) -> None:
        """That owner is in another one."""
        for memory in self.live(owner):
            self._journal.reach(Situation.DIED_WITH_EPOCH)
            self.bury(memory, Denial.EXPIRED_KEY)

    def use(self, memory: Memory) -> None:
        """A transfer is done with it."""
        memory.used += 1
        if memory.uses is None:
            return
        if memory.used > memory.uses:
            self._journal.problem(f"L7: key {memory.number} of {memory.owner} was used {memory.used} times")
        if memory.used == memory.uses:
            self._journal.reach(Situation.LAST_USE)
            self.bury(memory, Denial.USED_KEY)

    def check(self, memory: Memory) -> None:
        """Its content."""
        wrong = memory.difference()
        if wrong:
            self._journal.problem(f"{wrong} (key {memory.number} of {memory.owner})")

    def may_be_denied(self, memory: Memory, denial: Denial, *, rights: Rights, offset: int, size: int) -> bool:
        """Whether the owner may say that of such a transfer."""
        match denial:
            case Denial.RIGHTS:
                return rights not in memory.rights
            case Denial.OUT_OF_RANGE:
                return not memory.has_range(offset, size)
            case Denial.USED_KEY:
                return memory.uses is not None and memory.used + memory.under_way >= memory.uses
            case Denial.OVERDUE_KEY:
                return memory.expires_s is not None and self._now_s(memory.owner) >= memory.expires_s
            case Denial.EXPIRED_KEY:
                return Denial.EXPIRED_KEY in memory.why
            case Denial.UNKNOWN_KEY:
                # Of keys of long ago nobody remembers more.
                return memory.is_dead
            case _:
                return False
