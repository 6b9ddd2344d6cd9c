"""What the disk of a simulated node knows of the other one's word alone."""

import attrs

from ctlha_trio.pair import Metadata, Record
from ctlha_trio.wire import KnownRecord


def only_heard(before: Metadata, after: Metadata) -> bool:
    """Whether the disk comes to know no more than that the other node has told of a record."""
    return attrs.evolve(after, heard=None) == attrs.evolve(before, heard=None)


def is_of(word: KnownRecord | None, record: Record) -> bool:
    """Whether it was of this record that the other node told."""
    return word is not None and (word.lineage, word.epoch) == (record.lineage, record.epoch)


def unheard(metadata: Metadata, record: Record) -> Metadata:
    """The same, but for that the other node has told of this record."""
    return attrs.evolve(metadata, heard=None) if is_of(metadata.heard, record) else metadata
