"""The same seed gives the same event history, on any machine, Python and hash seed."""

import os
import subprocess
import sys
from collections.abc import Iterable

import pytest

from ctlha_trio.pair import Phase, actions as act, events as ev, messages as msg
from ctlha_trio.testing._core.log import EventHistory, canonical
from ctlha_trio.testing._core.runs import run_seed

ROUNDS = 3
DIGESTS = {
    1: "7e0a1f3977eade0e7dc3a600dd79ad18150b3e5e654f3bb19793c624a9f1be97",
    2: "162575567d6f1d32be6949595c07a5b095465d276367788d08ee3d1656232778",
}
"""Of seeds. They change with whatever changes the core, the world or its chances, and with nothing else."""
FULL_SEEDS = range(10)
PROGRAM = """
import sys
from ctlha_trio.testing import run_seed
rounds = {"rounds": int(sys.argv[1])} if sys.argv[1] else {}
for seed in map(int, sys.argv[2:]):
    print(run_seed(seed, **rounds).digest)
"""


def start(hash_seed: str, seeds: Iterable[int], rounds: int | None = None) -> "subprocess.Popen[str]":
    """In another process, with hashes of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(rounds or ""), *map(str, seeds)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_digests_do_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    with start(hash_seed, DIGESTS, ROUNDS) as child:
        printed, _ = child.communicate()
    assert printed.split() == list(DIGESTS.values())


def test_whole_seeds_do_not_either() -> None:
    """``.ci/run`` compares these between all supported versions of Python that it finds, too."""
    with start("1", FULL_SEEDS) as one, start("2", FULL_SEEDS) as other:
        digests = one.communicate()[0].split()
        assert other.communicate()[0].split() == digests
    assert len(set(digests)) == len(FULL_SEEDS)


def test_a_second_run_in_one_process_is_the_same() -> None:
    assert [run_seed(seed, rounds=ROUNDS).digest for seed in DIGESTS] == list(DIGESTS.values())


def test_every_value_is_canonical_by_content() -> None:
    assert canonical(ev.Stored(3)) == ("Stored", 3)
    assert canonical(ev.ReadFailed()) == ("ReadFailed",)
    assert canonical(act.Send(msg.Standing(1, 2, Phase.ALONE, 0))) == ("Send", ("Standing", 1, 2, 5, 0, "", False))


def test_every_line_counts_and_so_does_their_order() -> None:
    def digest(*notes: str) -> str:
        history = EventHistory()
        for note in notes:
            history.noted(0.0, "a", note)
        return history.digest

    assert len({digest(), digest("x"), digest("y"), digest("x", "y"), digest("y", "x")}) == 5


def test_asking_for_the_digest_changes_nothing() -> None:
    asked, unasked = EventHistory(), EventHistory()
    for number in range(300):
        asked.noted(0.0, "a", str(number))
        unasked.noted(0.0, "a", str(number))
        _ = asked.digest
    assert asked.digest == unasked.digest
