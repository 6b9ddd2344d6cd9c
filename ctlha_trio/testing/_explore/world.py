"""The graph of worlds: from one world to every world that may be the next.

A world is a number made of the numbers of its parts. What a part may become is computed once for each that is ever met,
by the core that runs in production; the rest is looking up.
"""

from typing import Any, Final

import attrs

from ctlha_trio.pair import Record
from ctlha_trio.testing._explore.canonical import BITS, MASK, Worlds, parts_of
from ctlha_trio.testing._explore.clients import Clients
from ctlha_trio.testing._explore.invariants import (
    SERVES_ALONE,
    check_copies,
    check_marks,
    check_node,
    check_permit,
    is_calm,
    is_source,
    is_together,
)
from ctlha_trio.testing._explore.parts import FIRST_VALUE, Arbiter, Bound, Inbox, Node
from ctlha_trio.testing._explore.register import register
from ctlha_trio.testing._explore.remembered import remembered
from ctlha_trio.testing._explore.steps import Steps
from ctlha_trio.testing._explore.store import PartStore
from ctlha_trio.testing._explore.ways import NEVER, Way, Ways
from ctlha_trio.testing._pairs.first_metadata import first_metadata

BOTH: Final = ("a", "b")
Move = tuple[int, Way]
"""The world that a way leads to."""


