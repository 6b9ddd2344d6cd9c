"""What the clients of an explored pair know, and what they may lose when a person forces a node.

A forced node begins a line of its own, in which the volume is what its copy holds. That must be what was acknowledged
while it counted; what came later is lost, and nothing else. The other node, which was abandoned, may be alive: until it
finds out, its own clients are told of another volume, which is judged by itself.
"""

import attrs

from ctlha_trio.testing._explore.parts import Arbiter, Node
from ctlha_trio.testing._explore.register import Register, chosen


@attrs.frozen(cache_hash=True)
class Clients:
    """Of both nodes."""

    block: Register
    """As those know it who ask the nodes of the record's line."""
    counted: frozenset[int] = frozenset()
    """What the copy that does not count may hold, if it holds all that was acknowledged while it did: by then, or of
    what was asked for later. None if both count, and when nobody can be forced any more."""
    abandoned: Register | None = None
    """The block as the clients of the node that is not the record's primary know it, while that serves a line that is
    over."""

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing in it that the nodes may come to make void."""
        registers = (self.block,) if self.abandoned is None else (self.block, self.abandoned)
        return not self.counted and not any(order.loose for each in registers for order in each.orders)

    def of(self, *, primary: bool) -> Register:
        """The block as the clients of that node know it."""
        return self.block if primary or self.abandoned is None else self.abandoned

    def called(self, ticket: int, *, write: bool, primary: bool) -> "Clients":
        """A client has asked that node."""
        after = self.learning(self.of(primary=primary).called(ticket, write=write), primary=primary)
        return attrs.evolve(after, counted=self.counted | {ticket}) if write and self.counted else after

    def learning(self, block: Register, *, primary: bool) -> "Clients":
        """The clients of that node know this of the block."""
        if primary or self.abandoned is None:
            return attrs.evolve(self, block=block)
        return attrs.evolve(self, abandoned=block)

    def knowing(self, extant: frozenset[int], *, may_be_forced: bool, serves_apart: bool) -> "Clients":
        """The same for all that may come, if only these values exist anywhere.

        ``serves_apart``: the node that is not the record's primary acts on a record of a line that is over.
        """
        counted, abandoned = self.counted, self.abandoned
        if abandoned is not None and not serves_apart:
            counted, abandoned = abandoned.values, None
        return Clients(
            self.block.knowing(extant),
            counted & extant if may_be_forced else frozenset(),
            None if abandoned is None else abandoned.knowing(extant),
        )


def recorded(clients: Clients, before: Arbiter, after: Arbiter) -> Clients:
    """What they know once the record of the same line has changed: who counts no more has what was acknowledged."""
    if len(after.record.members) > 1:
        return attrs.evolve(clients, counted=frozenset())
    return attrs.evolve(clients, counted=clients.block.values) if len(before.record.members) > 1 else clients


def forced(clients: Clients, before: Arbiter, node: Node) -> Clients:
    """What they know once the record names the forced node. ``AssertionError`` if that lacks more than it may."""
    allowed = clients.block.values if node.name in before.record.members else clients.counted
    if node.block not in allowed:
        raise AssertionError(f"{node.name} is forced and holds {node.block}, but counted with {sorted(allowed)}")
    waiting = node.core.flights if node.core is not None else ()
    own = frozenset(flight.ticket for flight in waiting if flight.ticket and not flight.answered)
    writing = frozenset(call.data for call in node.disk if call.data)
    apart = clients.block
    for ticket in sorted(own):
        apart = apart.lost(ticket)
    block = chosen(node.block, writing, clients.block.writes & own, clients.block.reads & own)
    return Clients(block, abandoned=apart)
