"""Records of a simulated pair that no node made."""

from typing import Final

from ctlha_trio.pair import events as ev
from ctlha_trio.testing._core.node import SimulatedNode

FALSIFIED: Final = "falsified"
"""Proposal of a record that no node made, and that need not be true."""


def tell_of(node: SimulatedNode, answer: ev.Event) -> None:
    """Before a node reads a record: whoever falsified it has made the disk of the member that goes on know of it."""
    if isinstance(answer, ev.RecordRead) and answer.record.proposal == FALSIFIED:
        record = answer.record
        goes_on = node.name in record.members and node.name != record.primary and not node.stale
        if goes_on and FALSIFIED not in node.metadata.proposed:
            node.tell_of(FALSIFIED)
