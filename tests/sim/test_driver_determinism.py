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
    print(f"seed {seed}", report.digest, report.totals, *lines, sep="\\n")
"""
BEGIN = "seed "


def run(seeds: tuple[int, ...], hash_seed: str) -> dict[int, str]:
    """The whole history of each seed."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    arguments = [sys.executable, "-c", PROGRAM, *map(str, seeds)]
    printed = subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True).stdout
    begins = [*(printed.index(f"{BEGIN}{seed}\n") for seed in seeds), len(printed)]
    return {seed: printed[begin:end] for seed, begin, end in zip(seeds, begins, begins[1:], strict=False)}


@pytest.mark.slow
def test_a_seed_has_one_history_whatever_ran_before_it_in_the_process() -> None:
    first = run(SEEDS, "1")
    assert all(len(history.splitlines()) > 200 for history in first.values())
    assert run(SEEDS[::-1], "2") == first
