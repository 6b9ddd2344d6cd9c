"""What the cores of one simulated pair have reached so far: transitions, reasons of the verdict, situations."""

from collections.abc import Iterable

import attrs

from ctlha_trio.ha import judge
from ctlha_trio.pair import PairState, Phase, actions as act, events as ev
from ctlha_trio.testing._core.situations import situations_of
from ctlha_trio.testing._core.totals import Coverage


@attrs.define(eq=False)
class Reached:
    """By either node."""

    _moves: set[tuple[Phase, Phase]] = attrs.field(factory=set, init=False)
    _reasons: set[str] = attrs.field(factory=set, init=False)
    _situations: set[str] = attrs.field(factory=set, init=False)

    def stepped(self, before: PairState, after: PairState, event: ev.Event, ordered: tuple[act.Action, ...]) -> None:
        """A core took an event and gave orders."""
        phase = before.phase
        for action in ordered:
            if isinstance(action, act.Moved):
                self._moves.add((phase, action.phase))
                phase = action.phase
        self._situations.update(situations_of(before, event, ordered))
        changed = after.arbiter_answers is not before.arbiter_answers or after.session != before.session
        if changed or after.phase is not before.phase or after.resync is not before.resync:
            self._reasons.update(reason.value for reason in judge(after)[1])

    def coverage(self, faults: Iterable[str]) -> Coverage:
        """With the faults that acted."""
        moves = frozenset((before.name, after.name) for before, after in self._moves)
        return Coverage(moves, frozenset(self._reasons), frozenset(faults), frozenset(self._situations))
