"""Many seeds on several processes."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final, TypeVar

_CHUNK: Final = 4
"""Seeds that a process takes at once: some last ten times as long as others."""

Report = TypeVar("Report")


def map_seeds(run: Callable[[int], Report], seeds: Iterable[int], *, processes: int) -> Iterator[Report]:
    """What ``run`` says of each seed, in the order of the seeds, each as soon as those before it are there."""
    if processes == 1:
        yield from map(run, seeds)
        return
    # Not forked: the caller may have threads.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as executor:
        try:
            yield from executor.map(run, seeds, chunksize=_CHUNK)
        finally:
            executor.shutdown(cancel_futures=True)
