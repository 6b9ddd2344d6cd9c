import pytest

from ctlha_trio.door._ledger import KEPT_OUTCOMES, SUPERSEDED, UNKNOWN, Known, NumberLedger
from ctlha_trio.pair import CHANGING, OperationKind, Outcome


def test_a_new_number_is_new() -> None:
    ledger = NumberLedger()
    assert ledger.replay(0, OperationKind.WRITE) is None
    assert ledger.replay(7, OperationKind.READ) is None


def test_a_write_known_done_stays_done() -> None:
    ledger = NumberLedger()
    ledger.settle(5, OperationKind.WRITE, Known(Outcome.DONE))
    assert ledger.replay(5, OperationKind.WRITE) == Known(Outcome.DONE)
    assert ledger.replay(6, OperationKind.WRITE) is None


def test_a_lower_number_than_one_that_left_a_mark_is_never_new() -> None:
    ledger = NumberLedger()
    ledger.settle(5, OperationKind.WRITE, Known(Outcome.DONE))
    assert ledger.replay(4, OperationKind.WRITE) == UNKNOWN


def test_only_what_changes_the_volume_keeps_its_outcome() -> None:
    ledger = NumberLedger()
    ledger.settle(1, OperationKind.READ, Known(Outcome.DONE))
    ledger.settle(2, OperationKind.FLUSH, Known(Outcome.DONE))
    ledger.settle(4, OperationKind.WRITE, Known(Outcome.UNKNOWN))
    assert ledger.replay(1, OperationKind.READ) == UNKNOWN
    assert ledger.replay(2, OperationKind.FLUSH) == UNKNOWN
    assert ledger.replay(4, OperationKind.WRITE) == UNKNOWN


def test_a_number_that_was_done_as_a_write_is_not_done_as_a_read() -> None:
    ledger = NumberLedger()
    ledger.settle(1, OperationKind.WRITE, Known(Outcome.DONE))
    assert ledger.replay(1, OperationKind.READ) == UNKNOWN


def test_not_primary_leaves_no_mark() -> None:
    ledger = NumberLedger()
    ledger.settle(5, OperationKind.WRITE, Known(Outcome.NOT_PRIMARY))
    assert ledger.replay(5, OperationKind.WRITE) is None
    assert ledger.replay(1, OperationKind.WRITE) is None


def test_numbers_that_end_out_of_order_never_lower_the_highest() -> None:
    ledger = NumberLedger()
    ledger.settle(9, OperationKind.WRITE, Known(Outcome.DONE))
    ledger.settle(8, OperationKind.WRITE, Known(Outcome.DONE))
    assert ledger.replay(8, OperationKind.WRITE) == Known(Outcome.DONE)
    assert ledger.replay(9, OperationKind.WRITE) == Known(Outcome.DONE)
    assert ledger.replay(10, OperationKind.WRITE) is None


def test_forgotten_outcomes_become_unknown_and_never_new() -> None:
    ledger = NumberLedger()
    for number in range(KEPT_OUTCOMES + 1):
        ledger.settle(number, OperationKind.WRITE, Known(Outcome.DONE))
    assert ledger.replay(0, OperationKind.WRITE) == UNKNOWN
    assert ledger.replay(1, OperationKind.WRITE) == Known(Outcome.DONE)


@pytest.mark.parametrize("kind", sorted(CHANGING, key=str))
@pytest.mark.parametrize(
    "known",
    [Known(Outcome.DONE), Known(Outcome.FAILED), Known(Outcome.SUPERSEDED), Known(Outcome.MISCOMPARE, 17)],
    ids=str,
)
def test_whoever_asks_is_told_what_is_certain(kind: OperationKind, known: Known) -> None:
    ledger = NumberLedger()
    ledger.settle(3, kind, known)
    assert ledger.outcome(3) == known
    assert ledger.replay(3, kind) == known


def test_what_is_not_certain_is_unknown() -> None:
    ledger = NumberLedger()
    ledger.settle(3, OperationKind.WRITE, Known(Outcome.UNKNOWN))
    ledger.settle(5, OperationKind.WRITE, Known(Outcome.NOT_PRIMARY))
    for number in (2, 3, 4, 5, 6):
        assert ledger.outcome(number) == UNKNOWN


def test_what_was_not_executed_may_be_given_again_until_it_is_executed() -> None:
    ledger = NumberLedger()
    assert not ledger.may_repeat(5)
    ledger.begin(5)
    ledger.settle(5, OperationKind.WRITE, Known(Outcome.NOT_PRIMARY))
    assert ledger.may_repeat(5)
    ledger.begin(5)
    assert not ledger.may_repeat(5)
    ledger.settle(5, OperationKind.WRITE, Known(Outcome.UNKNOWN))
    assert not ledger.may_repeat(5)
    assert ledger.replay(5, OperationKind.WRITE) == UNKNOWN


@pytest.mark.parametrize("kind", [OperationKind.WRITE, OperationKind.READ], ids=str)
@pytest.mark.parametrize("newer_ended", [True, False])
def test_what_was_not_executed_is_superseded_by_a_newer_one(kind: OperationKind, newer_ended: bool) -> None:
    ledger = NumberLedger()
    ledger.refuse(5)
    ledger.begin(6)
    if newer_ended:
        ledger.settle(6, OperationKind.WRITE, Known(Outcome.DONE))
    assert ledger.replay(5, kind) == ledger.outcome(5) == SUPERSEDED


def test_a_newer_one_that_was_not_executed_either_supersedes_nothing() -> None:
    ledger = NumberLedger()
    for number in (5, 6):
        ledger.begin(number)
    for number in (5, 6):
        ledger.settle(number, OperationKind.WRITE, Known(Outcome.NOT_PRIMARY))
    assert ledger.replay(5, OperationKind.WRITE) is None


def test_as_many_refused_numbers_are_remembered_as_outcomes() -> None:
    ledger = NumberLedger()
    for number in range(KEPT_OUTCOMES + 1):
        ledger.refuse(number)
    assert [ledger.may_repeat(number) for number in (0, 1, KEPT_OUTCOMES)] == [False, True, True]
