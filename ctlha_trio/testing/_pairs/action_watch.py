"""Sees everything that a pair core orders at the instant at which its driver carries it out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from ctlha_trio.ha import Node
from ctlha_trio.pair import READING, Operation, PairState, actions


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


@contextmanager
def watch_actions(watch: Callable[[Ordered], None]) -> Iterator[None]:
    """Call ``watch`` before each action of any node in this process, and so before whoever waits for it can run."""
    driver: Any = attrs.fields(Node)._driver.type
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
