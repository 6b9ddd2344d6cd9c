"""What may happen next at one node, in a middle, whatever the peer is: each is found once, then looked up.

The peer's part in it is an effect, which is looked up by the peer.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import attrs

from ctlha_trio.pair import OperationKind, Phase, Record, accepts
from ctlha_trio.testing._explore.canonical import Worlds
from ctlha_trio.testing._explore.parts import Inbox
from ctlha_trio.testing._explore.remembered import remembered
from ctlha_trio.testing._explore.steps import UNCHANGED, Step, Steps

_SUBMISSIONS: Final = ((OperationKind.WRITE, "writes"), (OperationKind.READ, "reads"))
_SUBMISSIONS_AT_SECONDARY: Final = ((OperationKind.WRITE, "proposals"), (OperationKind.READ, "reads"))

NOTHING: Final = 0
"""The effect that changes nothing."""
NEVER: Final = -1
"""The side of a peer that cannot have its part in this."""


class Way(NamedTuple):
    """What may happen, without the peer."""

    node: str
    """Where it happens; ``-`` for neither node."""
    what: object
    """An event, or a description."""
    spends: str
    """What of the bound it takes; empty if it happens without any fault, client or operator."""
    problem: str
    """What it breaks."""
    side: int
    """After it, as all below."""
    middle: int
    effect: int
    """On the peer."""


class Effect(NamedTuple):
    """What becomes of the peer's side."""

    refusals: int
    """That the bound allows afterwards."""
    carried: int = 0
    """The number of what was said."""
    permit_over: bool = False
    cut: bool = False
    executed: int = UNCHANGED
    """The arbiter just before its record changes: a read of the peer is executed."""
    connected: int = 0
    """The incarnation with which a session begins."""


