"""What the source of a resync could not read is tried again: a path, or a disk, may have failed for a moment only.

One place after the other, and slowly: a disk may take seconds to give a sector up, which nobody else has meanwhile.
Once one can be read, or was written anew, everything that was left out behind it is looked for again.
"""

from typing import Final

import attrs

from ctlha_trio.pair._operation import Operation, OperationKind
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._range import Range, overlap
from ctlha_trio.pair._state import COPY_CHUNK_BYTES, RANGE_UNIT_BYTES, Flight, Resync
from ctlha_trio.pair._step import Step
from ctlha_trio.pair.events import Timer

LOST_RETRY_S: Final = 15.0
"""Between two tries, each of one place."""


def wait(step: Step, resync: Resync) -> None:
    """Nothing is left to copy but what was left out."""
    if not resync.retry_set:
        step.change(resync=attrs.evolve(resync, retry_set=True))
        step.set_timer(Timer.RESYNC_RETRY, LOST_RETRY_S)


def due(step: Step) -> None:
    """Try the place that was tried longest ago, if there is still nothing else to do."""
    state = step.state
    resync = state.resync
    if resync is None or not resync.retry_set:
        return
    resync = attrs.evolve(resync, retry_set=False)
    step.change(resync=resync)
    copies = resync.cursor < state.size_bytes or any(f.operation.kind is OperationKind.COPY for f in state.flights)
    if state.phase is not Phase.ALONE or copies or not resync.left_out:
        return
    first, *others = resync.left_out
    units = whole_units(first.lost, 0, state.size_bytes)
    if units[1] > COPY_CHUNK_BYTES:
        _search_from(step, resync, first.start)
        return
    probe = Flight(0, Operation(OperationKind.COPY, 0, 0, *units))
    step.change(resync=attrs.evolve(resync, left_out=(*others, first)), flights=(*state.flights, probe))


def whole_units(where: Range, begin: int, size_bytes: int) -> Range:
    """The units that a range touches, from ``begin`` on: as much as is marked, and cleared, as one."""
    offset, size = where
    start = max(begin, offset // RANGE_UNIT_BYTES * RANGE_UNIT_BYTES)
    end = min(size_bytes, -(-(offset + size) // RANGE_UNIT_BYTES) * RANGE_UNIT_BYTES)
    return start, end - start


def look_again(step: Step, where: Range) -> None:
    """This was written anew, or copied: search once more where it had kept a range from being copied."""
    resync = step.state.resync
    if resync is None:
        return
    healed = [each.start for each in resync.left_out if overlap(each.lost, where)]
    if healed:
        _search_from(step, resync, min(healed))


def copy_again(step: Step, where: Range) -> None:
    """This may differ from now on, wherever the search is. One that is under way was ordered before the mark."""
    resync = step.state.resync
    if resync is not None:
        start, _ = whole_units(where, 0, step.state.size_bytes)
        step.change(resync=attrs.evolve(resync, cursor=min(resync.cursor, start), search=0, unseen=()))


def _search_from(step: Step, resync: Resync, start: int) -> None:
    """What cannot be copied from there on is found, and left out, by this search."""
    left_out = tuple(each for each in resync.left_out if each.start < start)
    cursor = min(resync.cursor, start)
    step.change(resync=attrs.evolve(resync, cursor=cursor, left_out=left_out, search=0, unseen=()))
