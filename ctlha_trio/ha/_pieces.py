"""Long operations, executed as several of the size that the pair takes."""

from collections.abc import Awaitable, Callable, Generator
from typing import Final

import attrs
import trio

from ctlha_trio.ha._client_requests import Answer
from ctlha_trio.pair import WRITE_BYTES_MAX, Operation, Outcome

PIECES_AT_ONCE: Final = 4
"""They keep both disks busy; the other places for operations under way stay free for other clients."""


def pieces_of(operation: Operation) -> Generator[Operation]:
    """The operation in parts that begin at multiples of ``WRITE_BYTES_MAX``, so that each touches one extent."""
    end = operation.offset + operation.size
    start = operation.offset
    while start < end:
        stop = min(end, (start // WRITE_BYTES_MAX + 1) * WRITE_BYTES_MAX)
        yield attrs.evolve(operation, offset=start, size=stop - start)
        start = stop


async def execute_pieces(operation: Operation, execute: Callable[[Operation], Awaitable[Answer]]) -> Answer:
    """Execute the parts in order, some at a time; none is begun after one that was not done. A checkpoint.

    Cancelled: what was begun is executed. ``UNKNOWN`` if a part may have been executed and not all are known to be.
    """
    outcomes: list[Outcome] = []
    pieces = pieces_of(operation)

    async def work() -> None:
        for piece in pieces:
            outcome = (await execute(piece)).outcome
            outcomes.append(outcome)
            if outcome is not Outcome.DONE:
                pieces.close()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(PIECES_AT_ONCE):
            nursery.start_soon(work)
    first = outcomes[0]
    return Answer(first if all(each is first for each in outcomes) else Outcome.UNKNOWN)
