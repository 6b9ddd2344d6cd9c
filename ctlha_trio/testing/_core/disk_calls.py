"""Calls under way at the disk of a simulated node: of what kinds they are, and which keep their order."""

import attrs

from ctlha_trio.pair import actions as act
from ctlha_trio.testing._core.link import Blocks

InOrder = act.Persist | act.Track | act.MarkDirty | act.FindDirty | act.StopTracking | act.ReplaceRecords
"""What the driver carries out one after the other."""
Reading = act.FetchRead | act.SendCompare | act.CompareRange | act.PushRange
Storing = (
    act.StoreWrite | act.StoreMirrored | act.StoreZeroes | act.StoreRepair | act.StoreRecord | act.StoreMirroredRecord
)
NotStoring = InOrder | Reading | act.CompareRecords
DiskCall = NotStoring | Storing


@attrs.define(eq=False)
class UnderWay:
    """A call to the disk, with what it writes, and the session in which it was made."""

    call: DiskCall
    session: int
    slow: bool
    tracked: bool
    """It was made while every write was marked."""
    data: Blocks = attrs.Factory(dict)
    seen: Blocks = attrs.Factory(dict)
    """Of a read: what it reads as that was when the call was made, by place."""
    since: int = 0
    """Of a read: the newest request for a permit when the call was made."""


@attrs.frozen
class FoundRead:
    """A read that has its data and waits for a permit to cover it."""

    call: act.FetchRead
    since: int
    found: Blocks
