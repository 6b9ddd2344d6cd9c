"""What must be true whenever a core of a simulated pair has taken an event.

I5 what is not marked is equal on the source and the target of a resync; I6 no disk goes back; I14 what is under way is
waited for, and what is waited for is under way.
"""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio.pair import PairState, events
from ctlha_trio.testing._core.invariants import OVERWRITTEN
from ctlha_trio.testing._drivers.history import VolumeHistory
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._pairs.action_watch import Stepped
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._power.medium import SECTOR_BYTES

CALLS_MAX: Final = 2
"""Of one process that wait for the arbiter: a read and a swap."""


@attrs.define(eq=False)
class StepChecks:
    """Looks at every step of every node."""

    _pair: DriverPair
    _history: VolumeHistory
    problem: Callable[[str], None]
    _check_progress: Callable[[str], None]
    """Of one node: I6."""

    def stepped(self, step: Stepped) -> None:
        """A core has taken an event, and nothing of what it orders is carried out yet."""
        state = step.after
        if self._pair.disks[state.me].is_cut:
            return
        if step.held != step.waiting:
            self.problem(f"I14: {state.me} has {step.held} under way, and {step.waiting} are waited for")
        node = self._pair.nodes.get(state.me)
        if node is not None and len(node._driver._arbiter._calls) > CALLS_MAX:
            self.problem(f"I14: {state.me} has {len(node._driver._arbiter._calls)} calls that wait for the arbiter")
        match step.event:
            case events.Persisted():
                self._check_progress(state.me)
            case events.DirtyFound(search=search) if step.before.resync and step.before.resync.search == search:
                self._searched(state)
            case _:
                pass

    def _searched(self, state: PairState) -> None:
        """I5: the source of a resync has looked for what is left to copy, in the session that both nodes are in."""
        source, target = self._pair.nodes.get(state.me), self._pair.nodes.get(state.peer)
        if source is None or target is None or state.session != target.pair.incarnation:
            return
        if target.pair.session != state.incarnation or self._pair.durable_metadata(state.peer).copy not in OVERWRITTEN:
            return
        marked = [*source._driver._store.dirty_ranges(), *state.may_differ]
        for sector in self._history.written:
            place = sector * SECTOR_BYTES
            contents = {self._pair.durable_range(name, place, SECTOR_BYTES) for name in NAMES}
            if len(contents) > 1 and not any(offset <= place < offset + size for offset, size in marked):
                self.problem(f"I5: sector {sector} differs and is not marked at {state.me}, the source")
