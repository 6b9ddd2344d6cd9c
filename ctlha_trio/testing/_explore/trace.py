"""A way through the graph of worlds for people: walked again without any renaming, and told move by move.

So that a way which only a wrong renaming has opened is found to be none.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import attrs

from ctlha_trio.pair import Metadata, Operation, Record, events as ev
from ctlha_trio.testing._explore.parts import Node
from ctlha_trio.testing._explore.world import Graph, Move


def replay(canonical: Graph, way: Sequence[int], problem: str) -> tuple[str, tuple[str, ...]]:
    """What is wrong in the end, and lines for the moves along worlds of a graph, the first of which is the start.

    With a ``problem`` the last move breaks something; without, it is the world that it leads to, if anything.
    """
    plain = Graph(renames=False, forgets=canonical.forgets)
    world = plain.worlds.world(canonical.worlds.parts(way[0]))
    lines = [f"      {_standing(plain, world)}"]
    for number, wanted in enumerate(way[1:], 1):
        ends = number == len(way) - 1
        world, what = _find(plain, canonical, world, wanted, problem if ends else "")
        lines.append(f"{number:4}. {what.node}: {show(what.what)}")
        lines.append(f"      {_standing(plain, world)}")
        problem = what.problem or problem
    return problem or plain.problem_of(world), tuple(lines)


def _find(plain: Graph, canonical: Graph, world: int, wanted: int, problem: str) -> Move:
    for after, way in plain.moves(world):
        alike = canonical.worlds.standing_for(canonical.worlds.world(plain.worlds.parts(after)))
        if alike == wanted and bool(way.problem) == bool(problem):
            return after, way
    raise AssertionError(f"a renaming has opened a way that there is not: from {plain.worlds.parts(world)}")


def _standing(graph: Graph, world: int) -> str:
    a, b, _, _, arbiter, _, _ = graph.worlds.parts(world)
    record = arbiter.record
    members = "+".join(record.members)
    return f"{_node(a)} | {_node(b)} | record: {record.epoch} {record.primary} of {members}"


def _node(node: Node) -> str:
    copy = f"{node.metadata.copy.name.lower()} {node.metadata.epoch}, holds {node.block}"
    if node.core is None:
        return f"{node.name} down ({copy})"
    return f"{node.name} {node.core.phase.name} {node.core.epoch} ({copy})"


def show(what: object) -> str:
    """An event as people read it: without what never changes."""
    if isinstance(what, ev.Received):
        return f"hears {show(what.message)}"
    if isinstance(what, Record):
        return f"{what.epoch} {what.primary} of {'+'.join(what.members)}"
    if isinstance(what, Metadata):
        return f"{what.copy.name} of {what.epoch}"
    if isinstance(what, Operation):
        return what.kind.name
    if isinstance(what, Enum):
        return what.name
    kind: type = type(what)
    if attrs.has(kind):
        fields = ", ".join(f"{f.name} {show(getattr(what, f.name))}" for f in attrs.fields(kind) if _told(f, what))
        return f"{kind.__name__}({fields})"
    return str(what)


def _told(field: "attrs.Attribute[Any]", what: Any) -> bool:
    return field.name not in {"offset", "size", "digest", "proposal"} and getattr(what, field.name) is not None
