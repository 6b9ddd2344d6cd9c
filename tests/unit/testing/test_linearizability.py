"""The check of whole histories: what must be found, what must be accepted, and what is said about it."""

import math
from collections.abc import Callable
from random import Random

import attrs
import pytest

from ctlha_trio._errors import InvalidError
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing import ZEROS, ClientOperation, Verdict, check_linearizability
from ctlha_trio.testing._history.linearizability_sample import SampleHistory

History = list[ClientOperation]
NEVER = math.inf


def write(value: int, called: float, returned: float = NEVER, outcome: Outcome | None = None) -> ClientOperation:
    """Acknowledged if it returned, unless said otherwise."""
    outcome = outcome or (Outcome.DONE if returned < NEVER else Outcome.UNKNOWN)
    kind = OperationKind.WRITE
    return ClientOperation(
        ticket=value, client="w", kind=kind, block=0, value=value, called=called, returned=returned, outcome=outcome
    )


def read(value: int, called: float, returned: float, block: int = 0, ticket: int = 0) -> ClientOperation:
    kind, outcome = OperationKind.READ, Outcome.DONE
    return ClientOperation(
        ticket=ticket,
        client="r",
        kind=kind,
        block=block,
        value=value,
        called=called,
        returned=returned,
        outcome=outcome,
    )


def compare(
    expected: int, value: int, called: float, returned: float = NEVER, outcome: Outcome = Outcome.DONE
) -> ClientOperation:
    kind = OperationKind.COMPARE_AND_WRITE
    return attrs.evolve(write(value, called, returned, outcome), kind=kind, expected=expected)


MISCOMPARE = Outcome.MISCOMPARE
ACCEPTED: dict[str, History] = {
    "compares that follow on each other": [compare(ZEROS, 1, 1, 9), compare(1, 2, 1, 9), read(2, 10, 11)],
    "a compare that a write comes between": [write(1, 1, 2), write(2, 3, 4), compare(1, 3, 5, 6, MISCOMPARE)],
    "a miscompare before what it expects": [write(1, 1, 10), compare(1, 2, 2, 3, MISCOMPARE), read(1, 4, 5)],
    "a miscompare that only a write that is never seen explains": [
        *(compare(ZEROS, 2, 2, 3, MISCOMPARE), write(1, 1), write(3, 4, 5), read(3, 6, 7)),
    ],
    "an unknown compare that took effect": [compare(ZEROS, 1, 1, outcome=Outcome.UNKNOWN), read(1, 3, 4)],
    "an unknown compare that could not": [
        *(write(2, 1, 2), compare(ZEROS, 1, 3, outcome=Outcome.UNKNOWN), read(2, 4, 5)),
    ],
    "nothing": [],
    "zeros before the first write": [read(ZEROS, 1, 2), write(1, 3, 4), read(1, 5, 6)],
    "either value while a write is under way": [write(1, 1, 10), read(ZEROS, 2, 3), read(1, 4, 5)],
    "writes side by side in the order of the reads": [write(1, 1, 9), write(2, 1, 9), read(2, 2, 3), read(1, 4, 5)],
    "an unknown write that takes effect late": [write(1, 1), write(2, 2, 3), read(2, 4, 5), read(1, 6, 7)],
    "an unknown write that never takes effect": [write(1, 1), write(2, 2, 3), read(2, 4, 5)],
    "an unknown write that took effect before it was over": [write(1, 1, 3, Outcome.UNKNOWN), read(1, 4, 5)],
    "a refused write that is not seen": [write(1, 1, 2, Outcome.NOT_PRIMARY), read(ZEROS, 3, 4)],
    "an unanswered read": [write(1, 1, 2), attrs.evolve(read(99, 3, NEVER), outcome=Outcome.UNKNOWN)],
    "equal times in either order": [write(1, 1, 2), write(2, 2, 3), read(1, 3, 4)],
    "blocks of their own": [write(1, 1, 2), read(ZEROS, 3, 4, block=1), read(1, 3, 4)],
    "zeros written again": [write(1, 1, 2), write(ZEROS, 3, 4), read(ZEROS, 5, 6)],
    "a value written twice": [write(1, 1, 2), write(2, 3, 4), write(1, 5, 6), read(1, 7, 8)],
    "an unknown write of a known value that never took effect": [
        *(read(ZEROS, 0, 1), write(1, 2, 3), write(ZEROS, 4, 5, Outcome.UNKNOWN), read(1, 6, 7)),
    ],
    "a value that may come twice": [write(1, 1, 2), write(2, 3, 4), write(1, 5), read(2, 6, 7), read(1, 8, 9)],
}

