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
from ctlha_trio.testing._explore.store import World
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
    with _no_collection():
        start = graph.cold(bound) if cold else graph.with_bound(find_together(graph), bound)
        return _Search(graph, bound, start, states_max).run(began_s)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of small objects, none of which refer to each other in a circle, are not looked through for circles."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def find_together(graph: Graph) -> World:
    """A world in which both nodes serve, the first that is met depth first from two that do not run."""
    start = graph.cold(Bound())
    reached, waiting = {start}, [start]
    while waiting and len(reached) < TOGETHER_STATES_MAX:
        world = waiting.pop()
        if graph.is_together(world):
            return world
        for move in graph.moves(world):
            if move.world not in reached:
                reached.add(move.world)
                waiting.append(move.world)
    raise AssertionError("the pair never comes together, even without faults")


@attrs.define(eq=False)
class _Search:
    graph: Graph
    bound: Bound
    start: World
    states_max: int
    worlds: list[World] = attrs.field(factory=list, init=False)
    numbers: dict[World, int] = attrs.field(factory=dict, init=False)
    parents: "array[int]" = attrs.field(factory=lambda: array("l"), init=False)
    sources: "array[int]" = attrs.field(factory=lambda: array("l"), init=False)
    """Of the moves that happen without any fault, client or operator, here and below."""
    targets: "array[int]" = attrs.field(factory=lambda: array("l"), init=False)
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
        self._enter(self.start, -1)
        level_end = 0
        for number, world in enumerate(self.worlds):
            if number == level_end:
                self.depth += 1
                level_end = len(self.worlds)
            for move in self.graph.moves(world):
                self.transitions += 1
                if move.problem:
                    return replay(self.graph, [*self._way(number), move.world], move.problem)
                known = self.numbers.get(move.world)
                if known is None:
                    known = self._enter(move.world, number)
                    if self.graph.problem_of(move.world):
                        return replay(self.graph, self._way(known), "")
                if not move.spends:
                    self.sources.append(number)
                    self.targets.append(known)
            if len(self.worlds) >= self.states_max:
                break
        return "", ()

    def _enter(self, world: World, parent: int) -> int:
        number = self.numbers[world] = len(self.worlds)
        self.worlds.append(world)
        self.parents.append(parent)
        return number

    def _way(self, number: int) -> list[World]:
        way = []
        while number >= 0:
            way.append(self.worlds[number])
            number = self.parents[number]
        return way[::-1]

    def _stuck(self) -> list[int]:
        """Numbers of the states from which no way leads to one where the pair is together: backwards from those."""
        count = len(self.worlds)
        first = array("l", bytes(8 * (count + 2)))
        for target in self.targets:
            first[target + 2] += 1
        for number in range(2, count + 2):
            first[number] += first[number - 1]
        before = array("l", bytes(8 * len(self.targets)))
        for source, target in zip(self.sources, self.targets, strict=True):
            before[first[target + 1]] = source
            first[target + 1] += 1
        reaches = bytearray(count)
        waiting = [number for number, world in enumerate(self.worlds) if self.graph.is_together(world)]
        for number in waiting:
            reaches[number] = 1
        while waiting:
            number = waiting.pop()
            for source in before[first[number] : first[number + 1]]:
                if not reaches[source]:
                    reaches[source] = 1
                    waiting.append(source)
        return [number for number in range(count) if not reaches[number]]
