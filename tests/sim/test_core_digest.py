"""The same seed gives the same event history, on any machine, Python and hash seed."""

import os
import subprocess
import sys

import pytest

from ctlha_trio.pair import Phase, actions as act, events as ev, messages as msg
from ctlha_trio.testing._core.log import EventHistory, canonical
from ctlha_trio.testing._core.runs import run_seed

ROUNDS = 3
DIGESTS = {
    1: "b7832c49d6ee2dbe8684f607deb9e42d29c5f1137459ad7ed9fbea3d169aa977",
    2: "d1e7de71886976dfb10b07de9c5d1e0346bc2debc2607bb1d11076709683f775",
}
"""Of seeds. They change with whatever changes the core, the world or its chances, and with nothing else."""
PROGRAM = f"""
from ctlha_trio.testing._core.runs import run_seed
for seed in {tuple(DIGESTS)}:
    print(run_seed(seed, rounds={ROUNDS}).digest)
"""


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_digests_do_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    assert ran.stdout.split() == list(DIGESTS.values())


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
