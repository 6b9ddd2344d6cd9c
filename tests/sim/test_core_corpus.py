"""Seeds that once failed do not fail again."""

import tomllib
from pathlib import Path

import pytest

from ctlha_trio.testing._core.runs import run_seed

CORPUS = tomllib.loads((Path(__file__).parent / "corpus" / "core.toml").read_text(encoding="utf-8"))["seed"]


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: str(entry["seed"]))
def test_a_seed_that_once_failed(entry: dict[str, object]) -> None:
    seed = entry["seed"]
    assert isinstance(seed, int)
    assert run_seed(seed).failure == "", entry["found"]
