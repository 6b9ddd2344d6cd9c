"""Every way to check a history against the plainest one: to write down all orders and look for one that fits."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations
from random import Random

import attrs
import pytest
from hypothesis import example, given, settings, strategies as st

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing import ZEROS, BlockHistory, ClientOperation, check_linearizability
from ctlha_trio.testing._history.linearizability_search import search_order

OPERATIONS_MAX = 6
COMPARE = OperationKind.COMPARE_AND_WRITE
KINDS = (OperationKind.READ, OperationKind.WRITE)
OUTCOMES = (Outcome.DONE, Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PRIMARY)


def is_explained(history: Sequence[ClientOperation]) -> bool:
    """Whether some order of all that happened, and of some of what may have, explains every read."""
    certain = [each for each in history if each.outcome in {Outcome.DONE, Outcome.MISCOMPARE}]
    unknown = [each for each in history if each.outcome is Outcome.UNKNOWN and each.kind is not OperationKind.READ]
    return any(
        fits(order)
        for count in range(len(unknown) + 1)
        for happened in combinations(unknown, count)
        for order in permutations([*certain, *happened])
    )


def fits(order: Sequence[ClientOperation]) -> bool:
    value, latest_call = ZEROS, -math.inf
    for operation in order:
        if operation.returned < latest_call:
            return False
        latest_call = max(latest_call, operation.called)
        if operation.kind is COMPARE and (operation.expected == value) is (operation.outcome is Outcome.MISCOMPARE):
            return False
        if operation.kind is OperationKind.READ and operation.value != value:
            return False
        if operation.kind is not OperationKind.READ and operation.outcome is not Outcome.MISCOMPARE:
            value = operation.value
    return True


def searched(history: Sequence[ClientOperation]) -> bool:
    """What the search says, also where it is not needed."""
    end = search_order(
        [
            each
            for each in history
            if each.outcome in {Outcome.DONE, Outcome.MISCOMPARE}
            or (each.outcome is Outcome.UNKNOWN and each.kind is not OperationKind.READ)
        ]
    )
    assert end.decided
    return end.violation is None


def build_history(
    choose: Callable[[int, int], int], count: int, *, unique: bool, compares: bool = False
) -> list[ClientOperation]:
    """Of one block, anything that can be written down; ``choose`` picks a number from a first to a last one."""
    history = []
    kinds = (*KINDS, COMPARE, COMPARE) if compares else KINDS
    for ticket in range(1, count + 1):
        kind, called, lasts = kinds[choose(0, len(kinds) - 1)], choose(0, 8), choose(0, 6)
        outcome = OUTCOMES[choose(0, 3)]
        if kind is COMPARE and outcome is not Outcome.UNKNOWN and choose(0, 2) == 0:
            outcome = Outcome.MISCOMPARE
        forever = outcome is Outcome.UNKNOWN and choose(0, 1) == 1
        history.append(
            ClientOperation(
                ticket=ticket,
                kind=kind,
                block=0,
                value=ticket if unique and kind is not OperationKind.READ else choose(0, 4 if unique else 2),
                expected=choose(0, 4 if unique else 2) if kind is COMPARE else ZEROS,
                called=called,
                returned=math.inf if forever else called + lasts,
                outcome=outcome,
            )
        )
    return history


@st.composite
def histories(draw: st.DrawFn, *, unique: bool, compares: bool = False) -> list[ClientOperation]:
    count = draw(st.integers(0, OPERATIONS_MAX))
    return build_history(lambda first, last: draw(st.integers(first, last)), count, unique=unique, compares=compares)


def done(ticket: int, kind: OperationKind, value: int, called: float, returned: float) -> ClientOperation:
    return ClientOperation(
        ticket=ticket, kind=kind, block=0, value=value, called=called, returned=returned, outcome=Outcome.DONE
    )


FOUND_BY_CHANCE = [
    done(1, OperationKind.READ, ZEROS, 1, 1),
    done(2, OperationKind.READ, 3, 0, 1),
    ClientOperation(ticket=3, kind=OperationKind.WRITE, block=0, value=3, called=1),
]
"""A write that never returns, beside the operation that returns first: the list of the search was linked wrongly."""


@given(histories(unique=True))
@example(FOUND_BY_CHANCE)
@settings(max_examples=400, deadline=None)
def test_unique_values_are_decided_as_by_all_orders(history: list[ClientOperation]) -> None:
    explained = is_explained(history)
    assert check_linearizability(history).linearizable == explained
    assert searched(history) == explained


@given(histories(unique=False))
@settings(max_examples=400, deadline=None)
def test_repeated_values_are_decided_as_by_all_orders(history: list[ClientOperation]) -> None:
    explained = is_explained(history)
    assert check_linearizability(history).linearizable == explained
    assert searched(history) == explained


@given(histories(unique=True, compares=True))
@settings(max_examples=400, deadline=None)
def test_compares_are_decided_as_by_all_orders(history: list[ClientOperation]) -> None:
    explained = is_explained(history)
    assert check_linearizability(history).linearizable == explained
    assert searched(history) == explained


@pytest.mark.parametrize(("unique", "compares"), [(True, False), (False, False), (True, True), (False, True)])
def test_crowded_histories_are_decided_as_by_all_orders(unique: bool, compares: bool) -> None:
    """What shrinks well is seldom crowded, so these are spread evenly."""
    explained_count = 0
    for seed in range(3000):
        history = build_history(Random(seed).randint, OPERATIONS_MAX, unique=unique, compares=compares)
        explained = is_explained(history)
        explained_count += explained
        assert check_linearizability(history).linearizable == explained, f"seed {seed}"
        assert searched(history) == explained, f"seed {seed}"
    assert 300 < explained_count < 2500


# The same at each answer of a history that grows.


@attrs.define(eq=False)
class GrowingHistory:
    """A block history that is told what it cannot refuse, and what all orders say about the same."""

    random: Random
    history: BlockHistory = attrs.Factory(BlockHistory)
    operations: dict[int, ClientOperation] = attrs.Factory(dict)
    open: list[int] = attrs.Factory(list)

    def call(self) -> None:
        ticket, kind = len(self.operations) + 1, self.random.choice(KINDS)
        self.history.called(ticket, kind, 0)
        now = self.history.now
        self.operations[ticket] = ClientOperation(ticket=ticket, kind=kind, block=0, value=ticket, called=now)
        self.open.append(ticket)

    def answer(self) -> None:
        ticket = self.open.pop(self.random.randrange(len(self.open)))
        operation, now = self.operations[ticket], self.history.now + 1
        told = self.random.choice(
            (Outcome.DONE, Outcome.DONE, Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PRIMARY, None)
        )
        if told is None:
            self.history.lost(ticket)
            return
        writes = operation.kind is OperationKind.WRITE
        value = ticket if writes else self.random.randint(0, len(self.operations))
        self.operations[ticket] = attrs.evolve(operation, outcome=told, value=value, returned=now)
        if told is Outcome.DONE:
            self.history.done(ticket, operation.kind, 0, value)
        elif told is Outcome.UNKNOWN:
            self.history.ended(ticket, operation.kind, 0)
        else:
            self.history.not_executed(ticket, operation.kind, 0)

    def is_explained(self, *more: ClientOperation) -> bool:
        return is_explained([*self.operations.values(), *more])

    def copies(self) -> Iterator[ClientOperation]:
        """Everything that a copy could hold now, or at an earlier moment, as a read that does not end."""
        kind, outcome = OperationKind.READ, Outcome.DONE
        for value in range(len(self.operations) + 1):
            for moment in {self.random.randint(1, int(self.history.now)), self.history.now + 1}:
                yield ClientOperation(ticket=0, kind=kind, block=0, value=value, called=moment, outcome=outcome)


def accepts(history: BlockHistory, found: ClientOperation) -> bool:
    try:
        history.check(0, found.value, int(found.called))
    except AssertionError:
        return False
    return True


def test_each_answer_is_judged_as_by_all_orders() -> None:
    refused = 0
    for seed in range(400):
        random = Random(seed)
        growing = GrowingHistory(random)
        while len(growing.operations) < OPERATIONS_MAX:
            may_answer = bool(growing.open) and random.random() < 0.6
            try:
                growing.answer() if may_answer else growing.call()
            except AssertionError:
                assert not growing.is_explained(), f"seed {seed}"
                refused += 1
                break
            assert growing.is_explained(), f"seed {seed}"
            assert growing.history.verdict().linearizable
        else:
            for found in growing.copies():
                assert accepts(growing.history, found) == growing.is_explained(found), f"seed {seed}: {found}"
    assert 100 < refused < 300
