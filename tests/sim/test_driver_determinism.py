"""The same seed takes the same steps, in another process with other hashes as well."""

import os
import subprocess
import sys

import pytest

SEEDS = (3, 42, 52, 1010)
PROGRAM = """
import sys
from ctlha_trio.testing._drivers.runs import run_driver_seed
for seed in map(int, sys.argv[1:]):
    lines = []
    report = run_driver_seed(seed, watch=lines.append)
    print(seed, report.digest, report.totals, *lines, sep="\\n")
"""


def run(seeds: tuple[int, ...], hash_seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    arguments = [sys.executable, "-c", PROGRAM, *map(str, seeds)]
    return subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_a_seed_has_one_history() -> None:
    first = run(SEEDS, "1")
    assert len(first.splitlines()) > 200
    assert run(SEEDS, "2") == first


@pytest.mark.slow
def test_what_ran_before_in_the_process_changes_nothing() -> None:
    first, _, second = run(SEEDS[:2], "3").partition(f"\n{SEEDS[1]}\n")
    assert run(SEEDS[1::-1], "4") == f"{SEEDS[1]}\n{second}{first}\n"
