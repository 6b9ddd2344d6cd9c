"""Trio with a scheduler that a seed decides. The only module that touches private parts of Trio.

Trio shuffles the tasks that can run with a ``Random`` of its own, and puts them into a fixed order first only if a
switch is set, which is meant for Hypothesis. There is no public way to either.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final, TypeVar, TypeVarTuple

import trio
from trio.testing import MockClock

SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
SHUFFLER: Final = "_r"

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")


def scheduler() -> Any:
    """The module of Trio that both are in; None if this version has none."""
    return getattr(getattr(trio, "_core", None), "_run", None)


def check_seed(seed: int) -> None:
    """``TypeError`` for what is no whole number: Python seeds by other things too, some of them by chance."""
    if not isinstance(seed, int):
        raise TypeError(f"the seed is {seed!r}: give a whole number")


@contextmanager
def scheduling_from(seed: int) -> Iterator[None]:
    """Let every ``trio.run`` within the block take the order of its tasks from ``seed``.

    ``TypeError`` for a seed that is no whole number, ``RuntimeError`` if this version of Trio cannot. As it is global
    to the process, other runs are affected as well.
    """
    check_seed(seed)
    module = scheduler()
    shuffler = getattr(module, SHUFFLER, None)
    if not isinstance(shuffler, Random) or not hasattr(module, SWITCH):
        raise RuntimeError(f"Trio {trio.__version__} has no scheduler that can be seeded")
    switch, state = getattr(module, SWITCH), shuffler.getstate()
    setattr(module, SWITCH, True)
    shuffler.seed(seed)
    try:
        yield
    finally:
        setattr(module, SWITCH, switch)
        shuffler.setstate(state)


def run_from_seed(seed: int, function: Callable[[*Arguments], Awaitable[Answer]], *arguments: *Arguments) -> Answer:
    """``trio.run`` under a virtual clock that jumps as soon as nothing can run, with tasks in an order from ``seed``.

    Two runs of one seed take the same steps if nothing in ``function`` is left to threads, to real time or to chance.
    """
    with scheduling_from(seed):
        return trio.run(function, *arguments, clock=MockClock(autojump_threshold=0))