FOUND: dict[str, tuple[str, History]] = {
    "two compares that found the same value": (
        "no order explains",
        [write(1, 1, 2), compare(1, 2, 3, 9), compare(1, 3, 3, 9)],
    ),
    "a compare that overlooks a write": (
        "no order explains",
        [write(1, 1, 2), write(2, 3, 4), compare(1, 3, 5, 6)],
    ),
    "a compare that wrote over what came between": (
        "no order explains",
        [write(1, 1, 2), compare(1, 3, 3, 8), write(2, 4, 5), read(2, 6, 7), read(3, 9, 10)],
    ),
    "a miscompare of what was there all the time": (
        "no order explains",
        [write(1, 1, 2), read(1, 3, 4), compare(1, 2, 5, 6, MISCOMPARE), read(1, 7, 8)],
    ),
    "a miscompare of zeros before anything was written": (
        "no order explains",
        [compare(ZEROS, 1, 1, 2, MISCOMPARE), write(2, 3, 4)],
    ),
    "a miscompare that is seen": (
        "1 was found, although it was not to be written",
        [write(2, 1, 2), compare(ZEROS, 1, 3, 4, MISCOMPARE), read(1, 5, 6)],
    ),
    "a stale miscompare of a node that was removed": (
        "no order explains",
        [write(1, 1, 2), write(2, 3, 4), compare(2, 3, 5, 6, MISCOMPARE), read(2, 7, 8)],
    ),
    "an unknown compare that took effect over something else": (
        "no order explains",
        [write(2, 1, 2), compare(ZEROS, 1, 3, outcome=Outcome.UNKNOWN), read(1, 4, 5)],
    ),
    "a lost acknowledged write": (
        "0 is found again after 1 had replaced it",
        [write(1, 1, 2), read(ZEROS, 3, 4)],
    ),
    "a stale read": (
        "1 is found again after 2 had replaced it",
        [write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)],
    ),
    "a value that was never written": (
        "99 was found and never written here",
        [write(1, 1, 2), read(99, 3, 4)],
    ),
    "a value of another block": (
        "1 was found and never written here",
        [write(1, 1, 2), read(1, 3, 4, block=1)],
    ),
    "a value that is written later": (
        "1 was found before it was written",
        [read(1, 1, 2), write(1, 3, 4)],
    ),
    "a refused write that is seen": (
        "1 was found, although it was not to be written",
        [write(1, 1, 2, Outcome.NOT_PRIMARY), read(1, 3, 4)],
    ),
    "an unknown write brought back": (
        "1 is found again after 2 had replaced it",
        [write(1, 1), read(1, 2, 3), write(2, 4, 5), read(2, 6, 7), read(1, 8, 9)],
    ),
    "an unknown write that was over before": (
        "1 is found again after 2 had replaced it",
        [write(1, 1, 3, Outcome.UNKNOWN), write(2, 4, 5), read(1, 6, 7)],
    ),
    "there and back between two writes under way": (
        "1 is found again after 2 had replaced it",
        [write(1, 1), write(2, 1), read(1, 2, 3), read(2, 4, 5), read(1, 6, 7)],
    ),
    "two clients that see two writes in opposite orders": (
        "1 is found again after 2 had replaced it",
        [write(1, 1), write(2, 1), read(1, 2, 3), read(2, 5, 7), read(2, 2, 4), read(1, 6, 8)],
    ),
    "three clients that see three writes in a circle": (
        "is found again after",
        [
            *(write(1, 1), write(2, 1), write(3, 1)),
            *(read(1, 2, 3), read(2, 5, 7), read(2, 2, 3), read(3, 5, 7), read(3, 2, 3), read(1, 5, 7)),
        ],
    ),
    "a write called within the time of another value": (
        "1 is found again after 2 had replaced it",
        [write(1, 1, 2), write(2, 3, 4), read(1, 1, 3.5), read(1, 4.5, 5)],
    ),
    "zeros that nobody wrote again": (
        "no order explains more than 2 of 3 operations",
        [write(1, 1, 2), write(1, 3, 4), read(ZEROS, 5, 6)],
    ),
    "a value written twice and replaced twice": (
        "no order explains more than 3 of 4 operations",
        [write(1, 1, 2), write(1, 3, 4), write(2, 5, 6), read(1, 7, 8)],
    ),
    "a value written twice, refused both times": (
        "1 was found, although it was not to be written",
        [write(1, 1, 2, Outcome.NOT_PRIMARY), write(1, 3, 4, Outcome.NOT_PRIMARY), read(1, 5, 6)],
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts(name: str) -> None:
    check_linearizability(ACCEPTED[name]).require()


@pytest.mark.parametrize("name", FOUND)
def test_finds(name: str) -> None:
    said, history = FOUND[name]
    verdict = check_linearizability(history)
    assert not verdict.linearizable
    (violation,) = verdict.violations
    assert said in violation.what
    assert {each.operation for each in violation.evidence} & set(history)
    with pytest.raises(AssertionError, match=said):
        verdict.require()


@pytest.mark.parametrize(("called", "returned"), [(5, 1), (0, math.nan), (math.nan, 1)])
def test_times_that_are_none_are_refused(called: float, returned: float) -> None:
    operation = ClientOperation(
        ticket=1, kind=OperationKind.WRITE, block=0, value=1, called=called, returned=returned, outcome=Outcome.DONE
    )
    with pytest.raises(InvalidError):
        check_linearizability([operation])


def test_a_write_on_two_blocks_may_be_seen_on_one_first() -> None:
    both = [attrs.evolve(write(1, 1, 9), block=block) for block in (0, 1)]
    check_linearizability([*both, read(1, 2, 3), read(ZEROS, 4, 5, block=1), read(1, 6, 7, block=1)]).require()


# What is said.


def test_a_violation_can_be_read_by_who_was_not_there() -> None:
    history = [
        *(write(7, 1, 2), write(9, 3, 6), write(11, 20), read(7, 1, 4, ticket=8), read(9, 5, 7, ticket=10)),
        read(7, 8, 12, ticket=12),
    ]
    (violation,) = check_linearizability(history).violations
    assert str(violation).splitlines() == [
        "block 0: 7 is found again after 9 had replaced it",
        "  7 was there by 2        write of 7 by w (ticket 7), called at 1, done at 2",
        "  9 was found after that  read of 9 by r (ticket 10), called at 5, done at 7",
        "  9 was there by 6        write of 9 by w (ticket 9), called at 3, done at 6",
        "  7 was found after that  read of 7 by r (ticket 12), called at 8, done at 12",
    ]


def test_a_search_says_how_far_it_got() -> None:
    history = [
        write(1, 1, 2),
        write(1, 3, 4),
        write(2, 5, 6),
        write(3, 6.5, 9),
        read(1, 7, 8, ticket=4),
        read(3, 9, 10),
    ]
    (violation,) = check_linearizability(history).violations
    assert str(violation).splitlines() == [
        "block 0: no order explains more than 4 of 6 operations",
        "  last in the order      write of 3 by w (ticket 3), called at 6.5, done at 9",
        "  fits nowhere after it  read of 1 by r (ticket 4), called at 7, done at 8",
    ]


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (write(1, 2), "write of 1 by w (ticket 1), called at 2, outcome never known"),
        (write(1, 2, 3, Outcome.UNKNOWN), "write of 1 by w (ticket 1), called at 2, over at 3, outcome unknown"),
        (
            write(1, 2, 3, Outcome.FAILED),
            "write of 1 by w (ticket 1), called at 2, said at 3 not to have been executed",
        ),
        (attrs.evolve(read(1, 2.5, 3), client=""), "read of 1 (ticket 0), called at 2.5, done at 3"),
    ],
)
def test_an_operation_in_words(operation: ClientOperation, said: str) -> None:
    assert str(operation) == said


