"""The graph of worlds: from one world to every world that may be the next.

A world is a tuple of numbers of interned parts. What a node, an inbox or the arbiter may become is computed once for
each that is ever met, by the core that runs in production; the rest is looking up.
"""

from typing import Any, Final, NamedTuple

import attrs

from ctlha_trio.pair import OperationKind, Record, accepts
from ctlha_trio.testing._explore.invariants import (
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
from ctlha_trio.testing._explore.steps import UNCHANGED, Step, Steps
from ctlha_trio.testing._explore.store import PartStore, World
from ctlha_trio.testing._pairs.first_metadata import first_metadata

BOTH: Final = ("a", "b")
_SUBMISSIONS: Final = ((OperationKind.WRITE, "writes"), (OperationKind.READ, "reads"))


class Move(NamedTuple):
    """From one world to another."""

    world: World
    node: str
    """Where it happened; ``-`` for neither node."""
    what: object
    """An event, or a description."""
    spends: str
    """What of the bound it took; empty if it happens without any fault, client or operator."""
    problem: str
    """What it broke."""


@attrs.define(eq=False, slots=False)
class Graph:
    """All worlds that can be reached, made as they are asked for."""

    renames: bool = True
    """Whether worlds that differ by counters only are one."""
    forgets: bool = True
    """Whether worlds that differ only by what no core looks at again are one. Renaming is exact only with it."""
    store: PartStore = attrs.field(init=False)
    steps: Steps = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """No part is known yet."""
        self.store = PartStore(self.renames, self.forgets)
        self.steps = Steps(self.store, self.forgets)

    def cold(self, bound: Bound) -> World:
        """No process runs; both disks hold the same, and the record names both."""
        record = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=BOTH, proposal="init")
        first = (
            *(Node(name=name, metadata=first_metadata(record, name, "x")) for name in BOTH),
            *(Inbox(name) for name in BOTH),
            Arbiter(record, 1),
            register(FIRST_VALUE),
            bound,
        )
        return self.store.canonical(World(*map(self.store.add, first)))

    def with_bound(self, world: World, bound: Bound) -> World:
        """The same world, with so much that may happen."""
        return world._replace(bound=self.store.add(bound))

    def parts(self, world: World) -> list[Any]:
        """What the world is made of."""
        return [self.store.parts[number] for number in world]

    def problem_of(self, world: World) -> str:
        """What is wrong with it; empty if nothing is."""
        a, b, inbox_a, inbox_b, arbiter, block, _ = world
        problem = self._check_node(a, arbiter, block) or self._check_node(b, arbiter, block)
        if self._is_source(a, arbiter):
            problem = problem or self._check_marks(a, b, arbiter)
        if self._is_source(b, arbiter):
            problem = problem or self._check_marks(b, a, arbiter)
        problem = problem or self._check_permit(a, b) or self._check_permit(b, a)
        if not problem and self.is_together(world):
            problem = check_copies(*(self.store.parts[number] for number in (a, b, inbox_a, inbox_b)))
        return problem

    def is_together(self, world: World) -> bool:
        """Whether both nodes serve as members, with nothing under way at them."""
        return self._is_calm(world.a) and self._is_calm(world.b) and self._are_together(world.a, world.b)

    @remembered
    def _check_node(self, node: int, arbiter: int, block: int) -> str:
        return check_node(*(self.store.parts[number] for number in (node, arbiter, block)))

    @remembered
    def _is_source(self, node: int, arbiter: int) -> bool:
        return is_source(self.store.parts[node], self.store.parts[arbiter].record)

    @remembered
    def _is_calm(self, node: int) -> bool:
        return is_calm(self.store.parts[node])

    @remembered
    def _check_marks(self, source: int, target: int, arbiter: int) -> str:
        return check_marks(self.store.parts[source], self.store.parts[target], self.store.parts[arbiter].record)

    @remembered
    def _check_permit(self, holder: int, granter: int) -> str:
        return check_permit(self.store.parts[holder], self.store.parts[granter])

    @remembered
    def _are_together(self, a: int, b: int) -> bool:
        return is_together(self.store.parts[a], self.store.parts[b])

    # What may happen next.

    def moves(self, world: World) -> list[Move]:
        """Everything that may happen next."""
        moves: list[Move] = []
        for me, here, inbox, peer in (
            ("a", world.a, world.inbox_a, world.b),
            ("b", world.b, world.inbox_b, world.a),
        ):
            if not self._runs(here):
                self._done(moves, world, me, self.steps.start(here, self.store.fresh_incarnation(world)))
                continue
            for step in self.steps.of(here, inbox, world.arbiter):
                if not step.records:
                    self._done(moves, world, me, step)
                    continue
                for other in self.steps.executed_before(peer, world.arbiter):
                    self._done(moves, world, me, step, other)
            self._permit(moves, world, me, here, peer)
            self._submit(moves, world, me, here)
            self._crash(moves, world, me, here)
        self._cut_or_connect(moves, world)
        self._apply_late(moves, world)
        return moves

    @remembered
    def _runs(self, node: int) -> bool:
        return self.store.parts[node].core is not None

    @remembered
    def _accepts(self, node: int, kind: OperationKind) -> bool:
        return accepts(self.store.parts[node].core, kind)

    def _done(self, moves: list[Move], world: World, me: str, step: Step, other: int = UNCHANGED) -> None:
        """Enter the world after a step of one node; ``other`` is the other node, if that changes too."""
        a, b, inbox_a, inbox_b, arbiter, block, bound = world
        node, outputs, problem = step.node, step.outputs, step.problem
        if step.spends:
            bound = self.steps.spend(bound, step.spends)
            if bound == UNCHANGED:
                return
        if step.arbiter != UNCHANGED:
            arbiter = step.arbiter
        mine, peers, peer = (inbox_a, inbox_b, b) if me == "a" else (inbox_b, inbox_a, a)
        if step.inbox != UNCHANGED:
            mine = step.inbox
        if other != UNCHANGED:
            peer = other
        if outputs:
            if self.steps.knows_live(mine):
                peers = self.steps.carry(peers, outputs)
            block, told = self.steps.tell(block, outputs)
            problem = problem or told
        if me == "a":
            after = World(node, peer, mine, peers, arbiter, block, bound)
        else:
            after = World(peer, node, peers, mine, arbiter, block, bound)
        moves.append(Move(self.store.canonical(after), me, step.what, step.spends, problem))

    def _permit(self, moves: list[Move], world: World, me: str, here: int, peer: int) -> None:
        """The node grants the peer a permit, or what it granted is over; only reads make use of any.

        Who waits until it is over waits longer than the permit lasts: so both are over at once, here.
        """
        over = self.steps.permits_out(here)
        if over is not None:
            self._done(moves, world, me, over, self.steps.without_permit(peer))
        live = self.steps.knows_live(world.inbox_a) and self.steps.knows_live(world.inbox_b)
        if live and (self.steps.reads(peer) or self.steps.spend(world.bound, "reads") != UNCHANGED):
            granted = self.steps.permit(peer, here)
            if granted is not None:
                self._done(moves, world, me, granted[1], granted[0])

    def _submit(self, moves: list[Move], world: World, me: str, here: int) -> None:
        """A node that would only say that it is not the primary is not asked: that changes nothing anywhere."""
        for kind, spends in _SUBMISSIONS:
            if self._accepts(here, kind) and self.steps.spend(world.bound, spends) != UNCHANGED:
                ticket = self.store.fresh_ticket(world)
                asked = world._replace(register=self.steps.call(world.register, kind, ticket))
                self._done(moves, asked, me, self.steps.submit(here, kind, ticket)._replace(spends=spends))

    def _crash(self, moves: list[Move], world: World, me: str, here: int) -> None:
        bound = self.steps.spend(world.bound, "crashes")
        if bound == UNCHANGED:
            return
        a, b, inbox_a, inbox_b, *_ = world
        nothing = self.store.add(Inbox(me))
        for left, arbiter, block, what in self.steps.crashes(here, world.arbiter, world.register):
            if me == "a":
                raw = World(left, b, nothing, self.steps.cut(inbox_b), arbiter, block, bound)
            else:
                raw = World(a, left, self.steps.cut(inbox_a), nothing, arbiter, block, bound)
            moves.append(Move(self.store.canonical(raw), me, what, "crashes", ""))

    def _cut_or_connect(self, moves: list[Move], world: World) -> None:
        a, b, inbox_a, inbox_b, _, _, bound = world
        steps = self.steps
        if steps.is_live(inbox_a):
            bound = steps.spend(bound, "cuts")
            if bound == UNCHANGED:
                return
            raw = world._replace(inbox_a=steps.cut(inbox_a), inbox_b=steps.cut(inbox_b), bound=bound)
            moves.append(Move(self.store.canonical(raw), "-", "the connection is cut", "cuts", ""))
        elif self._runs(a) and self._runs(b):
            raw = world._replace(inbox_a=steps.connected(inbox_a, b), inbox_b=steps.connected(inbox_b, a))
            moves.append(Move(self.store.canonical(raw), "-", "a session begins", "", ""))

    def _apply_late(self, moves: list[Move], world: World) -> None:
        for recorded, what in self.steps.applied_late(world.arbiter):
            for a in self.steps.executed_before(world.a, world.arbiter):
                for b in self.steps.executed_before(world.b, world.arbiter):
                    raw = world._replace(a=a, b=b, arbiter=recorded)
                    moves.append(Move(self.store.canonical(raw), "-", what, "", ""))
