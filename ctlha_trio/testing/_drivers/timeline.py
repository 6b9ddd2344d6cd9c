"""What happened in a run of whole nodes, in order, in the form that a run of cores has."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from ctlha_trio.testing._core.log import EventHistory, EventLine
from ctlha_trio.testing._core.words import Words, told_blocks
from ctlha_trio.testing._history.block_content import number_of
from ctlha_trio.testing._pairs.action_watch import Stepped
from ctlha_trio.testing._power.medium import SECTOR_BYTES

EVERYWHERE: Final = "-"
"""Stands for the node of what happens to no single one."""


def _sectors_of(offset: int, size: int) -> range:
    first = offset // SECTOR_BYTES
    return range(first, first + size // SECTOR_BYTES)


IN_SECTORS: Final = Words("sector", _sectors_of, tells_clients=True)
"""Of whole nodes: a client may wait before it is heard."""


@attrs.define(eq=False)
class Timeline:
    """Grows with the run."""

    now_s: Callable[[], float]
    """Virtual seconds since the run began."""
    watch: Callable[[EventLine], None] | None = None
    """Told of every line."""
    history: EventHistory = attrs.field(init=False)
    counts: Counter[str] = attrs.field(factory=Counter, init=False)
    """How often what happened, by names that the report gives."""

    def __attrs_post_init__(self) -> None:
        """Begin with no line."""
        self.history = EventHistory(self.watch, IN_SECTORS)

    def note(self, node: str, what: str) -> None:
        """Write a line of what happens around the cores."""
        self.history.noted(self.now_s(), node, what)

    def stepped(self, step: Stepped) -> None:
        """Write a line of what a core takes and orders."""
        written = dict(_told_sectors(*step.written)) if step.written else None
        read = {number: told_blocks(dict(_told_sectors(*each))) for number, each in step.read.items()}
        self.history.stepped(
            self.now_s(), step.after.me, step.before, step.after, step.event, step.ordered, written, read
        )


def _told_sectors(offset: int, data: bytes) -> Iterator[tuple[int, int | str]]:
    """Each sector from an offset on, with the number of the write that it is from."""
    for place in range(0, len(data), SECTOR_BYTES):
        try:
            number: int | str = number_of(data[place : place + SECTOR_BYTES])
        except AssertionError:
            number = "no write"
        yield (offset + place) // SECTOR_BYTES, number