def test_zeros_in_words() -> None:
    (violation,) = check_linearizability([write(1, 1, 2), read(ZEROS, 3, 4)]).violations
    assert "what every block holds before the first write" in str(violation)


# The limit of the search.


def side_by_side(clients: int) -> History:
    """Writes of equal values under way at once, and a read that no order explains: all must be tried."""
    writes = [write(1 + client % 3, 1, 10 + client) for client in range(clients)]
    return [*writes, read(1, 30, 31), read(2, 32, 33)]


def test_writes_of_one_value_that_never_returned_stand_for_each_other() -> None:
    """A client's zeros of unknown outcome help as well as another's: not each choice of them is an order of its own."""
    unknown = [write(ZEROS, called=0.1 * each) for each in range(14)]
    told = [
        each
        for turn in range(len(unknown) + 1)
        for each in (write(turn + 1, 10 * turn + 2, 10 * turn + 3), read(ZEROS, 10 * turn + 4, 10 * turn + 5))
    ]
    assert check_linearizability([*unknown, *told[:-2]], steps_max=5_000).linearizable
    verdict = check_linearizability([*unknown, *told], steps_max=5_000)
    assert verdict.violations
    assert not verdict.undecided


def test_writes_that_nobody_found_stand_for_each_other_where_something_else_was_found() -> None:
    """Which of them a compare met when it missed, nobody can tell."""
    unknown = [write(1_000 + each, called=0.1 * each) for each in range(14)]
    told = [
        each
        for turn in range(len(unknown) + 1)
        for each in (
            write(turn + 1, 10 * turn + 2, 10 * turn + 3),
            compare(turn + 1, 1, 10 * turn + 4, 10 * turn + 5, MISCOMPARE),
        )
    ]
    assert check_linearizability([*unknown, *told[:-2]], steps_max=5_000).linearizable
    verdict = check_linearizability([*unknown, *told], steps_max=5_000)
    assert not verdict.undecided
    (violation,) = verdict.violations
    assert {each.operation for each in violation.evidence} <= {*unknown, *told}


