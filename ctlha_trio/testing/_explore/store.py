"""Parts of explored worlds, each kept once and known by a number; and the one world that stands for all like it."""

from typing import Any, Final, NamedTuple

import attrs

from ctlha_trio.testing._explore.counters import Counters, counters_of
from ctlha_trio.testing._explore.forgetting import plain_hearing
from ctlha_trio.testing._explore.parts import Arbiter, Inbox, Node
from ctlha_trio.testing._explore.register import Register
from ctlha_trio.testing._explore.renaming import Count, Renaming, count, find_renaming


class World(NamedTuple):
    """Numbers of parts."""

    a: int
    b: int
    inbox_a: int
    inbox_b: int
    arbiter: int
    register: int
    bound: int


_AS_IT_IS: Final = 0
"""The number of the renaming that changes nothing."""


@attrs.define(eq=False)
class PartStore:
    """Numbers for parts, for what they count, and for renamings."""

    renames: bool
    forgets: bool
    parts: list[Any] = attrs.Factory(list)
    _numbers: dict[Any, int] = attrs.Factory(dict)
    _counts: list[int] = attrs.Factory(list)
    """By part: the number of its counters."""
    _count: list[Count] = attrs.Factory(list)
    _counters_numbers: dict[Counters, int] = attrs.Factory(dict)
    _renamings: list[Renaming | None] = attrs.Factory(lambda: [None])
    _renaming_numbers: dict[Any, int] = attrs.Factory(dict)
    _renaming_of: dict[tuple[int, ...], int] = attrs.Factory(dict)
    _renamed: dict[tuple[int, int], int] = attrs.Factory(dict)
    _flipped: set[int] = attrs.Factory(set)
    """Arbiters whose record calls its primary ``b``."""
    _no_past: set[int] = attrs.Factory(set)
    _nothing_loose: set[int] = attrs.Factory(set)
    _trimmed: dict[tuple[int, ...], int] = attrs.Factory(dict)
    _known: dict[tuple[int, ...], int] = attrs.Factory(dict)
    _heard: dict[tuple[int, int, int], tuple[int, int]] = attrs.Factory(dict)

    def add(self, part: Any) -> int:
        """The part's number."""
        number = self._numbers.get(part)
        if number is None:
            number = self._numbers[part] = len(self.parts)
            self.parts.append(part)
            counters = counters_of(part)
            found = self._counters_numbers.get(counters)
            if found is None:
                found = self._counters_numbers[counters] = len(self._count)
                self._count.append(count(counters))
            self._counts.append(found)
            if isinstance(part, Register) and not any(order.loose for order in part.orders):
                self._nothing_loose.add(number)
            if isinstance(part, Arbiter) and part.record.primary == "b":
                self._flipped.add(number)
            if not (isinstance(part, Arbiter) and part.past):
                self._no_past.add(number)
        return number

    def fresh_incarnation(self, world: tuple[int, ...]) -> int:
        """One that nothing in the world remembers."""
        return 1 + max(self._count[self._counts[number]].incarnation_max for number in world)

    def fresh_ticket(self, world: tuple[int, ...]) -> int:
        """One that nothing in the world remembers."""
        return 1 + max(max(self._count[self._counts[number]].tickets, default=0) for number in world)

    def canonical(self, world: World) -> World:
        """The world that stands for this one: without what can matter no more, and with the smallest numbers."""
        a, b, inbox_a, inbox_b, arbiter, block, bound = world
        if self.forgets:
            a, inbox_a = self._heard.get((a, inbox_a, bound)) or self._hear(a, inbox_a, bound)
            b, inbox_b = self._heard.get((b, inbox_b, bound)) or self._hear(b, inbox_b, bound)
            world = World(a, b, inbox_a, inbox_b, arbiter, block, bound)
        if arbiter not in self._no_past or block not in self._nothing_loose:
            if arbiter not in self._no_past:
                arbiter = self._trim(arbiter, a, b)
            if block not in self._nothing_loose:
                block = self._know(block, (a, b, inbox_a, inbox_b))
            world = World(a, b, inbox_a, inbox_b, arbiter, block, bound)
        if not self.renames:
            return world
        counts = self._counts
        flip = arbiter in self._flipped
        key = (counts[a], counts[b], counts[inbox_a], counts[inbox_b], counts[arbiter], counts[block], flip)
        renaming = self._renaming_of.get(key)
        if renaming is None:
            renaming = self._renaming_of[key] = self._find_renaming(key)
        if renaming == _AS_IT_IS:
            return world
        a, b, inbox_a, inbox_b, arbiter, block = [
            self._rename(part, renaming) for part in (a, b, inbox_a, inbox_b, arbiter, block)
        ]
        if flip:
            a, b, inbox_a, inbox_b = b, a, inbox_b, inbox_a
        return World(a, b, inbox_a, inbox_b, arbiter, block, bound)

    def _find_renaming(self, key: tuple[int, ...]) -> int:
        a, b, inbox_a, inbox_b, *others = (self._count[number] for number in key[:6])
        renaming = find_renaming(a, b, inbox_a, inbox_b, others, flip=bool(key[6]))
        if renaming.changes_nothing:
            return _AS_IT_IS
        number = self._renaming_numbers.setdefault(renaming.key, len(self._renamings))
        if number == len(self._renamings):
            self._renamings.append(renaming)
        return number

    def _rename(self, part: int, renaming: int) -> int:
        renamed = self._renamed.get((part, renaming))
        if renamed is None:
            old, how = self.parts[part], self._renamings[renaming]
            assert how is not None
            me = old.name if isinstance(old, Node | Inbox) else ""
            renamed = self._renamed[part, renaming] = self.add(how.apply(old, me))
        return renamed

    def _hear(self, node: int, inbox: int, bound: int) -> tuple[int, int]:
        """Forget what the peer said of itself that leads to nothing."""
        plain = plain_hearing(self.parts[node], self.parts[inbox], refusals=self.parts[bound].refusals)
        heard = self._heard[node, inbox, bound] = self.add(plain[0]), self.add(plain[1])
        return heard

    def _trim(self, arbiter: int, a: int, b: int) -> int:
        """Forget records that are older than any that a node may still act on."""
        key = arbiter, a, b
        trimmed = self._trimmed.get(key)
        if trimmed is None:
            old: Arbiter = self.parts[arbiter]
            least = min(_epoch_known(self.parts[node]) for node in (a, b))
            past = tuple(record for record in old.past if record.epoch >= least)
            trimmed = self._trimmed[key] = self.add(attrs.evolve(old, past=past))
        return trimmed

    def _know(self, block: int, places: tuple[int, ...]) -> int:
        """Forget lost writes whose data is nowhere any more."""
        key = (block, *(self._counts[place] for place in places))
        known = self._known.get(key)
        if known is None:
            extant = frozenset[int]().union(*(self._count[number].tickets for number in key[1:]))
            old: Register = self.parts[block]
            known = self._known[key] = self.add(old.knowing(extant))
        return known


def _epoch_known(node: Node) -> int:
    return max(node.metadata.epoch, node.core.epoch if node.core is not None else 0)
