"""Many seeds on several processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Final, TypeVar

_EXIT_ORPHANED: Final = 1

Report = TypeVar("Report")


def map_seeds(run: Callable[[int], Report], seeds: Iterable[int], *, processes: int) -> Generator[Report, None, None]:
    """What ``run`` says of each seed, in the order of the seeds, each as soon as those before it are there.

    The processes end with the iteration, in the middle of a seed if it is closed or raises, and with the process that
    iterates, however that ends.
    """
    if processes == 1:
        yield from map(run, seeds)
        return
    # Not forked: the caller may have threads.
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    with ProcessPoolExecutor(processes, context, _end_with, (lifeline,)) as executor:
        try:
            with _interrupts_held_back():
                reports = executor.map(run, seeds)
            yield from reports
        except BaseException:
            held.close()
            executor.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes that are started now never see one: a terminal sends it to all, and it is for their parent alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(lifeline: Connection) -> None:
    """End this process once nobody holds the other end of the pipe: a process that is killed cannot end its own."""
    threading.Thread(target=_wait_for_the_end, args=(lifeline,), daemon=True).start()


def _wait_for_the_end(lifeline: Connection) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(_EXIT_ORPHANED)
