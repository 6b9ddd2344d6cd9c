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


def start_arbiter(pair: SimulatedPair) -> None:
    """It answers again."""
    pair.note("-", "the arbiter is up")
    pair.arbiter.up = True


def hasten_arbiter(pair: SimulatedPair) -> None:
    """It answers as fast as ever."""
    pair.note("-", "the arbiter is quick again")
    pair.arbiter.slow = False


def give_back(pair: SimulatedPair) -> None:
    """It answers with the pair's newest record again, if it did not.

    What was no record of the pair must be taken back from the nodes as well: as adopt-arbiter makes them forget it,
    those that believed it, and whoever they told, end and know only what is true.
    """
    arbiter = pair.arbiter
    if arbiter.newest is None:
        return
    false = None if arbiter.is_restored else arbiter.record
    pair.note("-", "the arbiter has its newest record again")
    arbiter.give_back()
    pair.excuses = frozenset()
    nodes = pair.nodes.values()
    if false is not None and any(node.believes(false) for node in nodes):
        for node in nodes:
            if node.state is not None:
                pair.take_down(node, "is switched off, for it was told of a false record")
            node.forget_words_of(false)
