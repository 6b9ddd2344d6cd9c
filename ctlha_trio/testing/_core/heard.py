"""What a simulated node and its disk know of the other one's word alone."""

from collections.abc import Iterable
from itertools import permutations
from typing import Final

import attrs

from ctlha_trio.pair import Metadata, PairState, Phase, Record
from ctlha_trio.wire import KnownRecord

_GONE: Final = frozenset({Phase.STOPPED, Phase.LEFT})


def have_news(cores: Iterable[PairState | None]) -> bool:
    """Whether one takes no part any more, and the other one has not heard what it knows, or what is later."""
    met = permutations((core for core in cores if core is not None), 2)
    return any(one.phase in _GONE and to.phase not in _GONE and _is_news(one.knows, to.heard) for one, to in met)


def _is_news(word: KnownRecord, heard: KnownRecord | None) -> bool:
    """A core remembers words without ancestors, and of one line the latest."""
    if heard is None or heard.lineage != word.lineage:
        return True
    return heard.epoch <= word.epoch and heard != attrs.evolve(word, ancestors=())


def only_heard(before: Metadata, after: Metadata) -> bool:
    """Whether the disk comes to know no more than that the other node has told of a record."""
    return attrs.evolve(after, heard=None) == attrs.evolve(before, heard=None)


def is_of(word: KnownRecord | None, record: Record) -> bool:
    """Whether it was of this record that the other node told."""
    return word is not None and (word.lineage, word.epoch) == (record.lineage, record.epoch)


def unheard(metadata: Metadata, record: Record) -> Metadata:
    """The same, but for that the other node has told of this record."""
    return attrs.evolve(metadata, heard=None) if is_of(metadata.heard, record) else metadata