@attrs.define(eq=False, slots=False)
class Graph:
    """All worlds that can be reached, made as they are asked for."""

    renames: bool = True
    """Whether worlds that differ by counters only are one."""
    forgets: bool = True
    """Whether worlds that differ only by what no core looks at again are one. Renaming is exact only with it."""
    worlds: Worlds = attrs.field(init=False)
    ways: Ways = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """No part is known yet."""
        store = PartStore()
        self.worlds = Worlds(store, self.renames, self.forgets)
        self.ways = Ways(self.worlds, Steps(store, self.forgets))

    def cold(self, bound: Bound) -> int:
        """No process runs; both disks hold the same, and the record names both."""
        record = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=BOTH, proposal="init")
        first = (
            *(Node(name=name, metadata=first_metadata(record, name, "x")) for name in BOTH),
            *(Inbox(name) for name in BOTH),
            Arbiter(record, 1),
            Clients(register(FIRST_VALUE)),
            bound,
        )
        return self.worlds.standing_for(self.worlds.world(first))

    def with_bound(self, world: int, bound: Bound) -> int:
        """The same world, with so much that may happen."""
        return self.worlds.world((*self.worlds.parts(world)[:-1], bound))

    # What is demanded of a world.

    def problem_of(self, world: int) -> str:
        """What is wrong with it; empty if nothing is."""
        a, b, middle = world >> BITS & MASK, world & MASK, world >> 2 * BITS
        first, second = self._trouble(a, middle), self._trouble(b, middle)
        holds_a, alone_a, calm_a = self._asked(a)
        holds_b, alone_b, calm_b = self._asked(b)
        if first or second or (holds_a and alone_b) or (holds_b and alone_a) or (calm_a and calm_b):
            return self._problem_of(a, b, middle)
        return ""

    @remembered
    def _trouble(self, side: int, middle: int) -> bool:
        """Whether the two alone break anything, or what they break depends on the peer."""
        node, _ = self.worlds.side_parts(side)
        arbiter, block, _ = self.worlds.middle_parts(middle)
        return bool(self._check_node(node, arbiter, block)) or self._is_source(node, arbiter)

    @remembered
    def _asked(self, side: int) -> tuple[bool, bool, bool]:
        """Whether it holds a permit, serves alone, has nothing under way."""
        node: Node = self.worlds.store.parts[self.worlds.sides[side].node]
        alone = node.core is not None and node.core.phase in SERVES_ALONE
        return bool(node.permit), alone, is_calm(node)

    def _problem_of(self, a_side: int, b_side: int, middle: int) -> str:
        (a, inbox_a), (b, inbox_b) = self.worlds.side_parts(a_side), self.worlds.side_parts(b_side)
        arbiter, block, _ = self.worlds.middle_parts(middle)
        problem = self._check_node(a, arbiter, block) or self._check_node(b, arbiter, block)
        if self._is_source(a, arbiter):
            problem = problem or self._check_marks(a, b, arbiter)
        if self._is_source(b, arbiter):
            problem = problem or self._check_marks(b, a, arbiter)
        problem = problem or self._check_permit(a, b) or self._check_permit(b, a)
        if not problem and self._are_together(a, b):
            problem = check_copies(*(self.worlds.store.parts[number] for number in (a, b, inbox_a, inbox_b)))
        return problem

    def is_together(self, world: int) -> bool:
        """Whether both nodes serve as members, with nothing under way at them."""
        a, b, _ = parts_of(world)
        calm = self._asked(a)[2] and self._asked(b)[2]
        return calm and self._are_together(self.worlds.sides[a].node, self.worlds.sides[b].node)

    @remembered
    def _check_node(self, node: int, arbiter: int, block: int) -> str:
        return check_node(*(self.worlds.store.parts[number] for number in (node, arbiter, block)))

    @remembered
    def _is_source(self, node: int, arbiter: int) -> bool:
        return is_source(self.worlds.store.parts[node], self.worlds.store.parts[arbiter].record)

    @remembered
    def _check_marks(self, source: int, target: int, arbiter: int) -> str:
        parts: list[Any] = self.worlds.store.parts
        return check_marks(parts[source], parts[target], parts[arbiter].record)

    @remembered
    def _check_permit(self, holder: int, granter: int) -> str:
        return check_permit(self.worlds.store.parts[holder], self.worlds.store.parts[granter])

    @remembered
    def _are_together(self, a: int, b: int) -> bool:
        return is_together(self.worlds.store.parts[a], self.worlds.store.parts[b])

    # What may happen next.

    def moves(self, world: int) -> list[Move]:
        """Everything that may happen next."""
        a, b, middle = world >> BITS & MASK, world & MASK, world >> 2 * BITS
        ways, canonical = self.ways, self.worlds.canonical
        affected = ways.affected
        moves: list[Move] = []
        for way in self._ways(a, b, middle):
            effect = way.effect
            peer = affected(b, effect) if effect else b
            if peer != NEVER:
                moves.append((canonical(way.side, peer, way.middle), way))
        for way in self._ways(b, a, middle):
            effect = way.effect
            peer = affected(a, effect) if effect else a
            if peer != NEVER:
                moves.append((canonical(peer, way.side, way.middle), way))
        if ways.may_read(middle) or ways.reads(a) or ways.reads(b):
            moves += self._grants(a, b, middle)
        for way in ways.between(a, self.worlds.sides[b].count.own, middle):
            effect = way.effect
            peer = affected(b, effect) if effect else b
            if peer != NEVER:
                moves.append((canonical(way.side, peer, way.middle), way))
        return moves

    def _ways(self, side: int, peer: int, middle: int) -> list[Way]:
        """At one node."""
        ways = self.ways
        if not ways.runs(side):
            known = self.worlds.sides[side], self.worlds.sides[peer], self.worlds.middles[middle]
            return ways.start(side, middle, 1 + max(each.incarnation_max for each in known))
        found = ways.of(side, middle)
        if ways.asks(middle) and ways.submissions(side):
            known = self.worlds.sides[side], self.worlds.sides[peer], self.worlds.middles[middle]
            return found + ways.submit(side, middle, 1 + max(each.ticket_max for each in known))
        return found

    def _grants(self, a: int, b: int, middle: int) -> list[Move]:
        """One node grants the other a permit; only reads make use of any."""
        ways, canonical = self.ways, self.worlds.canonical
        moves = []
        for side, peer in ((a, b), (b, a)):
            if not (ways.may_read(middle) or ways.reads(peer)):
                continue
            granted = ways.grant(side, peer, middle)
            if granted is not None:
                way, other = granted
                if way.effect:
                    other = ways.affected(other, way.effect)
                other = self.worlds.hear(other, ways.refusals(way.middle))
                sides = (way.side, other) if side == a else (other, way.side)
                moves.append((canonical(*sides, way.middle), way))
        return moves