def test_a_write_of_unknown_outcome_is_tried_only_where_somebody_finds_it() -> None:
    unknown = [write(1_000 + each, called=0.1 * each) for each in range(14)]
    turns = [write(turn + 1, 10 * turn + 2, 10 * turn + 3) for turn in range(10)]
    compared = compare(10, 11, 94, 95)
    found = [read(each.value, 100 + 2 * each.called, 100.1 + 2 * each.called) for each in unknown]
    history = [*unknown, *turns, compared, *found]
    assert check_linearizability(history, steps_max=5_000).linearizable
    verdict = check_linearizability([*history, read(unknown[0].value, 200, 201)], steps_max=5_000)
    assert verdict.violations
    assert not verdict.undecided


def test_undecided_is_not_a_pass() -> None:
    verdict = check_linearizability(side_by_side(12), steps_max=200)
    assert verdict == Verdict(undecided=(0,), steps=200)
    assert not verdict.linearizable
    with pytest.raises(AssertionError, match="undecided after 200 steps, so the test proves nothing: block 0"):
        verdict.require()
    (violation,) = check_linearizability(side_by_side(12)).violations
    assert violation.what == "no order explains more than 13 of 14 operations"


# Long histories.

LONG = SampleHistory(clients=12, operations=200, blocks=8, unknown_chance=0.05, refused_chance=0.05, crashes=8)
SEEDS = range(20)


@pytest.mark.parametrize(
    "sample",
    [
        LONG,
        SampleHistory(clients=16, operations=150),
        SampleHistory(clients=8, operations=100, unknown_chance=0.5, crashes=20),
        SampleHistory(clients=3, operations=200, values=4, crashes=5, refused_chance=0.1),
        SampleHistory(clients=3, operations=60, blocks=4, values=3, unknown_chance=0.1, crashes=3),
    ],
)
def test_what_a_register_did_is_accepted(sample: SampleHistory) -> None:
    for seed in SEEDS:
        check_linearizability(sample.make(Random(seed))).require()


