"""What goes wrong around the processes of a simulated pair comes to its end, one thing at a time."""

from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair


def end_partition(pair: SimulatedPair) -> None:
    """The nodes may find each other again."""
    pair.note("-", "the partition ends")
    pair.link.partitioned = False


def unclog(pair: SimulatedPair, node: SimulatedNode) -> None:
    """What was said to it meanwhile arrives."""
    pair.note(node.name, "hears again")
    node.link.clogged = False


def give_disk_back(pair: SimulatedPair, node: SimulatedNode) -> None:
    """The disk that was replaced by an older one is in its place again."""
    if node.state is not None:
        pair.take_down(node, "is switched off")
    pair.note(node.name, "has its newest disk again")
    node.give_back()


def answer(pair: SimulatedPair, node: SimulatedNode) -> None:
    """Its disk answers again, with whatever it was asked."""
    pair.note(node.name, "the disk answers")
    node.disk_hangs = False


def start_arbiter(pair: SimulatedPair) -> None:
    """It answers again."""
    pair.note("-", "the arbiter is up")
    pair.arbiter.up = True


def hasten_arbiter(pair: SimulatedPair) -> None:
    """It answers as fast as ever."""
    pair.note("-", "the arbiter is quick again")
    pair.arbiter.slow = False


def give_back(pair: SimulatedPair) -> None:
    """It answers with the pair's newest record again, if it did not."""
    if pair.arbiter.newest is not None:
        pair.note("-", "the arbiter has its newest record again")
        pair.arbiter.give_back()
        pair.excuses = frozenset()
