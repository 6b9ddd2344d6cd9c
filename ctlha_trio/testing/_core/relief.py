"""What goes wrong around the processes of a simulated pair comes to its end, one thing at a time."""

import attrs

from ctlha_trio.pair import Record, events as ev
from ctlha_trio.testing._core.heard import is_of, unheard
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
    if false is None:
        return
    if false.lineage != arbiter.record.lineage:
        # Nobody takes it for its own, but a node whose line seems to have been given up for it, and whoever it tells.
        for node in nodes:
            node.take_back(false)
        return
    if any(_believes(node, false) for node in nodes):
        for node in nodes:
            if node.state is not None:
                pair.take_down(node, "is switched off, for it was told of a false record")
            _forget(node, false)


def _believes(node: SimulatedNode, record: Record) -> bool:
    """Whether its process acts on this record, or is about to hear of it, or it was told of it."""
    answers = [each.answer.record for each in node.calls if isinstance(each.answer, ev.RecordRead)]
    told = [node.metadata.heard]
    if node.state is not None:
        told += node.state.words
        answers += [] if node.state.record is None else [node.state.record]
    return any(each.proposal == record.proposal for each in answers) or any(is_of(each, record) for each in told)


def _forget(node: SimulatedNode, record: Record) -> None:
    """Its disk, and each copy of that, forget that the other node has told of it."""
    node.metadata = unheard(node.metadata, record)
    old = [attrs.evolve(each, metadata=unheard(each.metadata, record)) for each in node.backups]
    node.backups.clear()
    node.backups.extend(old)
    if node.newest is not None:
        node.newest = attrs.evolve(node.newest, metadata=unheard(node.newest.metadata, record))
