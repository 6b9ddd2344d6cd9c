"""What a simulated disk says of blocks that do not hold what their checksums say."""

from collections import Counter
from typing import Protocol

from ctlha_trio.pair import Range, actions as act, events as ev, overlap
from ctlha_trio.testing._core.disk_calls import DiskCall, Reading
from ctlha_trio.testing._core.node import BLOCK_BYTES, SimulatedNode, blocks_of


class Damageable(Protocol):
    """Who counts."""

    happened: Counter[str]
    faults_done: Counter[str]

    def note(self, node: str, what: str) -> None:
        """Enter something in the event history."""


def meet_damage(pair: Damageable, node: SimulatedNode, call: DiskCall) -> ev.Event | None:
    """What a read that finds damaged blocks tells the core instead of its data."""
    if not isinstance(call, Reading):
        return None
    offset, size = _range_of(call)
    met = [block for block in blocks_of(offset, size) if block in node.damaged]
    if not met:
        return None
    pair.happened["damage_met"] += 1
    pair.faults_done.update({node.damaged[block] for block in met})
    run = next(length for length in range(1, len(met) + 1) if met[0] + length not in met)
    where = met[0] * BLOCK_BYTES, run * BLOCK_BYTES
    pair.note(node.name, f"a read finds block {met[0]} damaged")
    if node.state is not None and any(overlap(flight.mended.here, where) for flight in node.state.flights):
        # It was repaired a moment ago, and whoever asked for that has not been answered yet.
        pair.happened["disk_failures"] += 1
        node.excused.add("store-failed")
    match call:
        case act.FetchRead(fetch=fetch):
            return ev.ReadDamaged(fetch, *where)
        case act.SendCompare(sequence=sequence):
            return ev.Damaged(sequence, *where)
        case act.CompareRange(session=session, sequence=sequence) | act.PushRange(session=session, sequence=sequence):
            return ev.RangeDamaged(session, sequence, *where)


def _range_of(call: Reading) -> Range:
    if isinstance(call, act.FetchRead):
        return call.operation.offset, call.operation.size
    return call.offset, call.size
