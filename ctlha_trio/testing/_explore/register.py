"""What one block may hold by all that clients were told, as a value: every order of operations that is still possible.

The check of a whole history, done while it happens and kept as small as can be, so that worlds whose pasts demand the
same of the future are equal. Exact: an answer is refused if and only if no order allows it.
"""

from collections.abc import Iterable

import attrs


@attrs.frozen(cache_hash=True)
class Order:
    """Some order of what has taken effect by now."""

    value: int
    """The ticket of the write that took effect last."""
    took_effect: frozenset[tuple[int, int]]
    """Operations that clients still wait for, each with the value that it wrote or found."""
    loose: frozenset[int]
    """Writes that nobody waits for and that have not taken effect: they may at any time, or never."""


@attrs.frozen(cache_hash=True)
class Register:
    """One block as its clients see it."""

    orders: frozenset[Order]
    writes: frozenset[int] = frozenset()
    """Tickets of the writes that clients wait for."""
    reads: frozenset[int] = frozenset()

    @property
    def values(self) -> frozenset[int]:
        """That the block may hold now."""
        return frozenset(order.value for order in self.orders)

    def called(self, ticket: int, *, write: bool) -> "Register":
        """A client asked."""
        if write:
            return _closed(attrs.evolve(self, writes=self.writes | {ticket}))
        return _closed(attrs.evolve(self, reads=self.reads | {ticket}))

    def done(self, ticket: int, value: int) -> "Register":
        """A client was told that it is done, and for a read the value. ``AssertionError`` if that cannot be."""
        end = ticket, value
        return self._without(
            ticket,
            [_without_end(order, ticket) for order in self.orders if end in order.took_effect],
            f"operation {ticket} is done with value {value}, which no order of the operations explains",
        )

    def not_executed(self, ticket: int) -> "Register":
        """A client was told so. ``AssertionError`` if its write was seen."""
        write = ticket in self.writes
        orders = (order for order in self.orders if not (write and (ticket, ticket) in order.took_effect))
        return self._without(
            ticket,
            [_without_end(order, ticket) for order in orders],
            f"operation {ticket} was not executed, but its value was seen",
        )

    def lost(self, ticket: int) -> "Register":
        """No answer, or one that leaves it open: a write may take effect at any later time, or never."""
        orders = []
        for order in self.orders:
            if ticket in self.reads or (ticket, ticket) in order.took_effect:
                orders.append(_without_end(order, ticket))
            else:
                orders.append(attrs.evolve(order, loose=order.loose | {ticket}))
        return self._without(ticket, orders, "")

    def knowing(self, extant: frozenset[int]) -> "Register":
        """The same for all that may come, if only these values exist anywhere: what is gone is never found again."""
        gone = frozenset(ticket for order in self.orders for ticket in order.loose) - extant
        if not gone:
            return self
        orders = [attrs.evolve(order, loose=order.loose - gone) for order in self.orders if order.value not in gone]
        # A lost write that took effect and was not overwritten since would be found: its copy would be extant.
        return attrs.evolve(self, orders=_least(orders)) if orders else self

    def _without(self, ticket: int, orders: list[Order], otherwise: str) -> "Register":
        if not orders:
            raise AssertionError(otherwise)
        return _closed(Register(_least(orders), self.writes - {ticket}, self.reads - {ticket}))


def register(value: int) -> Register:
    """A block that holds this value, which nobody asks for."""
    return Register(frozenset({Order(value, frozenset(), frozenset())}))


def chosen(value: int, writing: frozenset[int], writes: frozenset[int], reads: frozenset[int]) -> Register:
    """A block of which one copy is the volume: what it holds, or what is still being written to it.

    ``writes`` and ``reads`` are what its clients wait for, none of which has begun.
    """
    return _closed(Register(frozenset({Order(value, frozenset(), writing - {value})}), writes, reads))


def _without_end(order: Order, ticket: int) -> Order:
    return attrs.evolve(order, took_effect=frozenset(end for end in order.took_effect if end[0] != ticket))


def _closed(block: Register) -> Register:
    """With every order in which something more has taken effect."""
    orders, fresh = set(block.orders), list(block.orders)
    while fresh:
        order = fresh.pop()
        begun = {ticket for ticket, _ in order.took_effect}
        more = [Order(ticket, order.took_effect | {(ticket, ticket)}, order.loose) for ticket in block.writes - begun]
        more += [attrs.evolve(order, took_effect=order.took_effect | {(t, order.value)}) for t in block.reads - begun]
        more += [Order(ticket, order.took_effect, order.loose - {ticket}) for ticket in order.loose]
        for each in more:
            if each not in orders:
                orders.add(each)
                fresh.append(each)
    return attrs.evolve(block, orders=_least(orders))


def _least(orders: Iterable[Order]) -> frozenset[Order]:
    """Without orders that allow no more than another: the same, but with fewer writes that may still take effect."""
    most: dict[tuple[int, frozenset[tuple[int, int]]], list[frozenset[int]]] = {}
    for order in sorted(set(orders), key=lambda each: -len(each.loose)):
        larger = most.setdefault((order.value, order.took_effect), [])
        if not any(order.loose <= loose for loose in larger):
            larger.append(order.loose)
    return frozenset(Order(value, ends, loose) for (value, ends), all_loose in most.items() for loose in all_loose)
