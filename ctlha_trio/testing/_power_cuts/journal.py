"""What one node's disk and store went through, in the order in which it happened."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

import attrs
import trio

from ctlha_trio._errors import DamagedBlockError
from ctlha_trio.pair import CarriedRecord, Metadata, Records
from ctlha_trio.seams import Buffer
from ctlha_trio.store import BLOCK_BYTES, BlockStore
from ctlha_trio.testing._power.disk import Change, PowerDisk


@attrs.frozen
class Wrote:
    """A write, or a repair, which marks nothing."""

    offset: int
    data: bytes
    dirties: bool


@attrs.frozen
class Persisted:
    """Metadata."""

    metadata: Metadata


@attrs.frozen
class StartedTracking:
    """Every write from then on is marked."""

    base_epoch: int


@attrs.frozen
class StoppedTracking:
    """All marks are forgotten."""


@attrs.frozen
class MarkedDirty:
    """Ranges that may differ."""

    ranges: tuple[tuple[int, int], ...]


@attrs.frozen
class PutRecord:
    """One record, or that there is none of its key."""

    record: CarriedRecord


@attrs.frozen(eq=False)
class ReplacedRecords:
    """These records and no others."""

    records: Records


@attrs.frozen
class ClosedExtents:
    """Nothing is under way."""


@attrs.frozen
class Cleared:
    """A range that is equal again: at once, not durably."""

    offset: int
    size: int


@attrs.frozen
class Told:
    """Blocks, by number, that the store said are damaged: before whoever asked hears it."""

    blocks: frozenset[int]


OfRecords = PutRecord | ReplacedRecords
StoreCall = (
    Wrote | Persisted | StartedTracking | StoppedTracking | MarkedDirty | ClosedExtents | Cleared | Told | OfRecords
)


@attrs.frozen
class Began:
    """A call of the store."""

    number: int
    call: StoreCall


@attrs.frozen
class Ended:
    """A call of the store returned: what it promises holds from then on."""

    number: int
    refused: bool = False
    """By an error that says that nothing was done."""


Entry = Change | Began | Ended


@attrs.define(eq=False)
class Journal:
    """Of one life of a node, on the disk that it found."""

    base: bytes
    """Content of the backing file at first."""
    entries: list[Entry] = attrs.field(factory=list, init=False)
    armed_at: int = attrs.field(default=0, init=False)
    """Entries before the part under test."""
    is_closed: bool = attrs.field(default=False, init=False)
    """The part under test is over."""

    def note(self, entry: Entry) -> None:
        """What happened next."""
        if not self.is_closed:
            self.entries.append(entry)


def keep_journal(disk: PowerDisk, path: str) -> Journal:
    """The journal of a disk with nothing pending, from here on; ``watch_stores`` adds what its store is asked."""
    journal = Journal(disk.durable_content(path))
    disk.on_change = journal.note
    return journal


_CALLS: Final[dict[str, Callable[..., StoreCall]]] = {
    "_write": lambda offset, data, *, repairs: Wrote(offset, bytes(data), not repairs),
    "persist": Persisted,
    "close_extents": ClosedExtents,
    "start_tracking": StartedTracking,
    "stop_tracking": StoppedTracking,
    "mark_dirty": lambda ranges: MarkedDirty(tuple(ranges)),
    "put_record": PutRecord,
    "replace_records": ReplacedRecords,
}


def _told(found: Sequence[object]) -> Told | None:
    """What these answers say of damage; None if nothing."""
    damage = [each for each in found if isinstance(each, DamagedBlockError)]
    return Told(frozenset(at // BLOCK_BYTES for each in damage for at in each.offsets)) if damage else None


@contextmanager
def watch_stores(watch: Callable[[str, Entry], None]) -> Iterator[None]:
    """Call ``watch`` with the node's name when a call of any store in this process begins, and when it has ended."""
    numbers = count(1)
    store: Any = BlockStore
    plain = {name: getattr(store, name) for name in (*_CALLS, "clear", "write_nowait", "read_all")}

    def tell(self: BlockStore, found: Sequence[object]) -> None:
        if told := _told(found):
            watch(self.metadata.node, Began(next(numbers), told))

    def watched(name: str, describe: Callable[..., StoreCall]) -> Callable[..., Any]:
        async def call(self: BlockStore, *arguments: Any, **options: Any) -> None:
            number = next(numbers)
            watch(self.metadata.node, Began(number, describe(*arguments, **options)))
            try:
                await plain[name](self, *arguments, **options)
            except DamagedBlockError as error:
                watch(self.metadata.node, Ended(number, refused=True))
                tell(self, [error])
                raise
            watch(self.metadata.node, Ended(number))

        return call

    async def read_all(self: BlockStore, ranges: Sequence[tuple[int, int]]) -> list[bytes | DamagedBlockError]:
        found: list[bytes | DamagedBlockError] = await plain["read_all"](self, ranges)
        tell(self, found)
        return found

    def clear(self: BlockStore, offset: int, size: int) -> None:
        plain["clear"](self, offset, size)
        watch(self.metadata.node, Began(next(numbers), Cleared(offset, size)))

    def write_nowait(
        self: BlockStore,
        offset: int,
        data: Buffer,
        on_end: Callable[[DamagedBlockError | None], None],
        nursery: trio.Nursery | None = None,
    ) -> bool:
        number = next(numbers)

        def end(damage: DamagedBlockError | None) -> None:
            watch(self.metadata.node, Ended(number, refused=damage is not None))
            tell(self, [damage])
            on_end(damage)

        is_queued = bool(plain["write_nowait"](self, offset, data, end, nursery))
        if is_queued:
            watch(self.metadata.node, Began(number, Wrote(offset, bytes(data), dirties=True)))
        return is_queued

    for name, describe in _CALLS.items():
        setattr(store, name, watched(name, describe))
    store.clear, store.write_nowait, store.read_all = clear, write_nowait, read_all
    try:
        yield
    finally:
        for name, method in plain.items():
            setattr(store, name, method)
