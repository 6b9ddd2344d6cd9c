"""What a record that was heard of says of one that the arbiter shows."""

from ctlha_trio.pair._metadata import Metadata
from ctlha_trio.pair._record import Record
from ctlha_trio.wire import KnownRecord


def denies(word: KnownRecord, record: Record, revision: int, *, copy: Metadata, of_peer: bool) -> bool:
    """Whether the arbiter, which has shown what the word is of, cannot hold this record unless it went back or lies.

    ``copy`` is what this node's disk knows; ``of_peer``: the record names the peer primary. Words of a line that is not
    known to descend from the copy's say nothing: it is that of a copy which was abandoned, or bound to another arbiter.
    """
    if word.lineage != record.lineage:
        return word.lineage == copy.later_line and _is_ended(word, record, revision, copy)
    if word.epoch == record.epoch and word.leads is not of_peer:
        return True
    return word.epoch > record.epoch or word.revision > revision


def _is_ended(word: KnownRecord, record: Record, revision: int, copy: Metadata) -> bool:
    """Whether the line of a record is over, now that another one is known to have been begun from the copy's.

    The copy's own line is, however far it went. Of any other, what is later than all that is known may be true.
    """
    if word.lineage in record.ancestors:
        return False
    return record.lineage == copy.lineage or record.epoch <= word.epoch or revision <= word.revision
