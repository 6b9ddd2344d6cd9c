"""What is demanded of a copy that a person has chosen, by what its clients were told before."""

import pytest

from ctlha_trio.pair import Operation, OperationKind, Outcome
from ctlha_trio.testing._drivers.history import VolumeHistory
from ctlha_trio.testing._history.block_content import fill_sector
from ctlha_trio.testing._power.medium import SECTOR_BYTES

SECTOR = 3


def write(history: VolumeHistory) -> int:
    """The number of a write that was acknowledged."""
    number = history.call("client", OperationKind.WRITE, SECTOR, 1)
    history.answered(operation(OperationKind.WRITE, number), Outcome.DONE, b"")
    return number


def read(history: VolumeHistory, value: int) -> None:
    number = history.call("client", OperationKind.READ, SECTOR, 1)
    history.answered(operation(OperationKind.READ, number), Outcome.DONE, fill_sector(value))


def operation(kind: OperationKind, number: int) -> Operation:
    return Operation(kind, 1, number, SECTOR * SECTOR_BYTES, SECTOR_BYTES)


def test_a_forced_copy_may_lack_what_was_written_after_it_had_counted() -> None:
    history = VolumeHistory(lambda: 0.0)
    before = write(history)
    counted = history.moment()
    after = write(history)
    counted.check(SECTOR, before)
    history.forsake({SECTOR: before})
    read(history, before)
    with pytest.raises(AssertionError):
        read(history, after)


def test_a_forced_copy_may_not_lack_what_was_acknowledged_while_it_counted() -> None:
    history = VolumeHistory(lambda: 0.0)
    lost, acknowledged = write(history), write(history)
    counted = history.moment()
    counted.check(SECTOR, acknowledged)
    with pytest.raises(AssertionError):
        counted.check(SECTOR, lost)


def test_what_is_under_way_when_a_copy_is_forced_may_still_be_done() -> None:
    history = VolumeHistory(lambda: 0.0)
    before = write(history)
    number = history.call("client", OperationKind.WRITE, SECTOR, 1)
    on_the_copy = history.call("client", OperationKind.WRITE, SECTOR + 1, 1)
    history.forsake({SECTOR: before, SECTOR + 1: on_the_copy})
    for each in (number, on_the_copy):
        history.answered(operation(OperationKind.WRITE, each), Outcome.DONE, b"")
    read(history, number)
    with pytest.raises(AssertionError):
        read(history, before)


def test_what_was_told_before_a_copy_is_forced_must_have_been_true() -> None:
    history = VolumeHistory(lambda: 0.0)
    first = write(history)
    number = history.call("client", OperationKind.COMPARE_AND_WRITE, SECTOR, 1, [first])
    history.answered(operation(OperationKind.COMPARE_AND_WRITE, number), Outcome.MISCOMPARE, b"", 0)
    with pytest.raises(AssertionError):
        history.forsake({SECTOR: first})
