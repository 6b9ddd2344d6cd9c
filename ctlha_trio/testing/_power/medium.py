"""What is on a disk for certain, what may be, and what may have become of it when the power is back."""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from ctlha_trio._errors import InvalidError

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


@attrs.frozen
class PendingWrite:
    """Bytes that are in the disk's cache: seen by reads, lost or kept or torn when the power fails."""

    path: str
    offset: int
    data: bytes


@attrs.frozen
class Kept:
    """Bytes ``start`` to ``stop`` of the pending write at ``index`` reached the medium."""

    index: int
    start: int
    stop: int


@attrs.frozen
class Loss:
    """One thing that may have become of the pending writes. What ``kept`` does not name is lost; later wins."""

    name: str
    kept: tuple[Kept, ...]


@attrs.define(eq=False)
class PowerMedium:
    """The contents of files, flushed and not."""

    _durable: dict[str, bytearray]
    _seen: dict[str, bytearray] = attrs.field(init=False)
    pending: list[PendingWrite] = attrs.field(factory=list, init=False)
    """Not flushed, in the order of writing over all files."""

    def __attrs_post_init__(self) -> None:
        """Start with everything flushed."""
        self._seen = {path: bytearray(content) for path, content in self._durable.items()}

    def __contains__(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self._seen

    def seen(self, path: str) -> bytearray:
        """Return what reads see. Not to be changed."""
        self._check(path)
        return self._seen[path]

    def durable(self, path: str) -> bytearray:
        """Return what was flushed. Not to be changed."""
        self._check(path)
        return self._durable[path]

    def _check(self, path: str) -> None:
        if path not in self._seen:
            raise InvalidError(f"no file {path!r}: the disk has {', '.join(map(repr, self._seen)) or 'none'}")

    def write(self, writes: Iterable[PendingWrite]) -> None:
        """Let reads see the writes, in order."""
        for write in writes:
            _put(self._seen, write, Kept(0, 0, len(write.data)))
            self.pending.append(write)

    def flip(self, path: str, offset: int) -> None:
        """Flip a bit, for reads and for ever, but in what is still to be flushed."""
        for content in (self._seen[path], self._durable[path]):
            content[offset] ^= 1

    def put(self, path: str, offset: int, data: bytes) -> None:
        """Let these bytes be there, for reads and for ever, but in what is still to be flushed."""
        for content in (self._seen[path], self._durable[path]):
            content[offset : offset + len(data)] = data

    def flush(self, covered: Sequence[PendingWrite]) -> None:
        """Make these writes durable, in the order of writing; those that another flush made durable are left alone."""
        asked = {id(write) for write in covered}
        for write in self.pending:
            if id(write) in asked:
                _put(self._durable, write, Kept(0, 0, len(write.data)))
        self.pending = [write for write in self.pending if id(write) not in asked]

    def forget(self, path: str) -> None:
        """Let what is pending of a file be seen for ever and never become durable."""
        self.pending = [write for write in self.pending if write.path != path]

    def after(self, loss: Loss) -> dict[str, bytes]:
        """Return the files as they are when the power is back."""
        files = {path: bytearray(content) for path, content in self._durable.items()}
        for kept in loss.kept:
            _put(files, self.pending[kept.index], kept)
        return {path: bytes(content) for path, content in files.items()}


def lay_out(files: Mapping[str, bytes]) -> PowerMedium:
    """Make a medium that holds copies of ``files``."""
    return PowerMedium({path: bytearray(content) for path, content in files.items()})


def halve(writes: Sequence[PendingWrite]) -> list[PendingWrite]:
    """Return what has been done when half of a call has: half of its writes and, if odd, the head of the middle one."""
    middle = len(writes) // 2
    done = list(writes[:middle])
    if len(writes) % 2:
        write = writes[middle]
        tear = _tear(write)
        if tear is not None:
            done.append(attrs.evolve(write, data=write.data[:tear]))
    return done


def enumerate_losses(pending: Sequence[PendingWrite]) -> list[Loss]:
    """List the losses worth trying, in a fixed order; those that keep the same are given once, under the first name.

    Not all there are, which would be exponential, but each kind that finds a mistake of its own: nothing or everything
    kept; only the first, only the last; all but the first, all but the last; the older half, the newer half; every
    second one; everything in reverse order, which tells on overlaps; the last torn with its head or its tail kept, on
    top of everything or alone; the first torn under everything else; each torn. Tears are between sectors.
    """
    whole = [Kept(index, 0, len(write.data)) for index, write in enumerate(pending)]
    heads = [Kept(index, 0, _tear(write) or len(write.data)) for index, write in enumerate(pending)]
    tails = [Kept(index, _tear(write) or 0, len(write.data)) for index, write in enumerate(pending)]
    half = len(whole) // 2
    candidates = {
        "nothing kept": [],
        "everything kept": whole,
        "only the first": whole[:1],
        "only the last": whole[-1:],
        "all but the first": whole[1:],
        "all but the last": whole[:-1],
        "the older half": whole[:half],
        "the newer half": whole[half:],
        "every second": whole[::2],
        "every other second": whole[1::2],
        "everything, in reverse order": whole[::-1],
        "everything, the last with its head only": [*whole[:-1], *heads[-1:]],
        "everything, the last with its tail only": [*whole[:-1], *tails[-1:]],
        "only the head of the last": heads[-1:],
        "only the tail of the last": tails[-1:],
        "everything, the first with its head only": [*heads[:1], *whole[1:]],
        "the head of each": heads,
        "the tail of each": tails,
    }
    named: dict[tuple[Kept, ...], str] = {}
    for name, kept in candidates.items():
        named.setdefault(tuple(kept), name)
    return [Loss(name, kept) for kept, name in named.items()]


def _tear(write: PendingWrite) -> int | None:
    """Where a write breaks in two: the sector boundary nearest before its middle. ``None`` within one sector."""
    end = write.offset + len(write.data)
    boundary = (write.offset + len(write.data) // 2) // SECTOR_BYTES * SECTOR_BYTES
    if boundary <= write.offset:
        boundary += SECTOR_BYTES
    return boundary - write.offset if write.offset < boundary < end else None


def _put(files: dict[str, bytearray], write: PendingWrite, kept: Kept) -> None:
    files[write.path][write.offset + kept.start : write.offset + kept.stop] = write.data[kept.start : kept.stop]
