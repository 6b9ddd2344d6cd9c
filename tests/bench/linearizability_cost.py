"""What the check of histories costs: operations, time, and the steps of the search where it is not spared.

Run it: ``python tests/bench/linearizability_cost.py``. It takes about half a minute.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from time import perf_counter

from ctlha_trio.testing import ClientOperation, check_linearizability
from ctlha_trio.testing._history.linearizability_sample import SampleHistory
from ctlha_trio.testing._history.linearizability_search import STEPS_MAX, search_order

SEED = 1
SHAPES = ((4, 1000, 1), (8, 1000, 1), (16, 1000, 1), (16, 1250, 256), (16, 20_000, 256))
"""Clients, operations of each, blocks."""


def search_all(history: Sequence[ClientOperation]) -> tuple[int, bool]:
    """Steps of the search over all blocks, and whether it decided each."""
    blocks: dict[int, list[ClientOperation]] = defaultdict(list)
    for operation in history:
        blocks[operation.block].append(operation)
    ends = [search_order(each) for each in blocks.values()]
    assert not any(end.violation for end in ends)
    return sum(end.steps for end in ends), all(end.decided for end in ends)


def measure(clients: int, operations: int, blocks: int) -> str:
    """One line of the table."""
    history = SampleHistory(clients=clients, operations=operations, blocks=blocks).make(Random(SEED))
    began = perf_counter()
    check_linearizability(history).require()
    checked = perf_counter()
    steps, decided = search_all(history)
    searched_s = perf_counter() - checked
    end = "" if decided else f", undecided at {STEPS_MAX:,}"
    check = f"{clients:2} x {operations:6,} over {blocks:3}  {checked - began:6.3f} s"
    return f"{check}   search {steps:9,} steps {searched_s:6.2f} s{end}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python tests/bench/linearizability_cost.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    for shape in SHAPES:
        sys.stdout.write(f"{measure(*shape)}\n")
