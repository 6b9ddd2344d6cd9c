"""The history that checks each answer when it comes, and the blocks that it is told about."""

import pytest

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing import ZEROS, BlockHistory
from ctlha_trio.testing._history.block_content import BLOCK_BYTES, fill, read_numbers, sectors_of

COMPARE = OperationKind.COMPARE_AND_WRITE
READ, WRITE, FLUSH = OperationKind.READ, OperationKind.WRITE, OperationKind.FLUSH


def written(history: BlockHistory, *tickets: int) -> BlockHistory:
    """Let these writes of block 0 be acknowledged, one after the other."""
    for ticket in tickets:
        history.called(ticket, WRITE, 0)
        history.done(ticket, WRITE, 0, ticket)
    return history


def test_what_may_be_on_a_copy() -> None:
    history = BlockHistory()
    history.check(0, ZEROS)
    history.called(1, WRITE, 0)
    history.check(0, ZEROS)
    history.check(0, 1)
    history.done(1, WRITE, 0, 1)
    history.check(0, 1)
    history.called(2, WRITE, 0)
    history.check(0, 1)
    history.check(0, 2)


def test_what_must_not_be_on_a_copy() -> None:
    history = BlockHistory()
    for ticket, block in ((1, 0), (2, 1), (3, 0)):
        history.called(ticket, WRITE, block)
    history.ended(1, WRITE, 0)
    history.not_executed(3, WRITE, 0)
    written(history, 4)
    for value, said in (
        (ZEROS, "0 is found again after 4 had replaced it"),
        (1, "1 is found again after 4 had replaced it"),
        (2, "2 was found and never written here"),
        (99, "99 was found and never written here"),
        (3, "3 was found, although it was not to be written"),
    ):
        with pytest.raises(AssertionError, match=f"block 0: {said}"):
            history.check(0, value)
    history.check(0, 4)


def test_a_copy_proves_nothing_about_later() -> None:
    """What was never acknowledged may be on one copy and not on the other that goes on."""
    history = written(BlockHistory(), 1)
    history.called(2, WRITE, 0)
    history.check(0, 2)
    history.check(0, 1)
    assert len(list(history.operations())) == 2


def test_a_copy_is_held_against_what_was_acknowledged_before_it() -> None:
    history = written(BlockHistory(), 1)
    moment = history.now
    written(history, 2)
    history.check(0, 1, moment)
    with pytest.raises(AssertionError, match="1 is found again after 2 had replaced it"):
        history.check(0, 1)


def test_a_read_is_held_against_what_was_acknowledged_before_its_call() -> None:
    history = written(BlockHistory(), 1)
    history.called(10, READ, 0)
    written(history, 2)
    history.called(11, READ, 0, "who comes too late")
    history.done(10, READ, 0, 1)
    with pytest.raises(AssertionError, match="read of 1 by who comes too late"):
        history.done(11, READ, 0, 1)


def test_two_reads_that_contradict_each_other_only_together() -> None:
    """Neither of the writes is over, so that no pair of operations is wrong."""
    history = BlockHistory()
    history.called(1, WRITE, 0)
    history.called(2, WRITE, 0)
    for ticket, value in ((3, 1), (4, 2)):
        history.called(ticket, READ, 0)
        history.done(ticket, READ, 0, value)
    history.called(5, READ, 0)
    with pytest.raises(AssertionError, match="1 is found again after 2 had replaced it"):
        history.done(5, READ, 0, 1)


def test_a_write_that_was_seen_is_not_to_be_refused() -> None:
    history = BlockHistory()
    history.called(1, WRITE, 0)
    history.called(2, READ, 0)
    history.done(2, READ, 0, 1)
    with pytest.raises(AssertionError, match="1 was found, although it was not to be written"):
        history.not_executed(1, WRITE, 0)


def test_two_answers_that_contradict_each_other() -> None:
    history = written(BlockHistory(), 1)
    with pytest.raises(AssertionError, match="done at 2, and now it is said to be NOT_PRIMARY"):
        history.not_executed(1, WRITE, 0)


def test_the_first_end_of_a_write_counts() -> None:
    """Its node called it done; that its client heard nothing takes nothing back."""
    history = written(BlockHistory(), 1)
    history.ended(1, WRITE, 0)
    history.called(3, WRITE, 1)
    history.ended(3, WRITE, 1)
    history.done(3, WRITE, 1, 3)
    assert [(write.returned, write.outcome) for write in history.operations()] == [(2, Outcome.DONE), (5, Outcome.DONE)]
    with pytest.raises(AssertionError, match="0 is found again"):
        history.check(0, ZEROS)


