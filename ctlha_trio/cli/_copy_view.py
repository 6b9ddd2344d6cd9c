"""What the file of one copy says of it."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import attrs

from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.cli._lost_files import needing_whole_volume
from ctlha_trio.pair import Copy
from ctlha_trio.store import read_facts

Range = tuple[int, int]
RANGES_SHOWN: Final = 20
"""To people, each by a line; the JSON and the log of decisions have more."""


@attrs.frozen(kw_only=True)
class CopyView:
    """One copy, as its file says it. The fields of ``ctlha copy --json``. Ranges are offset and size in bytes."""

    cluster: str
    resource: str
    node: str
    size_bytes: int
    epoch: int
    revision: int
    lineage: str
    primary: str
    members: tuple[str, ...]
    copy: str
    synced_epoch: int
    """In which it was equal to the other copy, but for what the marks of both say; 0: not known."""
    heard_epoch: int
    """Of which the other node has told; 0: of none that is later."""
    written_at: str
    """When its file was last written to, in UTC."""
    open_ranges: tuple[Range, ...]
    marked_from: int | None
    marks: tuple[Range, ...]
    ancestors: tuple[str, ...] = ()
    """Lineages from which somebody has begun that of this copy, the latest last."""
    damaged: tuple[Range, ...] = ()
    """Told to be lost, and not written anew since; what no node has read since it decayed is not known."""
    damage_unnamed: bool = False
    """Whether there was ever more of that than the file has names for."""

    @property
    def is_member(self) -> bool:
        """By the latest record that it has acted on."""
        return self.node in self.members

    @property
    def is_alone(self) -> bool:
        """Whether it was the only member by that record, and so has acknowledged what no other copy has."""
        return self.members == (self.node,)

    @property
    def is_given_up(self) -> bool:
        """Whether all that it tells is the record of that moment: a disk failed, or a person discarded or made it anew.

        Nobody discards the only copy that counts, so one that was alone tells what it was: its disk has failed.
        """
        return self.copy == Copy.FAILED.value and not self.is_alone

    @property
    def role(self) -> str:
        """The last one that it had."""
        if not self.is_member:
            return "outdated"
        return "primary" if self.node == self.primary else "secondary"


def view_copy(loaded: LoadedConfig) -> CopyView:
    """The copy of a node, which may run. ``ConfigError`` or ``StoreError`` if it cannot be looked at. Blocks."""
    content = loaded.content
    with needing_whole_volume(loaded):
        facts = read_facts(os.fspath(loaded.volume_path), size_bytes=content.volume.size_bytes)
    metadata = facts.metadata
    return CopyView(
        cluster=metadata.cluster,
        resource=metadata.resource,
        node=metadata.node,
        size_bytes=content.volume.size_bytes,
        epoch=metadata.epoch,
        revision=metadata.revision,
        lineage=metadata.lineage,
        primary=metadata.primary,
        members=metadata.members,
        copy=metadata.copy.value,
        synced_epoch=metadata.synced_epoch,
        heard_epoch=0 if metadata.heard is None else metadata.heard.epoch,
        written_at=datetime.fromtimestamp(facts.written_at_s, UTC).isoformat(timespec="milliseconds"),
        open_ranges=facts.open_ranges,
        marked_from=facts.marked_from,
        marks=facts.marks,
        ancestors=metadata.ancestors,
        damaged=facts.damaged,
        damage_unnamed=facts.damage_unnamed,
    )


def name_ranges(what: str, ranges: Sequence[Range]) -> Iterator[str]:
    """A line for each of the first ones, and one for all others."""
    for offset, size in ranges[:RANGES_SHOWN]:
        yield f"{what}: {size} bytes at {offset}"
    if len(ranges) > RANGES_SHOWN:
        total = sum(size for _, size in ranges)
        yield f"{what}: {len(ranges) - RANGES_SHOWN} more ranges, {total} bytes in all"


def sum_of(ranges: tuple[Range, ...]) -> str:
    """In words."""
    if not ranges:
        return "nothing"
    return f"{sum(size for _, size in ranges)} bytes in {len(ranges)} {'range' if len(ranges) == 1 else 'ranges'}"
