"""Reads in a simulated pair: as the driver does them, under permits that each node counts by a clock of its own."""

import math
from collections.abc import Callable
from random import Random
from typing import Final

import attrs

from ctlha_trio.ha import RENEW_S, HeldPermit
from ctlha_trio.pair import OperationKind, actions as act, events as ev, messages as msg
from ctlha_trio.testing._core.clients import SimulatedClients
from ctlha_trio.testing._core.clock import SimulatedClock
from ctlha_trio.testing._core.disk_calls import FoundRead, UnderWay
from ctlha_trio.testing._core.invariants import Invariants
from ctlha_trio.testing._core.link import SimulatedLink
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.volume import place_sectors

SEEN_CHANCE: Final = 0.5
"""That a read finds what was there when it was called, rather than when it is answered."""
BOOTTIME_RATES: Final = (0.9, 1.0, 1.12)
"""Of the clocks by which permits are counted: not quite so far apart as the protocol allows."""


@attrs.define(eq=False)
class SimulatedReads:
    """Of both nodes."""

    random: Random
    clock: SimulatedClock
    link: SimulatedLink
    clients: SimulatedClients
    invariants: Invariants
    feed: Callable[[SimulatedNode, ev.Event], None]
    note: Callable[[str, str], None]
    rates: dict[str, float] = attrs.field(init=False)
    """Seconds that a node counts in one, by its name."""

    def __attrs_post_init__(self) -> None:
        """Give each node a clock."""
        self.rates = {name: self.random.choice(BOOTTIME_RATES) for name in self.invariants.nodes}

    def start(self, node: SimulatedNode) -> None:
        """A process holds no permit at first."""
        node.permit = HeldPermit(lambda: self.clock.now_s * self.rates[node.name])

    def change_session(self, node: SimulatedNode) -> None:
        """A session begins or ends."""
        node.permit.void()
        node.asked_s = -math.inf

    def grant(self, node: SimulatedNode, lasts_s: float) -> None:
        """What the node grants is over so much later on its own clock."""
        node.permit_out_s = self.clock.now_s + lasts_s / self.rates[node.name]

    def wait_out(self, node: SimulatedNode) -> None:
        """Let the time pass until it is."""
        self.clock.now_s = max(self.clock.now_s, node.permit_out_s)

    def ask_for_permit(self, node: SimulatedNode) -> None:
        """A node that has reads, or is about to, asks the other one for a permit, unless it has just done so."""
        assert node.state is not None
        if self.clock.now_s >= node.asked_s + RENEW_S:
            node.asked_s = self.clock.now_s
            self.link.send(node.link, node.permit.request(node.state.epoch))

    def take_permit(self, node: SimulatedNode, permit: msg.Permit) -> None:
        """One came: reads that waited for it are answered, or ask again."""
        node.permit.take(permit)
        self.note(node.name, f"holds permit {permit.number} of epoch {permit.epoch}")
        reads, node.reads = node.reads, []
        for each in reads:
            self._show(node, each)

    def end(self, node: SimulatedNode, call: act.FetchRead, ended: UnderWay) -> None:
        """The data is there."""
        found = ended.seen if self.random.random() < SEEN_CHANCE else node.read_for(call.operation)
        self._show(node, FoundRead(call, ended.since, found))

    def _show(self, node: SimulatedNode, read: FoundRead) -> None:
        """Answer the read if a permit covers it, or wait for one that does."""
        call = read.call
        if not node.wants(call):
            return
        if call.epoch and not node.permit.covers(call.epoch, read.since):
            self.ask_for_permit(node)
            node.reads.append(read)
            return
        if call.epoch and node.permit.is_live(call.epoch):
            self.invariants.read(node)
        match call.operation.kind:
            case OperationKind.COMPARE_AND_WRITE:
                kept = self.clients.proposals.get((node.name, call.taken))
                expected = kept.expected if kept else self.clients.expected[call.ticket]
                differing = [place for place, value in read.found.items() if value != expected[place]]
                offset = place_sectors(differing[0])[0] - call.operation.offset if differing else None
                self.feed(node, ev.StoredCompared(call.fetch, offset))
                return
            case _:
                self.clients.found[call.ticket] = read.found
        self.feed(node, ev.Fetched(call.fetch))
