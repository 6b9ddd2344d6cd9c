"""Every write and flush of every scenario, cut in every state: ``python tests/bench/power_enumeration.py``.

``pairs=0`` leaves out the runs of pairs, which take most of the time; ``losses_max=2`` tries two states of a moment.
Exit code 1 if anything is wrong.
"""

import argparse
import sys
from time import perf_counter
from typing import Any

from ctlha_trio.ha import _inbox
from ctlha_trio.pair import _admission, _resync_retry
from ctlha_trio.store import _dirty_bitmap
from ctlha_trio.testing._power_cuts.enumeration import (
    BOTH_UP,
    OF_STORES,
    UNIT_BYTES,
    VICTIMS,
    enumerate_pair,
    enumerate_store,
)
from ctlha_trio.testing._power_cuts.trial import SIZE_BYTES


def make_parts_small() -> None:
    """As ``tests/power/conftest.py`` does."""
    parts: tuple[tuple[Any, str, int], ...] = (
        (_inbox, "RING_BYTES", 1 << 16),
        (_admission, "COPY_CHUNK_BYTES", SIZE_BYTES // 2),
        (_resync_retry, "RANGE_UNIT_BYTES", UNIT_BYTES),
        (_dirty_bitmap, "DIRTY_BYTES", UNIT_BYTES),
    )
    for module, name, value in parts:
        setattr(module, name, value)


def main(arguments: list[str]) -> int:
    """Print a line for each scenario and victim, and whatever is wrong."""
    parser = argparse.ArgumentParser(
        prog="python tests/bench/power_enumeration.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "settings",
        metavar="NAME=COUNT",
        nargs="*",
        help="pairs: 0 leaves out the runs of pairs, default: 1; losses_max: states of the disk that are tried of one "
        "moment, default: all",
    )
    given: list[str] = parser.parse_args(arguments).settings
    settings = {name: int(count) for name, _, count in (one.partition("=") for one in given)}
    problems = 0
    for scenario, victim in OF_STORES:
        began_s = perf_counter()
        store = enumerate_store(scenario, victim)
        counts = store.counts
        problems += show(
            f"{scenario}, store of {victim}: {counts.moments} changes of the disk, {counts.flushes} of them flushes, "
            f"{counts.states} states ({counts.contents} contents), {counts.in_recovery} more in recoveries, "
            f"{counts.after_kill} after a kill, "
            f"{counts.left_out} left out",
            store.problems,
            began_s,
        )
    for both, victims in ((False, VICTIMS), (True, BOTH_UP)) if settings.get("pairs", 1) else ():
        for scenario, victim in victims:
            began_s = perf_counter()
            pair = enumerate_pair(scenario, victim, both=both, losses_max=settings.get("losses_max"))
            problems += show(
                f"{scenario}, {victim}{' and its peer' if both else ''} cut: {pair.cuts} moments, {pair.runs} runs, "
                f"{pair.left_out} states left out",
                pair.problems,
                began_s,
            )
    return 1 if problems else 0


def show(counted: str, problems: tuple[str, ...], began_s: float) -> int:
    """Print one line, and one for each problem; how many these are."""
    sys.stdout.write(f"{counted}: {perf_counter() - began_s:.1f} s\n")
    sys.stdout.writelines(f"  PROBLEM {each}\n" for each in problems)
    sys.stdout.flush()
    return len(problems)


if __name__ == "__main__":
    make_parts_small()
    sys.exit(main(sys.argv[1:]))
