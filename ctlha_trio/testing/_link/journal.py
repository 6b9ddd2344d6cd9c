"""What happens in a run of links: its lines, what was reached, and what is wrong."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio.testing._core.log import EventHistory, EventLine
from ctlha_trio.testing._link.atlas import Situation

EVERYWHERE: Final = "-"
"""Stands for the end of what happens to no single one."""
LINK_TIMELINE_HEADER: Final = f"{'line':>7} {'time_s':>12}  end event"


@attrs.define(eq=False)
class Journal:
    """Grows with the run."""

    now_s: Callable[[], float]
    """Virtual seconds since the run began."""
    watch: Callable[[EventLine], None] | None
    """Told of every line."""
    stop: Callable[[], None]
    """Ends the run."""
    history: EventHistory = attrs.field(init=False)
    counts: Counter[str] = attrs.field(factory=Counter, init=False)
    """How often what happened, by names that the report gives."""
    reached: set[Situation] = attrs.field(factory=set, init=False)
    problem_found: str = attrs.field(default="", init=False)
    """The first: what is cut short by it says nothing more."""

    def __attrs_post_init__(self) -> None:
        """Begin with no line."""
        self.history = EventHistory(self.watch)

    def note(self, name: str, what: str) -> None:
        """Write a line, unless all is over."""
        if self.problem_found:
            return
        self.counts["events"] += 1
        self.history.noted(self.now_s(), name, what)

    def reach(self, situation: Situation, *, if_so: bool = True) -> None:
        """It has come about."""
        if if_so:
            self.reached.add(situation)

    def problem(self, text: str) -> None:
        """Something is wrong: keep it and end the run."""
        self.note(EVERYWHERE, f"PROBLEM {text}")
        self.problem_found = self.problem_found or text
        self.stop()
