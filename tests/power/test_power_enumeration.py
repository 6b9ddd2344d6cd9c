"""The power fails at every write and every flush of the six parts of a pair's life, with what may be left of them.

The store alone is recovered from every state of every moment. The pair is run from the hardest at every moment: nothing
kept, and one other in turn; ``tests/bench/power_enumeration.py`` runs it from all.
"""

import pytest

from ctlha_trio.testing._power.medium import PendingWrite, lay_out
from ctlha_trio.testing._power.states import enumerate_states
from ctlha_trio.testing._power_cuts.enumeration import BOTH_UP, OF_STORES, VICTIMS, enumerate_pair, enumerate_store

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("scenario", "victim"), OF_STORES)
def test_every_state_of_a_store(scenario: str, victim: str) -> None:
    found = enumerate_store(scenario, victim)
    assert not found.problems
    assert found.counts.moments >= 4
    assert found.counts.states > 2 * found.counts.moments
    assert found.counts.in_recovery
    assert found.counts.after_kill
    assert not found.counts.left_out


@pytest.mark.parametrize(("scenario", "victim"), VICTIMS)
def test_cut_of_one_node_at_every_change_of_its_disk(scenario: str, victim: str) -> None:
    found = enumerate_pair(scenario, victim, losses_max=2)
    assert not found.problems
    assert found.cuts >= 8
    assert found.runs > found.cuts


@pytest.mark.parametrize(("scenario", "victim"), BOTH_UP)
def test_cut_of_both_nodes_at_every_change_of_a_disk(scenario: str, victim: str) -> None:
    found = enumerate_pair(scenario, victim, both=True, losses_max=1)
    assert not found.problems
    assert found.runs == found.cuts >= 8


SECTORS = 512


def write(first: int, *contents: int) -> PendingWrite:
    """Each sector filled with its number."""
    return PendingWrite("f", first * SECTORS, b"".join(bytes([each]) * SECTORS for each in contents))


def contents(*pending: PendingWrite, states_max: int = 1 << 12) -> set[tuple[int, ...]]:
    medium = lay_out({"f": bytes(8 * SECTORS)})
    medium.write(pending)
    listed = enumerate_states(bytes(8 * SECTORS), pending, states_max=states_max)
    after = [medium.after(loss)["f"][::SECTORS] for loss in listed.losses]
    assert len(set(after)) == len(after) <= listed.total
    assert after[0] == bytes(8)
    assert after[1] == bytes(medium.seen("f"))[::SECTORS]
    return {tuple(each) for each in after}


def test_states_are_every_choice_of_sectors() -> None:
    """Each sector as it was, or as either write left it: lost, torn and put in any order."""
    first_two = {(one, two) for one in (0, 1) for two in (0, 1, 2)}
    assert contents(write(0, 1, 1), write(1, 2)) == {(*each, 0, 0, 0, 0, 0, 0) for each in first_two}


def test_a_sector_that_a_write_does_not_change_is_no_choice() -> None:
    assert len(contents(write(0, 0, 3, 0))) == 2


def test_beyond_the_bound_the_hardest_are_listed() -> None:
    writes = write(0, 1, 1, 1), write(2, 2, 2), write(5, 3, 3)
    everything, hardest = contents(*writes), contents(*writes, states_max=16)
    assert hardest < everything
    assert len(everything) == 2 * 2 * 3 * 2 * 2 * 2
    for kept in (
        (0, 0, 0, 0, 0, 3, 3, 0),
        (1, 1, 2, 2, 0, 0, 0, 0),
        (1, 0, 2, 2, 0, 3, 3, 0),
        (0, 0, 0, 2, 0, 0, 0, 0),
    ):
        assert kept in hardest
