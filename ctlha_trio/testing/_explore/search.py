"""Breadth first through every world that can be reached.

What is broken is told by a shortest way to it; and from everywhere there must be a way, without any more faults, to a
pair that serves with both members: then no state is a dead end, and no circle of states is without a way out.
"""

import gc
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time
from typing import Final

import attrs

from ctlha_trio.testing._explore.parts import Bound
from ctlha_trio.testing._explore.trace import replay
from ctlha_trio.testing._explore.world import Graph

NO_LIMIT: Final = 1 << 60
TOGETHER_STATES_MAX: Final = 10_000
"""More than two nodes without faults can reach at all."""


@attrs.frozen(kw_only=True)
class Exploration:
    """What was found."""

    bound: Bound
    states: int
    """Distinct, after all that makes several one."""
    transitions: int
    depth: int
    """Moves from the start to the state that is farthest from it."""
    cpu_s: float
    complete: bool
    """Whether nothing that the bound allows was left out. Only then is ``stuck`` known."""
    stuck: int = 0
    """States from which, with no more faults, the pair cannot come together."""
    problem: str = ""
    trace: tuple[str, ...] = ()
    """The shortest way to the problem, one line for each move."""

    def require(self) -> None:
        """``AssertionError`` unless everything was explored and nothing is wrong."""
        if self.problem:
            raise AssertionError("\n".join((self.problem, *self.trace)))
        if not self.complete:
            raise AssertionError(f"not explored to the end: {self}")

    def __str__(self) -> str:
        bound = ", ".join(f"{name} {count}" for name, count in attrs.asdict(self.bound).items() if count) or "no faults"
        end = self.problem or ("everything" if self.complete else "NOT TO THE END")
        return (
            f"{bound}: {self.states:,} states, {self.transitions:,} transitions, depth {self.depth}, "
            f"{self.cpu_s:.1f} s: {end}"
        )


def explore(
    bound: Bound, *, cold: bool = False, renames: bool = True, forgets: bool = True, states_max: int = NO_LIMIT
) -> Exploration:
    """Everything that the bound allows, from a pair that is together or (``cold``) from two nodes that do not run.

    ``states_max`` ends the search early. ``renames`` and ``forgets`` tell whether worlds that differ by counters, or by
    what is never looked at again, are one.
    """
    began_s = process_time()
    graph = Graph(renames=renames, forgets=forgets)
    with no_collection():
        start = graph.cold(bound) if cold else graph.with_bound(find_together(graph), bound)
        return _Search(graph, bound, start, states_max).run(began_s)


@contextmanager
def no_collection() -> Iterator[None]:
    """Millions of small objects, none of which refer to each other in a circle, are not looked through for circles."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def find_together(graph: Graph) -> int:
    """A world in which both nodes serve, the first that is met depth first from two that do not run."""
    start = graph.cold(Bound())
    reached, waiting = {start}, [start]
    while waiting and len(reached) < TOGETHER_STATES_MAX:
        world = waiting.pop()
        if graph.is_together(world):
            return world
        for after, _ in graph.moves(world):
            if after not in reached:
                reached.add(after)
                waiting.append(after)
    raise AssertionError("the pair never comes together, even without faults")


@attrs.define(eq=False)
class _Search:
    graph: Graph
    bound: Bound
    start: int
    states_max: int
    worlds: "array[int]" = attrs.field(factory=lambda: array("Q"), init=False)
    numbers: dict[int, int] = attrs.field(factory=dict, init=False)
    parents: "array[int]" = attrs.field(factory=lambda: array("I"), init=False)
    """By number; the first is its own."""
    ends: "array[int]" = attrs.field(factory=lambda: array("Q"), init=False)
    """By number: where its moves end among the targets."""
    targets: "array[int]" = attrs.field(factory=lambda: array("I"), init=False)
    """Of the moves that happen without any fault, client or operator."""
    transitions: int = attrs.field(default=0, init=False)
    depth: int = attrs.field(default=-1, init=False)

    def run(self, began_s: float) -> Exploration:
        """Search level by level."""
        problem, trace = self._search()
        complete = not problem and len(self.worlds) < self.states_max
        stuck: list[int] = self._stuck() if complete else []
        if stuck:
            problem = f"I12: {len(stuck)} states from which the pair cannot come together"
            _, trace = replay(self.graph, self._way(stuck[0]), "")
        return Exploration(
            bound=self.bound,
            states=len(self.worlds),
            transitions=self.transitions,
            depth=self.depth,
            cpu_s=process_time() - began_s,
            complete=complete,
            stuck=len(stuck),
            problem=problem,
            trace=trace,
        )

    def _search(self) -> tuple[str, tuple[str, ...]]:
        self._enter(self.start, 0)
        numbers, worlds, targets = self.numbers, self.worlds, self.targets
        moves_of, problem_of = self.graph.moves, self.graph.problem_of
        level_end = number = 0
        while number < len(worlds) < self.states_max:
            if number == level_end:
                self.depth += 1
                level_end = len(worlds)
            moves = moves_of(worlds[number])
            self.transitions += len(moves)
            for after, way in moves:
                if way.problem:
                    return replay(self.graph, [*self._way(number), after], way.problem)
                known = numbers.get(after)
                if known is None:
                    known = self._enter(after, number)
                    if problem_of(after):
                        return replay(self.graph, self._way(known), "")
                if not way.spends:
                    targets.append(known)
            self.ends.append(len(targets))
            number += 1
        return "", ()

    def _enter(self, world: int, parent: int) -> int:
        number = self.numbers[world] = len(self.worlds)
        self.worlds.append(world)
        self.parents.append(parent)
        return number

    def _way(self, number: int) -> list[int]:
        way = [self.worlds[number]]
        while number:
            number = self.parents[number]
            way.append(self.worlds[number])
        return way[::-1]

    def _stuck(self) -> list[int]:
        """Numbers of the states from which no way leads to one where the pair is together: backwards from those."""
        self.numbers.clear()
        count = len(self.worlds)
        first = array("Q", bytes(8 * (count + 2)))
        for target in self.targets:
            first[target + 2] += 1
        for number in range(2, count + 2):
            first[number] += first[number - 1]
        before = array("I", bytes(4 * len(self.targets)))
        begin = 0
        for source, end in enumerate(self.ends):
            for target in self.targets[begin:end]:
                before[first[target + 1]] = source
                first[target + 1] += 1
            begin = end
        reaches = bytearray(count)
        waiting = array("I", (number for number, world in enumerate(self.worlds) if self.graph.is_together(world)))
        for number in waiting:
            reaches[number] = 1
        while waiting:
            number = waiting.pop()
            for source in before[first[number] : first[number + 1]]:
                if not reaches[source]:
                    reaches[source] = 1
                    waiting.append(source)
        return [number for number in range(count) if not reaches[number]]
