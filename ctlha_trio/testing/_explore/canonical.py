"""Worlds as numbers, and the one world that stands for all like it.

A world has two sides, each a node with what it has yet to hear, and a middle: the arbiter, what clients know, and what
the bound still allows. Each side and each middle is known by a number, and a world is those three in one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from ctlha_trio.testing._explore.forgetting import plain_hearing
from ctlha_trio.testing._explore.renaming import Count, Renaming, find_renaming
from ctlha_trio.testing._explore.store import PartStore

if TYPE_CHECKING:
    from ctlha_trio.testing._explore.clients import Clients
    from ctlha_trio.testing._explore.parts import Arbiter, Bound, Node

BITS: Final = 22
"""Of the number of a side: with those of both and 16 of a middle, Python needs no more than two of its digits."""
MASK: Final = (1 << BITS) - 1
_AS_IT_IS: Final = 0
"""The number of the renaming that changes nothing."""


def world_of(a: int, b: int, middle: int) -> int:
    """The number of a world."""
    return middle << 2 * BITS | a << BITS | b


def parts_of(world: int) -> tuple[int, int, int]:
    """Its sides and its middle."""
    return world >> BITS & MASK, world & MASK, world >> 2 * BITS


@attrs.define(eq=False)
class Side:
    """A node with what it has yet to hear, as numbers of parts, and what is asked of it for every world."""

    node: int
    inbox: int
    kind: int
    """The number of what it counts."""
    count: Count
    epoch: int
    """The latest that the node knows."""
    lineage: str
    """Of the record that it acts on; empty if it knows none."""
    forcing: bool
    """A person's swap is under way."""
    ticket_max: int
    incarnation_max: int


@attrs.define(eq=False)
class Middle:
    """What belongs to neither node, as numbers of parts."""

    arbiter: int
    register: int
    bound: int
    kind: int
    """The number of what it counts, and of who is the record's primary."""
    count: Count
    settled: bool
    """Whether nothing in it is forgotten once the nodes know more."""
    lineage: str
    primary: str
    """Of the record."""
    may_be_forced: bool
    """A person may still ask for it, or what one asked for may be recorded late."""
    ticket_max: int
    incarnation_max: int