@attrs.define(eq=False, slots=False)
class Ways:
    """Of one exploration."""

    worlds: Worlds
    steps: Steps
    _effects: list[Effect] = attrs.field(factory=lambda: [Effect(0)], init=False)
    _numbers: dict[Effect, int] = attrs.field(factory=dict, init=False)

    def _name(self, side: int) -> str:
        name: str = self.worlds.store.parts[self.worlds.sides[side].node].name
        return name

    @remembered
    def runs(self, side: int) -> bool:
        """Whether its process does."""
        return self.worlds.store.parts[self.worlds.sides[side].node].core is not None

    @remembered
    def refusals(self, middle: int) -> int:
        """Of the arbiter, that may still come."""
        refusals: int = self.worlds.store.parts[self.worlds.middles[middle].bound].refusals
        return refusals

    def spend(self, middle: int, what: str) -> int:
        """The middle after one such thing, or a negative number."""
        if not what:
            return middle
        arbiter, register, bound = self.worlds.middle_parts(middle)
        left = self.steps.spend(bound, what)
        return UNCHANGED if left == UNCHANGED else self.worlds.middle(arbiter, register, left)

    def _effect(self, effect: Effect) -> int:
        number = self._numbers.setdefault(effect, len(self._effects))
        if number == len(self._effects):
            self._effects.append(effect)
        return number

    @remembered
    def affected(self, side: int, number: int) -> int:
        """The peer's side after it."""
        effect = self._effects[number]
        node, inbox = self.worlds.side_parts(side)
        if effect.executed != UNCHANGED:
            executed = self.steps.executed_before(node, effect.executed)[1:]
            if not executed:
                return NEVER
            (node,) = executed
        if effect.permit_over:
            node = self.steps.without_permit(node)
        if effect.cut:
            inbox = self.steps.cut(inbox)
        if effect.connected:
            inbox = self.steps.connected(inbox, effect.connected)
        if effect.carried:
            inbox = self.steps.carry(inbox, effect.carried)
        return self.worlds.hear(self.worlds.side(node, inbox), effect.refusals)

    def _way(self, side: int, middle: int, step: Step, effect: Effect | None = None) -> Way | None:
        """A step of the node, with what else becomes of the peer; None if the bound does not allow it."""
        after = self.spend(middle, step.spends)
        if after == UNCHANGED:
            return None
        refusals = self.refusals(after)
        _, inbox = self.worlds.side_parts(side)
        arbiter, block, bound = self.worlds.middle_parts(after)
        problem = step.problem
        if step.inbox != UNCHANGED:
            inbox = step.inbox
        if step.arbiter != UNCHANGED:
            arbiter = step.arbiter
        felt = (effect or Effect(0))._replace(refusals=refusals)
        if step.records:
            block, broken = self._recorded(after, step.node, arbiter)
            problem = problem or broken
        if step.outputs:
            if self.steps.knows_live(inbox):
                felt = felt._replace(carried=step.outputs)
            block, told = self.steps.tell(block, step.outputs, self._leads(side, arbiter, block))
            problem = problem or told
        unfelt = felt == Effect(self.refusals(middle))
        return Way(
            self._name(side),
            step.what,
            step.spends,
            problem,
            self.worlds.hear(self.worlds.side(step.node, inbox), refusals),
            self.worlds.middle(arbiter, block, bound),
            NOTHING if unfelt else self._effect(felt),
        )

    def _recorded(self, middle: int, node: int, after: int) -> tuple[int, str]:
        """What clients know once the arbiter's record changes by that node's swap, and what that breaks."""
        before, clients, bound = self.worlds.middle_parts(middle)
        may_be_forced = bool(self.worlds.store.parts[bound].forces)
        return self.steps.recorded(clients, node, before, after, may_be_forced)

    def _leads(self, side: int, arbiter: int, clients: int) -> bool:
        """Whether what its clients know is of the record's line. One that was abandoned is never its primary."""
        parts = self.worlds.store.parts
        if parts[clients].abandoned is None:
            return True
        record: Record = parts[arbiter].record
        return record.primary == self._name(side)

    # At one node.

    @remembered
    def of(self, side: int, middle: int) -> list[Way]:
        """All that a process that runs may do by itself or hear, that its permits are over, and its end."""
        node, inbox = self.worlds.side_parts(side)
        arbiter, _, _ = self.worlds.middle_parts(middle)
        found: list[Way | None] = []
        for step in self.steps.of(node, inbox, arbiter):
            found.append(self._way(side, middle, step))
            if step.records:
                found.append(self._way(side, middle, step, Effect(0, executed=arbiter)))
        over = self.steps.permits_out(node)
        if over is not None:
            # Who waits until it is over waits longer than the permit lasts: so both are over at once, here.
            found.append(self._way(side, middle, over, Effect(0, permit_over=True)))
        found += self._forces(side, middle)
        return [*(way for way in found if way is not None), *self._crashes(side, middle)]

    def _forces(self, side: int, middle: int) -> Iterator[Way | None]:
        """A person forces it, or what one has asked for is recorded late."""
        node, _ = self.worlds.side_parts(side)
        _, _, bound = self.worlds.middle_parts(middle)
        forces = self.worlds.store.parts[bound].forces
        asked = self.steps.force(node, forces) if forces else None
        if asked is not None:
            yield self._way(side, middle, asked)
        yield from self.forced_late(side, middle)

    @remembered
    def forced_late(self, side: int, middle: int) -> list[Way]:
        """What a person has asked of the node for is recorded, although nobody waits for it any more."""
        node, _ = self.worlds.side_parts(side)
        arbiter, _, _ = self.worlds.middle_parts(middle)
        found = []
        for late, what in self.steps.applied_late(arbiter, self._name(side)):
            for each in self.steps.executed_before(node, arbiter):
                step = Step(what, each, arbiter=late, records=True)
                found += [self._way(side, middle, step), self._way(side, middle, step, Effect(0, executed=arbiter))]
        return [way for way in found if way is not None]

    def _crashes(self, side: int, middle: int) -> Iterator[Way]:
        left = self.spend(middle, "crashes")
        if left == UNCHANGED:
            return
        me = self._name(side)
        nothing = self.worlds.store.add(Inbox(me))
        felt = self._effect(Effect(self.refusals(middle), cut=True))
        node, _ = self.worlds.side_parts(side)
        arbiter, block, bound = self.worlds.middle_parts(left)
        leads = self._leads(side, arbiter, block)
        for left_node, left_arbiter, told, what in self.steps.crashes(node, arbiter, block, leads):
            mine = self.worlds.hear(self.worlds.side(left_node, nothing), self.refusals(left))
            yield Way(me, what, "crashes", "", mine, self.worlds.middle(left_arbiter, told, bound), felt)

    @remembered
    def start(self, side: int, middle: int, incarnation: int) -> list[Way]:
        """Its process starts."""
        node, _ = self.worlds.side_parts(side)
        way = self._way(side, middle, self.steps.start(node, incarnation))
        return [] if way is None else [way]

    @remembered
    def submissions(self, side: int) -> tuple[tuple[OperationKind, str], ...]:
        """What clients may ask it, and what of the bound that spends.

        A node that would only say that it is not the primary is not asked: that changes nothing anywhere.
        """
        core = self.worlds.store.parts[self.worlds.sides[side].node].core
        if core is None or not accepts(core):
            return ()
        return _SUBMISSIONS_AT_SECONDARY if core.phase is Phase.FOLLOWING else _SUBMISSIONS

    @remembered
    def submit(self, side: int, middle: int, ticket: int) -> list[Way]:
        """A client asks it."""
        node, _ = self.worlds.side_parts(side)
        arbiter, block, bound = self.worlds.middle_parts(middle)
        leads = self._leads(side, arbiter, block)
        found = []
        for kind, spends in self.submissions(side):
            asked = self.worlds.middle(arbiter, self.steps.call(block, kind, ticket, leads), bound)
            way = self._way(side, asked, self.steps.submit(node, kind, ticket)._replace(spends=spends))
            if way is not None:
                found.append(way)
        return found

    @remembered
    def asks(self, middle: int) -> bool:
        """Whether clients may still ask for anything."""
        return any(self.spend(middle, what) != UNCHANGED for what in ("writes", "proposals", "reads"))

    @remembered
    def reads(self, side: int) -> bool:
        """Whether a client waits there for a read."""
        return self.steps.reads(self.worlds.sides[side].node)

    @remembered
    def may_read(self, middle: int) -> bool:
        """Whether a client may still ask for a read."""
        return self.spend(middle, "reads") != UNCHANGED

    @remembered
    def grant(self, side: int, peer: int, middle: int) -> tuple[Way, int] | None:
        """The node grants its peer a permit: without the effect, with the peer's side before that."""
        here, inbox = self.worlds.side_parts(side)
        there, peers = self.worlds.side_parts(peer)
        if not (self.steps.knows_live(inbox) and self.steps.knows_live(peers)):
            return None
        granted = self.steps.permit(there, here)
        if granted is None:
            return None
        way = self._way(side, middle, granted[1])
        return None if way is None else (way, self.worlds.side(granted[0], peers))

    # At neither, or both.

    @remembered
    def between(self, side: int, peer_runs: int, middle: int) -> list[Way]:
        """What happens to the link, seen from node ``a``, and swaps that nobody waits for.

        ``peer_runs`` is the incarnation of the peer's process, or 0.
        """
        node, inbox = self.worlds.side_parts(side)
        arbiter, _, bound = self.worlds.middle_parts(middle)
        refusals = self.refusals(middle)
        found = []
        if self.steps.is_live(inbox):
            left = self.spend(middle, "cuts")
            if left != UNCHANGED:
                mine = self.worlds.hear(self.worlds.side(node, self.steps.cut(inbox)), refusals)
                felt = self._effect(Effect(refusals, cut=True))
                found.append(Way("-", "the connection is cut", "cuts", "", mine, left, felt))
        elif peer_runs and self.runs(side):
            own = self.worlds.sides[side].count.own
            mine = self.worlds.hear(self.worlds.side(node, self.steps.connected(inbox, peer_runs)), refusals)
            felt = self._effect(Effect(refusals, connected=own))
            found.append(Way("-", "a session begins", "", "", mine, middle, felt))
        for recorded, what in self.steps.applied_late(arbiter, ""):
            clients, broken = self._recorded(middle, node, recorded)
            after = self.worlds.middle(recorded, clients, bound)
            executed = self._effect(Effect(refusals, executed=arbiter))
            for each in self.steps.executed_before(node, arbiter):
                mine = self.worlds.hear(self.worlds.side(each, inbox), refusals)
                found += [Way("-", what, "", broken, mine, after, felt) for felt in (NOTHING, executed)]
        return found
