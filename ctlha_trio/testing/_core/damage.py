"""What a simulated disk says of blocks that do not hold what their checksums say."""

from collections import Counter
from typing import Protocol

from ctlha_trio.pair import Phase, Range, actions as act, events as ev, overlap
from ctlha_trio.testing._core.disk_calls import Reading, Storing, UnderWay
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.volume import blocks_of, first_run


class Damageable(Protocol):
    """Who counts."""

    happened: Counter[str]
    faults_done: Counter[str]

    def note(self, node: str, what: str) -> None:
        """Enter something in the event history."""


def meet_damage(pair: Damageable, node: SimulatedNode, ended: UnderWay) -> ev.Event | None:
    """What the core is told of a call that met damaged blocks.

    A read has no data then, and a write is not executed that would have had to read the rest of such a block. It is
    marked all the same.
    """
    if not node.damaged:
        return None
    match ended.call:
        case call if isinstance(call, Storing):
            what, met = "write", node.refused_for(ended.data)
        case call if isinstance(call, Reading):
            what, met = "read", [block for block in blocks_of(*_range_of(call)) if block in node.damaged]
        case _:
            return None
    if not met:
        return None
    where = first_run(met)
    pair.happened["damage_met"] += 1
    pair.faults_done.update({node.damaged[block] for block in met})
    pair.note(node.name, f"a {what} finds block {met[0]} damaged")
    if _is_dead_by_it(node, where):
        pair.happened["disk_failures"] += 1
        node.excused.add("store-failed")
    match call:
        case act.FetchRead(fetch=fetch):
            return ev.ReadDamaged(fetch, *where)
        case act.CompareRange(session=session, sequence=sequence) | act.PushRange(session=session, sequence=sequence):
            return ev.RangeDamaged(session, sequence, *where)
        case act.SendCompare(sequence=sequence):
            return ev.Damaged(sequence, *where)
        case _:
            node.mark_called(ended)
            return ev.Damaged(call.sequence, *where)


def _is_dead_by_it(node: SimulatedNode, where: Range) -> bool:
    """It was repaired a moment ago, and whoever asked for that has not been answered yet."""
    state = node.state
    if state is None or state.phase not in {Phase.MIRRORING, Phase.HANDING_OVER}:
        return False
    return any(overlap(flight.mended.here, where) for flight in state.flights)


def _range_of(call: Reading) -> Range:
    if isinstance(call, act.FetchRead):
        return call.operation.offset, call.operation.size
    return call.offset, call.size