@attrs.define(eq=False)
class Worlds:
    """Numbers for sides and middles, and for renamings."""

    store: PartStore
    renames: bool
    forgets: bool
    sides: list[Side] = attrs.Factory(list)
    middles: list[Middle] = attrs.Factory(list)
    side_kinds: list[int] = attrs.Factory(list)
    """By side; and by middle, below."""
    middle_kinds: list[int] = attrs.Factory(list)
    _side_numbers: dict[tuple[int, int], int] = attrs.Factory(dict)
    _middle_numbers: dict[tuple[int, int, int], int] = attrs.Factory(dict)
    _kinds: dict[tuple[Count, bool], int] = attrs.Factory(dict)
    _unsettled: set[int] = attrs.Factory(set)
    _settled: dict[tuple[Any, ...], int] = attrs.Factory(dict)
    _heard: dict[tuple[int, int], int] = attrs.Factory(dict)
    _renamings: list[Renaming | None] = attrs.Factory(lambda: [None])
    _renaming_numbers: dict[Any, int] = attrs.Factory(dict)
    _renaming_of: dict[int, int] = attrs.Factory(dict)
    _renamed_sides: dict[tuple[int, int], int] = attrs.Factory(dict)
    _renamed_middles: dict[tuple[int, int], int] = attrs.Factory(dict)
    _renamed: dict[tuple[int, bool, tuple[Any, ...]], int] = attrs.Factory(dict)

    def side(self, node: int, inbox: int) -> int:
        """Its number."""
        number = self._side_numbers.get((node, inbox))
        if number is None:
            number = self._side_numbers[node, inbox] = len(self.sides)
            if number > MASK:
                raise OverflowError("more sides than there are numbers for")
            count = self.store.beside(node, inbox)
            part: Node = self.store.parts[node]
            kind = self._kind(count, False)
            most = max(count.tickets, default=0)
            epoch = max(part.metadata.epoch, part.core.epoch if part.core is not None else 0)
            core = part.core
            lineage = "" if core is None or core.record is None else core.record.lineage
            forcing = core is not None and core.forcing
            self.sides.append(Side(node, inbox, kind, count, epoch, lineage, forcing, most, count.incarnation_max))
            self.side_kinds.append(kind)
        return number

    def middle(self, arbiter: int, register: int, bound: int) -> int:
        """Its number."""
        key = arbiter, register, bound
        number = self._middle_numbers.get(key)
        if number is None:
            number = self._middle_numbers[key] = len(self.middles)
            count = self.store.beside(arbiter, register)
            record: Arbiter = self.store.parts[arbiter]
            clients: Clients = self.store.parts[register]
            settled = not record.past and clients.is_settled
            newest, forces = record.record, self.store.parts[bound].forces
            may_be_forced = bool(forces) or any(late.record.lineage != newest.lineage for late in record.late)
            kind = self._kind(count, newest.primary == "b")
            self.middles.append(
                Middle(
                    *key,
                    kind,
                    count,
                    settled=settled,
                    lineage=newest.lineage,
                    primary=newest.primary,
                    may_be_forced=may_be_forced,
                    ticket_max=max(count.tickets, default=0),
                    incarnation_max=count.incarnation_max,
                )
            )
            self.middle_kinds.append(kind)
            if not settled:
                self._unsettled.add(number)
        return number

    def _kind(self, count: Count, flip: bool) -> int:
        return self._kinds.setdefault((count, flip), len(self._kinds))

    def world(self, parts: Sequence[Any]) -> int:
        """Of these parts, as they are: both nodes, what they will hear, the arbiter, what clients know, the bound."""
        a, b, inbox_a, inbox_b, *middle = map(self.store.add, parts)
        return world_of(self.side(a, inbox_a), self.side(b, inbox_b), self.middle(*middle))

    def parts(self, world: int) -> list[Any]:
        """What the world is made of."""
        a, b, middle = self.sides[world >> BITS & MASK], self.sides[world & MASK], self.middles[world >> 2 * BITS]
        numbers = a.node, b.node, a.inbox, b.inbox, middle.arbiter, middle.register, middle.bound
        return [self.store.parts[number] for number in numbers]

    def standing_for(self, world: int) -> int:
        """The world that stands for this one: without what can matter no more, and with the smallest numbers."""
        a, b, middle = parts_of(world)
        bound: Bound = self.store.parts[self.middles[middle].bound]
        return self.canonical(self.hear(a, bound.refusals), self.hear(b, bound.refusals), middle)

    def side_parts(self, side: int) -> tuple[int, int]:
        """The numbers of the node and of its inbox."""
        known = self.sides[side]
        return known.node, known.inbox

    def middle_parts(self, middle: int) -> tuple[int, int, int]:
        """The numbers of the arbiter, of what clients know, and of the bound."""
        known = self.middles[middle]
        return known.arbiter, known.register, known.bound

    def hear(self, side: int, refusals: int) -> int:
        """A side without what its peer said of itself that leads to nothing while this many refusals may come."""
        if not self.forgets:
            return side
        heard = self._heard.get((side, refusals))
        if heard is None:
            node, inbox = (self.store.parts[number] for number in self.side_parts(side))
            plain = plain_hearing(node, inbox, refusals=refusals)
            heard = self._heard[side, refusals] = self.side(*map(self.store.add, plain))
        return heard

    def canonical(self, a: int, b: int, middle: int) -> int:
        """The world that stands for one whose sides have heard."""
        if middle in self._unsettled:
            middle = self._settle(a, b, middle)
        if not self.renames:
            return middle << 2 * BITS | a << BITS | b
        kinds = self.side_kinds
        key = self.middle_kinds[middle] << 2 * BITS | kinds[a] << BITS | kinds[b]
        renaming = self._renaming_of.get(key)
        if renaming is None:
            renaming = self._renaming_of[key] = self._find_renaming(a, b, middle)
        if renaming == _AS_IT_IS:
            return middle << 2 * BITS | a << BITS | b
        return self._renamed_world(a, b, middle, renaming)

    def _renamed_world(self, a: int, b: int, middle: int, renaming: int) -> int:
        how = self._renamings[renaming]
        assert how is not None
        first, second = self._renamed_sides.get((a, renaming)), self._renamed_sides.get((b, renaming))
        third = self._renamed_middles.get((middle, renaming))
        if first is None:
            first = self._rename_side(a, renaming)
        if second is None:
            second = self._rename_side(b, renaming)
        if third is None:
            third = self._rename_middle(middle, renaming)
        if how.flip:
            first, second = second, first
        return third << 2 * BITS | first << BITS | second

    def _find_renaming(self, a: int, b: int, middle: int) -> int:
        between = self.middles[middle]
        flip = self.store.parts[between.arbiter].record.primary == "b"
        renaming = find_renaming(self.sides[a].count, self.sides[b].count, between.count, flip=flip)
        if renaming.changes_nothing:
            return _AS_IT_IS
        number = self._renaming_numbers.setdefault(renaming.key, len(self._renamings))
        if number == len(self._renamings):
            self._renamings.append(renaming)
        return number

    def _rename_side(self, side: int, renaming: int) -> int:
        old = self.sides[side]
        me = self.store.parts[old.node].name
        new = self.side(self._rename(old.node, renaming, me), self._rename(old.inbox, renaming, me))
        self._renamed_sides[side, renaming] = new
        return new

    def _rename_middle(self, middle: int, renaming: int) -> int:
        old = self.middles[middle]
        renamed = self._rename(old.arbiter, renaming, ""), self._rename(old.register, renaming, "")
        new = self._renamed_middles[middle, renaming] = self.middle(*renamed, old.bound)
        return new

    def _rename(self, part: int, renaming: int, me: str) -> int:
        """Renamings that do the same to the counters of a part do the same to the part."""
        how = self._renamings[renaming]
        assert how is not None
        counters = self.store.counters[part]
        image = how.image(counters, me)
        if not how.flip and image == tuple([value for _, value in counters]):
            return part
        key = part, how.flip, image
        renamed = self._renamed.get(key)
        if renamed is None:
            renamed = self._renamed[key] = self.store.add(how.apply(self.store.parts[part], me))
        return renamed

    def _settle(self, a: int, b: int, middle: int) -> int:
        """Forget records older than any that a node may still act on, and lost writes whose data is nowhere."""
        mine, peers, old = self.sides[a], self.sides[b], self.middles[middle]
        apart = (peers if old.primary == "a" else mine).lineage not in {"", old.lineage}
        may_be_forced = old.may_be_forced or mine.forcing or peers.forcing
        tickets = mine.count.tickets, peers.count.tickets
        key = middle, min(mine.epoch, peers.epoch), *tickets, may_be_forced, apart
        settled = self._settled.get(key)
        if settled is None:
            arbiter: Arbiter = self.store.parts[old.arbiter]
            past = tuple(record for record in arbiter.past if record.epoch >= key[1])
            clients: Clients = self.store.parts[old.register]
            clients = clients.knowing(tickets[0] | tickets[1], may_be_forced=may_be_forced, serves_apart=apart)
            trimmed = self.store.add(attrs.evolve(arbiter, past=past))
            settled = self._settled[key] = self.middle(trimmed, self.store.add(clients), old.bound)
        return settled
