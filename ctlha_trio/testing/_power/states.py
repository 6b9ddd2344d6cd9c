"""Every content that a file may have after a power cut: each sector by itself as it was, or as some write left it.

A disk may keep what was not flushed, lose it, tear it between sectors and put it in any order. All of this comes to a
choice for each sector: what was flushed, or one of the pending writes of it. So the choices are the states.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Final

import attrs

from ctlha_trio.testing._power.medium import SECTOR_BYTES, Kept, Loss, PendingWrite

STATES_MAX: Final = 1 << 12
"""States up to which all are listed: twelve sectors that change, more than a write of one block with its entry and its
mark (ten), or than a slot (eight). A batch of many blocks has 2^20 and more; most are equal for whoever reads them, for
a block of which one sector is missing is as damaged as one that lacks three."""
SUBSETS_MAX: Final = 1 << 8
"""Beyond ``STATES_MAX``, up to which all choices of whole writes are listed: eight writes under way."""

Choice = tuple[Kept | None, ...]
"""For each sector that changes: what it holds; None for what was flushed."""


@attrs.frozen
class States:
    """What is listed of all the states there are."""

    losses: tuple[Loss, ...]
    """Distinct, nothing kept first and everything kept second, if these differ."""
    total: int
    """How many there are."""


def enumerate_states(durable: bytes, pending: Sequence[PendingWrite], *, states_max: int = STATES_MAX) -> States:
    """The states of a file that holds ``durable``, with these writes in its cache, in the order of writing.

    All of them up to ``states_max``. Beyond: every choice of whole writes, or with many writes each alone, all but each
    and every first part; each write torn at every sector, either part kept, with everything else kept, lost, or as far
    as it was written before; each sector alone, and all but each.
    """
    sectors = _changing_sectors(durable, pending)
    total = prod(1 + len(versions) for versions in sectors)
    if total <= states_max:
        choices: Iterable[Choice] = product(*((None, *versions) for versions in sectors))
    else:
        choices = _hardest(sectors, len(pending))
    nothing: Choice = (None,) * len(sectors)
    everything: Choice = tuple(versions[-1] for versions in sectors)
    distinct = dict.fromkeys((nothing, everything, *choices))
    return States(tuple(_loss(choice) for choice in distinct), total)


def _changing_sectors(durable: bytes, pending: Sequence[PendingWrite]) -> list[tuple[Kept, ...]]:
    """For each sector that a write changes, the writes that do, oldest first."""
    found: dict[int, list[tuple[bytes, Kept]]] = {}
    for index, write in enumerate(pending):
        end = write.offset + len(write.data)
        for sector in range(write.offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            start = max(sector * SECTOR_BYTES, write.offset) - write.offset
            stop = min((sector + 1) * SECTOR_BYTES, end) - write.offset
            content = bytes(memoryview(write.data)[start:stop])
            versions = found.setdefault(sector, [])
            last = versions[-1][0] if versions else durable[write.offset + start : write.offset + stop]
            if content != last:
                versions.append((content, Kept(index, start, stop)))
    return [tuple(kept for _, kept in versions) for _, versions in sorted(found.items()) if versions]


def _hardest(sectors: Sequence[tuple[Kept, ...]], writes: int) -> Iterator[Choice]:
    changing = sorted({kept.index for versions in sectors for kept in versions})
    for subset in _subsets(changing):
        yield _of_writes(sectors, subset)
    others = {"kept": set(range(writes)), "lost": set[int]()}
    for index in changing:
        mine = [place for place, versions in enumerate(sectors) if any(kept.index == index for kept in versions)]
        others["before"] = set(range(index))
        for around in others.values():
            base = _of_writes(sectors, around - {index})
            for tear in range(1, len(mine)):
                for part in (mine[:tear], mine[tear:]):
                    yield _with_sectors(base, sectors, index, part)
    everything, nothing = (_of_writes(sectors, others[each]) for each in ("kept", "lost"))
    for place, versions in enumerate(sectors):
        for kept in versions:
            yield (*nothing[:place], kept, *nothing[place + 1 :])
        yield (*everything[:place], None, *everything[place + 1 :])


def _subsets(writes: Sequence[int]) -> Iterator[set[int]]:
    if 1 << len(writes) <= SUBSETS_MAX:
        for kept in product((False, True), repeat=len(writes)):
            yield {write for write, is_kept in zip(writes, kept, strict=True) if is_kept}
        return
    for place, write in enumerate(writes):
        yield {write}
        yield {*writes} - {write}
        yield {*writes[:place]}
        yield {*writes[place:]}


def _of_writes(sectors: Sequence[tuple[Kept, ...]], writes: set[int]) -> Choice:
    return tuple(next((kept for kept in reversed(versions) if kept.index in writes), None) for versions in sectors)


def _with_sectors(base: Choice, sectors: Sequence[tuple[Kept, ...]], index: int, places: Sequence[int]) -> Choice:
    choice = list(base)
    for place in places:
        choice[place] = next(kept for kept in sectors[place] if kept.index == index)
    return tuple(choice)


def _loss(choice: Choice) -> Loss:
    kept = sorted((each for each in choice if each is not None), key=lambda each: (each.index, each.start))
    runs: list[Kept] = []
    for each in kept:
        if runs and runs[-1].index == each.index and runs[-1].stop == each.start:
            runs[-1] = attrs.evolve(runs[-1], stop=each.stop)
        else:
            runs.append(each)
    name = ", ".join(f"{run.index}[{run.start}:{run.stop}]" for run in runs) or "nothing kept"
    return Loss(name, tuple(runs))
