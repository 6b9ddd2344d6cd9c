"""Sees everything that a pair core takes and orders, at the instant at which its driver does."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from ctlha_trio.ha import Node
from ctlha_trio.pair import READING, Operation, OperationKind, Outcome, PairState, actions, events, messages


@attrs.frozen
class Ordered:
    """One action of one node."""

    state: PairState
    """After the step that ordered it."""
    action: actions.Action
    operation: Operation | None = None
    """Of an ``Answer``."""
    data: bytes = b""
    """That an answered operation wrote, or has read."""


Placed = tuple[int, bytes]
"""Data, and its offset in the volume."""


@attrs.frozen
class Stepped:
    """One event of one node. Its tickets, which are the process's own, are the numbers that clients gave."""

    before: PairState
    after: PairState
    event: events.Event
    ordered: tuple[actions.Action, ...]
    written: Placed | None
    """What came with a mirrored write."""
    read: Mapping[int, Placed]
    """What reads that are answered have read, by number."""
    held: tuple[int, ...] = ()
    """Numbers of the operations of its clients that the core has under way."""
    waiting: tuple[int, ...] = ()
    """Numbers of those of which somebody waits for the answer, once the orders are carried out."""


@contextmanager
def watch_actions(watch: Callable[[Ordered], None]) -> Iterator[None]:
    """Call ``watch`` before each action of any node in this process, and so before whoever waits for it can run."""
    driver = _driver()
    carry_out = driver._carry_out

    def watched(self: Any, action: actions.Action) -> None:
        if isinstance(action, actions.Answer):
            request = self._requests[action.ticket]
            reads = request.operation.kind in READING
            watch(Ordered(self.state, action, request.operation, request.data if reads else request.content))
        else:
            watch(Ordered(self.state, action))
        carry_out(self, action)

    driver._carry_out = watched
    try:
        yield
    finally:
        driver._carry_out = carry_out


@contextmanager
def watch_steps(watch: Callable[[Stepped], None]) -> Iterator[None]:
    """Call ``watch`` after each step of any node's core in this process, before what it orders is carried out."""
    driver = _driver()
    step = driver._step

    def watched(self: Any, event: events.Event) -> tuple[actions.Action, ...]:
        before = self.state
        ordered: tuple[actions.Action, ...] = step(self, event)
        named = tuple(_by_number(self, action) for action in ordered)
        reads = dict(_reads(self, ordered))
        held, waiting = _held(self), _waiting(self, ordered)
        watch(Stepped(before, self.state, _by_number(self, event), named, _written(self, event), reads, held, waiting))
        return ordered

    driver._step = watched
    try:
        yield
    finally:
        driver._step = step


def _driver() -> Any:
    return attrs.fields(Node)._driver.type


def _written(driver: Any, event: events.Event) -> Placed | None:
    match event:
        case events.Received(message=messages.MirrorWrite(offset=offset, sequence=sequence)):
            return offset, driver._placed[sequence]
        case _:
            return None


def _held(driver: Any) -> tuple[int, ...]:
    tickets = [flight.ticket for flight in driver.state.flights if flight.ticket and not flight.answered]
    return tuple(sorted(driver._requests[ticket].operation.number for ticket in tickets))


def _waiting(driver: Any, ordered: tuple[actions.Action, ...]) -> tuple[int, ...]:
    over = {action.ticket for action in ordered if isinstance(action, actions.Answer)}
    # What the core has not been told of yet.
    over |= {event.ticket for event in driver._pending if isinstance(event, events.Submitted)}
    under_way = driver._requests._under_way.items()
    return tuple(sorted(request.operation.number for ticket, request in under_way if ticket not in over))


def _by_number(driver: Any, told: Any) -> Any:
    ticket = getattr(told, "ticket", None)
    return told if ticket is None else attrs.evolve(told, ticket=driver._requests[ticket].operation.number)


def _reads(driver: Any, ordered: tuple[actions.Action, ...]) -> Iterator[tuple[int, Placed]]:
    for action in ordered:
        if isinstance(action, actions.Answer) and action.outcome is Outcome.DONE:
            request = driver._requests[action.ticket]
            if request.operation.kind is OperationKind.READ:
                yield request.operation.number, (request.operation.offset, request.data)