def writes_of(history: History) -> History:
    return [each for each in history if each.kind is OperationKind.WRITE]


def reads_of(history: History) -> History:
    return [each for each in history if each.kind is OperationKind.READ and each.outcome is Outcome.DONE]


def pick(random: Random, first: History, then: History) -> tuple[ClientOperation, ClientOperation]:
    """Two operations on one block with different values, the one over before the other."""
    for one in random.sample(first, len(first)):
        after = [
            each for each in then if each.block == one.block and each.value != one.value and one.returned < each.called
        ]
        if after:
            return one, random.choice(after)
    raise AssertionError("the history is too short")


def read_after(operation: ClientOperation, value: int) -> ClientOperation:
    return read(value, operation.returned + 0.1, operation.returned + 0.2, operation.block)


def replaced(random: Random, history: History) -> tuple[ClientOperation, ClientOperation]:
    """Two acknowledged writes, one after the other."""
    done = [each for each in writes_of(history) if each.outcome is Outcome.DONE]
    return pick(random, done, done)


def plant_stale_read(random: Random, history: History) -> tuple[History, int]:
    old, new = replaced(random, history)
    return [*history, read_after(new, old.value)], old.block


def plant_lost_write(random: Random, history: History) -> tuple[History, int]:
    """Whoever saw the new value sees the old one instead, and so does one more."""
    old, new = replaced(random, history)
    lost = [
        attrs.evolve(each, value=old.value) if each.kind is OperationKind.READ and each.value == new.value else each
        for each in history
    ]
    return [*lost, read_after(new, old.value)], old.block


def plant_value_from_nowhere(random: Random, history: History) -> tuple[History, int]:
    wrong = random.choice(reads_of(history))
    return [attrs.evolve(each, value=10**9) if each is wrong else each for each in history], wrong.block


def plant_value_from_the_future(random: Random, history: History) -> tuple[History, int]:
    wrong, later = pick(random, reads_of(history), writes_of(history))
    return [attrs.evolve(each, value=later.value) if each is wrong else each for each in history], wrong.block


def plant_value_brought_back(random: Random, history: History) -> tuple[History, int]:
    """Only reads tell that it was there and then was not."""
    reads = reads_of(history)
    unknown = {each.value for each in writes_of(history) if each.outcome is Outcome.UNKNOWN}
    old, new = pick(random, [each for each in reads if each.value in unknown], reads)
    return [*history, read_after(new, old.value)], old.block


def plant_refused_write_that_is_seen(random: Random, history: History) -> tuple[History, int]:
    seen = random.choice([each for each in reads_of(history) if each.value != ZEROS])
    return [
        attrs.evolve(each, outcome=Outcome.NOT_PRIMARY, returned=NEVER)
        if each.kind is OperationKind.WRITE and each.value == seen.value
        else each
        for each in history
    ], seen.block


def plant_opposite_orders(random: Random, history: History) -> tuple[History, int]:
    """In a block of their own, so that only they contradict each other."""
    at, block = random.uniform(0, 100), LONG.blocks
    writes = [attrs.evolve(write(value, at), block=block) for value in (10**9, 10**9 + 1)]
    first, second = (each.value for each in writes)
    one = [read(first, at + 1, at + 2, block), read(second, at + 3, at + 5, block)]
    other = [read(second, at + 1, at + 2, block), read(first, at + 4, at + 6, block)]
    return [*history, *writes, *one, *other], block


@pytest.mark.parametrize(
    "plant",
    [
        plant_stale_read,
        plant_lost_write,
        plant_value_from_nowhere,
        plant_value_from_the_future,
        plant_value_brought_back,
        plant_refused_write_that_is_seen,
        plant_opposite_orders,
    ],
)
def test_finds_one_wrong_answer_among_thousands(plant: Callable[[Random, History], tuple[History, int]]) -> None:
    for seed in SEEDS:
        random = Random(seed)
        history, block = plant(random, LONG.make(random))
        random.shuffle(history)
        verdict = check_linearizability(history)
        assert [violation.block for violation in verdict.violations] == [block], f"seed {seed}"