def test_a_lost_write_may_come_at_any_time_and_an_ended_one_may_not() -> None:
    history = BlockHistory()
    for ticket in (1, 2):
        history.called(ticket, WRITE, 0)
    history.lost(1)
    history.ended(2, WRITE, 0)
    written(history, 3)
    history.check(0, 1)
    with pytest.raises(AssertionError, match="2 is found again after 3"):
        history.check(0, 2)


def test_an_operation_on_several_blocks_is_one_on_each() -> None:
    history = BlockHistory()
    for block in (0, 1):
        history.called(1, WRITE, block)
    for ticket, values in ((2, (1, ZEROS)), (3, (1, 1))):
        for block in (0, 1):
            history.called(ticket, READ, block)
        for block, value in enumerate(values):
            history.done(ticket, READ, block, value)
    history.verdict().require()
    assert len(list(history.operations())) == 6


def test_with_a_clock_the_evidence_tells_its_times_and_what_came_at_once_still_has_an_order() -> None:
    now_s = 10.0
    history = BlockHistory(lambda: now_s)
    written(history, 1)
    written(history, 2)
    now_s = 10.163728
    history.called(3, READ, 0, "a client at a")
    with pytest.raises(AssertionError, match="1 is found again after 2") as found:
        history.done(3, READ, 0, 1)
    assert "called at 10, done at 10" in str(found.value)
    assert "read of 1 by a client at a (ticket 3), called at 10.163728, done at 10.163728" in str(found.value)


def test_what_was_not_answered_is_no_part_of_it() -> None:
    history = written(BlockHistory(), 1)
    history.called(2, READ, 0)
    history.called(3, FLUSH, 0)
    history.done(3, FLUSH, 0, 3)
    history.lost(2)
    assert [each.ticket for each in history.operations()] == [1]


# What clients write.


def test_a_torn_block_is_read_by_sectors() -> None:
    assert list(read_numbers(0, bytes(BLOCK_BYTES))) == [(0, ZEROS), (1, ZEROS)]
    half = BLOCK_BYTES // 2
    assert list(read_numbers(3, fill(7)[:half] + fill(9)[half:])) == [(6, 7), (7, 9)]
    assert list(sectors_of(3)) == [6, 7]


def test_a_sector_that_nobody_wrote_is_no_number() -> None:
    with pytest.raises(AssertionError, match="block 3: a sector of which no write is"):
        list(read_numbers(3, b"?" + fill(7)[1:]))


@pytest.mark.parametrize("kind", [OperationKind.WRITE_ZEROES, OperationKind.UNMAP])
def test_zeros_may_be_there_from_when_somebody_asks_for_them(kind: OperationKind) -> None:
    history = written(BlockHistory(), 1)
    with pytest.raises(AssertionError, match="0 is found again"):
        history.check(0, ZEROS)
    history.called(2, kind, 0)
    history.check(0, ZEROS)
    history.check(0, 1)
    history.done(2, kind, 0, ZEROS)
    history.check(0, ZEROS)
    with pytest.raises(AssertionError, match="1 is found again after 0 had replaced it"):
        history.check(0, 1)
    written(history, 3)
    with pytest.raises(AssertionError, match="0 is found again after 3 had replaced it"):
        history.check(0, ZEROS)
    assert history.verdict().linearizable


def test_zeros_that_were_refused_are_not_seen() -> None:
    history = written(BlockHistory(), 1)
    history.called(2, OperationKind.WRITE_ZEROES, 0)
    history.not_executed(2, OperationKind.WRITE_ZEROES, 0)
    with pytest.raises(AssertionError):
        history.check(0, ZEROS)


def test_a_compare_that_is_done_found_what_it_expected() -> None:
    history = written(BlockHistory(), 1, 2)
    history.called(3, COMPARE, 0, expected=1)
    with pytest.raises(AssertionError, match="1 is found again after 2 had replaced it"):
        history.done(3, COMPARE, 0, 3)


def test_a_miscompare_writes_nothing() -> None:
    history = written(BlockHistory(), 1)
    history.called(2, COMPARE, 0, expected=ZEROS)
    history.miscompared(2, 0)
    with pytest.raises(AssertionError, match="2 was found, although it was not to be written"):
        history.check(0, 2)
    assert history.verdict().linearizable


def test_a_miscompare_of_what_was_there_is_found_at_the_end() -> None:
    history = written(BlockHistory(), 1)
    history.called(2, COMPARE, 0, expected=1)
    history.miscompared(2, 0)
    assert not history.verdict().linearizable


def test_what_a_compare_found_equal_before_the_place_that_differs_was_there() -> None:
    history = written(BlockHistory(), 1, 2)
    history.called(3, COMPARE, 0, expected=1)
    with pytest.raises(AssertionError, match="1 is found again after 2 had replaced it"):
        history.compared_equal(3, 0)
