"""Which faults two copies survive, and which they can only answer by an honest halt."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

import attrs


class Fault(Enum):
    """Everything that a simulated pair can be struck by."""

    DELAY = "the network is slow, each direction by itself"
    CLOG = "nothing arrives for a moment, then all of it"
    ONE_WAY = "one direction is cut"
    PARTITION = "both directions are cut"
    RESET = "the connection breaks"
    FLAP = "the connection breaks again and again"
    SLOW_DISK = "disk calls take long"
    WRITE_FAILS = "a write fails"
    FLUSH_FAILS = "a flush fails"
    DISK_FULL = "the disk is full"
    DISK_HANGS = "disk calls hang, of one node or of both, and end later"
    BIT_ROT = "a block decays"
    MISDIRECTED = "a write goes to another block"
    CRASH = "a node loses its power"
    CRASH_AT_CALL = "a node loses its power in a disk call"
    CRASH_BOTH = "both nodes lose their power at once"
    PAUSE = "a node stands still"
    STOP = "a node is stopped and started again"
    JUMP = "a clock jumps forward"
    DRIFT = "a clock goes too fast or too slow"
    ARBITER_SLOW = "the arbiter answers late"
    ARBITER_DOWN = "the arbiter refuses"
    ARBITER_SILENT = "the arbiter never answers"
    ARBITER_DEAF = "the arbiter's answers are lost, and swaps are applied later"
    ARBITER_RESTORED = "the arbiter is restored from an old copy"
    RESTORED_BEHIND_ONE_TOLD = "the same, of a record that one node has outlived, and tells the other"
    RESTORED_BEHIND_A_READER = "the same, and the other node is not told: it has read a later record before"
    RESTORED_BEHIND_AN_ABANDONED_COPY = "the same, of a record of before a force by which the other node was abandoned"
    SWITCHOVER = "an operator changes the roles"
    FORCE = "an operator says that one node is off, and makes the other one primary"
    COPY_CHANGED = "a copy holds what nobody wrote, and its checksum is right"


class Survival(Enum):
    """What is demanded after a fault."""

    ALWAYS = "nothing acknowledged is lost, and service goes on when the fault is over"
    WITH_PEER = "as ALWAYS while the other node's copy is a member and alive; else an honest halt"
    FORCED = "as ALWAYS, but for what was acknowledged after the forced copy had counted last"
    HALT = "every node says why it serves nothing, and serves nothing, until the newest record is back"
    NAMED = "a comparison of the copies names it and changes nothing; it is over when the place is written anew"


@attrs.frozen
class Entry:
    """One line of the atlas."""

    survival: Survival
    why: str


_RECOVERS = Entry(Survival.ALWAYS, "it only takes time; safety rests on no clock")
_COPY_DIES = Entry(Survival.WITH_PEER, "a disk that failed once is not believed again: its copy is dead")
_ANSWERS_LATE = Entry(
    Survival.ALWAYS,
    "a call that has not failed may be done: its node leaves the pair after five seconds, does not claim before every "
    "call has ended, and comes back by itself",
)
_SHOWS = Entry(
    Survival.WITH_PEER,
    "a checksum covers a block's bytes and its place: no read returns it. While another copy that counts has the block "
    "whole it is repaired from there; else who needs it is told of a medium error, until it is written anew. In an "
    "extent that was open when the power failed nothing tells damage from a torn write: excluded there for who counts",
)

_HALTS = Entry(
    Survival.HALT,
    "its record may name a copy that missed acknowledged writes. A node that has seen a newer record knows, also if "
    "that is of a line that a force has begun; one that has not, and is not told, cannot",
)
RESTORED: Final = (
    Fault.ARBITER_RESTORED,
    Fault.RESTORED_BEHIND_ONE_TOLD,
    Fault.RESTORED_BEHIND_A_READER,
    Fault.RESTORED_BEHIND_AN_ABANDONED_COPY,
)
"""Each is a trial of its own."""

ATLAS: Final[Mapping[Fault, Entry]] = MappingProxyType(
    dict.fromkeys(Fault, _RECOVERS)
    | dict.fromkeys((Fault.WRITE_FAILS, Fault.FLUSH_FAILS, Fault.DISK_FULL), _COPY_DIES)
    | dict.fromkeys((Fault.BIT_ROT, Fault.MISDIRECTED), _SHOWS)
    | {
        Fault.DISK_HANGS: _ANSWERS_LATE,
        **dict.fromkeys(RESTORED, _HALTS),
        Fault.FORCE: Entry(
            Survival.FORCED,
            "it is said while it is true, of a node that has no power. The disk of the other one may not have failed, "
            "nor hold what a power cut has sealed, and nothing that this node was sent is still on its way there",
        ),
        Fault.COPY_CHANGED: Entry(
            Survival.NAMED,
            "both copies are whole, so nothing tells which one is right, and a read returns what the copy has that it "
            "is read from. Nobody reads that place until it is written anew",
        ),
    }
)
"""What is demanded of the pair after each fault."""

DRAWN: Final = tuple(fault for fault, entry in ATLAS.items() if entry.survival is Survival.ALWAYS)
"""May strike at any time."""
FATAL_TO_COPY: Final = tuple(fault for fault, entry in ATLAS.items() if entry.survival is Survival.WITH_PEER)
"""Strike only where the other copy is left, except at the end of a run that is to halt."""

DRIVER_FAULTS: Final = frozenset(fault.name for fault in (*DRAWN, *FATAL_TO_COPY, Fault.FORCE, *RESTORED))
"""Names of all that are drawn, and of what is tried in some runs whose pair has come together."""


@attrs.frozen(kw_only=True)
class Stand:
    """What there is to lose at this moment."""

    members: tuple[str, ...]
    """That the arbiter names."""
    dead: frozenset[str]
    """Nodes whose copy is dead."""
    claiming: frozenset[str]
    """Nodes that may become the sole member by what they have asked of the arbiter already."""
    damaged: frozenset[str] = frozenset()
    """Nodes of whose copy some blocks are damaged, as a read may find out."""

    @property
    def must_halt(self) -> bool:
        """Whether every copy that counts is dead."""
        return self.dead.issuperset(self.members)

    def leaves_another(self, victim: str) -> bool:
        """Whether another copy is left that counts, and nothing under way may take it out."""
        return bool(self._others(victim)) and victim not in self.claiming

    def survives_death_of(self, victim: str) -> bool:
        """Whether that is so, and the other copy is whole."""
        return self.leaves_another(victim) and not self._others(victim) <= self.damaged

    def _others(self, victim: str) -> frozenset[str]:
        return frozenset(self.members) - self.dead - {victim}
