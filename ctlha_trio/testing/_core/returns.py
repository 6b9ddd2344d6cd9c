"""What the simulated nodes tell each other of their copies when one returns: its own ranges, and the source's data."""

from collections.abc import Callable
from typing import Final

from ctlha_trio.pair import actions as act, events as ev, messages as msg
from ctlha_trio.testing._core.disk_calls import UnderWay
from ctlha_trio.testing._core.link import SimulatedLink, digest_of
from ctlha_trio.testing._core.node import SimulatedNode

MANY_RANGES_CHANCE: Final = 0.05
"""That a node which returns has more ranges of its own than it may name."""


def say_ready(link: SimulatedLink, node: SimulatedNode, action: act.SendReady) -> None:
    """Name the ranges in which the returning node's copy may differ by its own doing."""
    base_epoch = action.base_epoch
    if node.random.random() < MANY_RANGES_CHANCE:
        base_epoch = 0
    else:
        for offset, size in node.dirty_ranges():
            link.send(node.link, msg.OwnRange(action.epoch, offset, size))
    link.send(node.link, msg.ResyncReady(action.epoch, base_epoch))


def read_for_peer(link: SimulatedLink, node: SimulatedNode, ended: UnderWay, feed: Callable[[ev.Event], None]) -> None:
    """A node has read what it compares with the peer's, or what the peer lacks."""
    match ended.call:
        case act.SendCompare() as call:
            compare_there(link, node, call, ended)
        case act.CompareRange() as call:
            equal = digest_of(node.read(call.offset, call.size)) == call.digest
            feed(ev.RangeCompared(call.session, call.sequence, equal))
        case act.PushRange() as call if ended.session == node.link.session:
            repair = msg.RepairData(call.epoch, call.sequence, call.offset, call.size)
            link.send(node.link, repair, node.read(call.offset, call.size))
        case _:
            pass


def compare_there(link: SimulatedLink, node: SimulatedNode, call: act.SendCompare, ended: UnderWay) -> None:
    """The source has read its own: have the other node compare, and keep the data while it may have to be sent."""
    if ended.session == node.link.session:
        held = node.read(call.offset, call.size)
        if call.keep and node.state is not None:
            live = {flight.sequence for flight in node.state.flights}
            kept = {sequence: blocks for sequence, blocks in node.held.items() if sequence in live}
            node.held = {**kept, call.sequence: held}
        compare = msg.Compare(call.epoch, call.sequence, call.offset, call.size, digest_of(held))
        link.send(node.link, compare)
