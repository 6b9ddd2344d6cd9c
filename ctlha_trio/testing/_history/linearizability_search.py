"""Registers of any history: the search of Wing and Gong with Lowe's list and cache, for values that are not unique.

An order is built from its beginning. What can come next is whatever was called before the first return that is still
ahead. Calls and returns stand in one linked list by time, from which an operation is lifted once it has its place, and
into which it is put back when its place turns out wrong. A set of operations that leaves the same value is tried once.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import attrs

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._history.linearizability_records import ANSWERED, ZEROS, ClientOperation, Evidence, Violation

STEPS_MAX: Final = 1_000_000
"""A few seconds; a history that needs more has too many operations under way at once on one block."""
_FINDING: Final = frozenset({OperationKind.READ, OperationKind.COMPARE_AND_WRITE})


class _Placed(NamedTuple):
    """The operations that have their place, and the value that they leave.

    Operations are numbered by their returns, so that nearly all that have their place are those up to a number.
    """

    all_below: int
    """The first that has not, of those that returned."""
    beyond: int
    """Bits, counted from ``all_below``."""
    unreturned: int
    """Bits, of those that never return."""
    value: int
    unfound: bool = False
    """It was left by a write of unknown outcome that came last. Such a write may as well never take effect if the next
    one comes before anybody has found what it wrote; so it is tried only just before somebody who does."""


@attrs.frozen
class SearchEnd:
    """How a search ended."""

    steps: int
    decided: bool = True
    violation: Violation | None = None


@attrs.define(eq=False)
class _Search:
    operations: list[ClientOperation]
    """By return, those that never return last."""
    returning: int
    """How many of them return."""
    after: list[int]
    """The list of calls and returns: operation i is called at 2i and returns at 2i + 1; the end is the last.

    What is not in it stands for itself."""
    twins: dict[int, int]
    """Of each write that never returns: another one of that value, called before it, which does as well."""
    before: list[int] = attrs.field(init=False)
    placed: _Placed = attrs.field(factory=lambda: _Placed(0, 0, 0, ZEROS), init=False)
    tried: set[_Placed] = attrs.field(factory=set, init=False)
    trail: list[tuple[int, _Placed, bool]] = attrs.field(factory=list, init=False)
    """The order so far, what was placed before each, and whether something else could come there."""
    furthest: tuple[int, tuple[Evidence, ...]] = attrs.field(default=(-1, ()), init=False)
    """The longest order that came to nothing, and why."""

    def __attrs_post_init__(self) -> None:
        """Link the list backwards too."""
        self.before = [0] * len(self.after)
        for entry, following in enumerate(self.after):
            self.before[following] = entry

    @property
    def end(self) -> int:
        """Of the list; also stands before its beginning."""
        return len(self.after) - 1

    def run(self, steps_max: int) -> SearchEnd:
        """Try orders until one is found, there are no more, or the steps are used up."""
        steps = 0
        entry: int | None = self.after[self.end]
        while self.placed.all_below < self.returning:
            if entry is None:
                return SearchEnd(steps, violation=self._violation())
            if steps == steps_max:
                return SearchEnd(steps, decided=False)
            steps += 1
            number, returns = divmod(entry, 2)
            if self._place(number, skipped=bool(returns)):
                entry = self.after[self.end]
            elif returns:
                entry = self._go_back(number)
            else:
                entry = self.after[entry]
        return SearchEnd(steps)

    def _place(self, number: int, *, skipped: bool) -> bool:
        """Let an operation come next, or, at its return, let it never take effect. Whether that is possible and new."""
        operation = self.operations[number]
        told = operation.outcome in ANSWERED
        if skipped and told:
            return False
        if self.placed.unfound and not skipped and operation.kind not in _FINDING:
            return False
        twin = self.twins.get(number)
        if twin is not None and not self.placed.unreturned >> (twin - self.returning) & 1:
            return False
        value = self.placed.value if skipped else operation.takes_effect_on(self.placed.value)
        if value is None:
            return False
        placed = self._with(number, value, unfound=self.placed.unfound if skipped else not told)
        if placed in self.tried:
            return False
        self.tried.add(placed)
        # A read that found its value is no choice: an order that goes on from before it goes on from behind it too.
        self.trail.append((number, self.placed, operation.changes and not skipped))
        self.placed = placed
        self._lift(number)
        return True

    def _with(self, number: int, value: int, *, unfound: bool) -> _Placed:
        all_below, beyond, unreturned, *_ = self.placed
        if number >= self.returning:
            return _Placed(all_below, beyond, unreturned | 1 << (number - self.returning), value, unfound)
        beyond |= 1 << (number - all_below)
        while beyond & 1:
            beyond >>= 1
            all_below += 1
        return _Placed(all_below, beyond, unreturned, value, unfound)

    def _go_back(self, stuck: int) -> int | None:
        """Undo up to the last choice; what to try there instead. ``None`` if there is no more choice."""
        if len(self.trail) > self.furthest[0]:
            self.furthest = len(self.trail), self._why(stuck)
        while self.trail:
            number, self.placed, choice = self.trail.pop()
            self._put_back(number)
            if choice:
                return self.after[2 * number]
        return None

    def _entries(self, number: int) -> tuple[int, ...]:
        return (2 * number, 2 * number + 1) if number < self.returning else (2 * number,)

    def _lift(self, number: int) -> None:
        for entry in self._entries(number):
            self.after[self.before[entry]] = self.after[entry]
            self.before[self.after[entry]] = self.before[entry]

    def _put_back(self, number: int) -> None:
        for entry in reversed(self._entries(number)):
            self.after[self.before[entry]] = entry
            self.before[self.after[entry]] = entry

    def _why(self, stuck: int) -> tuple[Evidence, ...]:
        """What cannot come next, among what else could."""
        evidence = []
        for number, *_ in reversed(self.trail):
            if self.operations[number].value == self.placed.value:
                evidence.append(Evidence("last in the order", self.operations[number]))
                break
        evidence.append(Evidence("fits nowhere after it", self.operations[stuck]))
        entry = self.after[self.end]
        while entry % 2 == 0:
            if entry != 2 * stuck:
                evidence.append(Evidence("does not help either", self.operations[entry // 2]))
            entry = self.after[entry]
        return tuple(evidence)

    def _violation(self) -> Violation:
        length, evidence = self.furthest
        what = f"no order explains more than {length} of {len(self.operations)} operations"
        return Violation(evidence[0].operation.block, what, evidence)


def search_order(operations: Sequence[ClientOperation], steps_max: int = STEPS_MAX) -> SearchEnd:
    """Look for an order of one block's operations, those that were refused left out, that explains all answers.

    A write of unknown outcome may come at any time up to its return, or never. One that nobody found is left out at
    first: it can only help where somebody found that a block did not hold something.
    """
    needed = _needed(operations)
    end = _search(needed, steps_max)
    if end.violation is None or len(needed) == len(operations):
        return end
    if not any(each.outcome is Outcome.MISCOMPARE for each in needed):
        return end
    alike = _made_alike(operations)
    again = _search(alike, steps_max)
    violation = again.violation
    if violation is not None:
        asked = dict(zip(alike, operations, strict=True))
        told = tuple(attrs.evolve(each, operation=asked[each.operation]) for each in violation.evidence)
        violation = attrs.evolve(violation, evidence=told)
    return attrs.evolve(again, steps=end.steps + again.steps, violation=violation)


def _made_alike(operations: Sequence[ClientOperation]) -> list[ClientOperation]:
    """The same with one value for all that nobody found or expected, by which only a miscompare can be explained."""
    compares = {each.expected for each in operations if each.kind is OperationKind.COMPARE_AND_WRITE}
    named = compares | {ZEROS} | {each.value for each in operations if each.kind is OperationKind.READ}
    other = min(named | {each.value for each in operations}) - 1
    return [
        each if each.outcome in ANSWERED or each.value in named else attrs.evolve(each, value=other)
        for each in operations
    ]


def _needed(operations: Sequence[ClientOperation]) -> list[ClientOperation]:
    """What was answered, and what somebody found the value of."""
    needed = [each for each in operations if each.outcome in ANSWERED]
    others = [each for each in operations if each.outcome not in ANSWERED]
    fresh = needed
    while fresh:
        found = {_finds(each) for each in fresh}
        fresh = [each for each in others if each.value in found]
        others = [each for each in others if each.value not in found]
        needed += fresh
    return needed


def _finds(operation: ClientOperation) -> int | None:
    if operation.kind is OperationKind.READ:
        return operation.value
    return operation.expected if operation.kind is OperationKind.COMPARE_AND_WRITE and operation.changes else None


def _search(operations: Sequence[ClientOperation], steps_max: int) -> SearchEnd:
    needed = sorted(operations, key=lambda each: (each.returned, each.called))
    times = [(each.called, 0, number) for number, each in enumerate(needed)]
    times += [(each.returned, 1, number) for number, each in enumerate(needed) if each.returned < math.inf]
    after = list(range(2 * len(needed) + 1))
    entry = len(after) - 1
    for _, returns, number in sorted(times):
        after[entry] = 2 * number + returns
        entry = after[entry]
    after[entry] = len(after) - 1
    return _Search(needed, len(times) - len(needed), after, _twins(needed)).run(steps_max)


def _twins(operations: Sequence[ClientOperation]) -> dict[int, int]:
    twins: dict[int, int] = {}
    latest: dict[int, int] = {}
    for number, each in enumerate(operations):
        if each.returned == math.inf and each.changes and each.kind is not OperationKind.COMPARE_AND_WRITE:
            if each.value in latest:
                twins[number] = latest[each.value]
            latest[each.value] = number
    return twins
