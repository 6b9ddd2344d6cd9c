"""What a client asked of a block and was told, and what a check of many such operations finds."""

import math
from typing import Final

import attrs

from ctlha_trio.pair import OperationKind, Outcome

ZEROS: Final = 0
"""The value that every block has before the first write."""

NOT_EXECUTED: Final = frozenset(Outcome) - {Outcome.DONE, Outcome.UNKNOWN}
"""Nothing was written, and nothing will be."""
ANSWERED: Final = frozenset({Outcome.DONE, Outcome.MISCOMPARE})
"""It tells what the block held at some time between call and return, or what it held from then on."""


def told_time(moment: float) -> str:
    """As a log shows it, to the microsecond; a count as it is."""
    return f"{moment:.6f}".rstrip("0").rstrip(".")


@attrs.frozen(kw_only=True)
class ClientOperation:
    """One read, write or compare-and-write of one block; on several blocks it is one for each, with the same ticket.

    The times may be of a virtual clock or count what happened; equal times say nothing about an order.
    """

    ticket: int
    """Whatever names it in a log; only shown."""
    client: str = ""
    """Who asked, and whom, in words; only shown."""
    kind: OperationKind
    block: int
    value: int = ZEROS
    """What a write writes, what a read has found. Means nothing in a read that was not answered."""
    expected: int = ZEROS
    """What a compare-and-write must find, or it writes nothing."""
    called: float
    returned: float = math.inf
    """When it was certainly over. For an unknown outcome: by then it had taken effect, or it never will."""
    outcome: Outcome = Outcome.UNKNOWN

    def takes_effect_on(self, held: int) -> int | None:
        """What a block that held this holds after the operation; None if then it cannot be what the client was told."""
        match self.kind:
            case OperationKind.READ:
                return held if held == self.value else None
            case OperationKind.COMPARE_AND_WRITE if self.outcome is Outcome.MISCOMPARE:
                return held if held != self.expected else None
            case OperationKind.COMPARE_AND_WRITE:
                return self.value if held == self.expected else None
            case _:
                return self.value

    @property
    def changes(self) -> bool:
        """Whether its effect, if it has one, is to change the block."""
        return self.kind is not OperationKind.READ and self.outcome is not Outcome.MISCOMPARE

    def __str__(self) -> str:
        """In words."""
        if self.called == -math.inf:
            return "what every block holds before the first write"
        by = f" by {self.client}" if self.client else ""
        over = f" over {self.expected}" if self.kind is OperationKind.COMPARE_AND_WRITE else ""
        asked = f"{self.kind.name.lower()} of {self.value}{over}{by} (ticket {self.ticket})"
        asked = f"{asked}, called at {told_time(self.called)}"
        return f"{asked}, {self._answer}"

    @property
    def _answer(self) -> str:
        over, when = self.returned < math.inf, told_time(self.returned)
        if self.outcome is Outcome.MISCOMPARE:
            return f"miscompared at {when}"
        if self.outcome in NOT_EXECUTED:
            return f"said at {when} not to have been executed"
        if self.outcome is Outcome.DONE:
            return f"done at {when}" if over else "just now"
        return f"over at {when}, outcome unknown" if over else "outcome never known"


@attrs.frozen
class Evidence:
    """One step of the proof that a history cannot be."""

    remark: str
    operation: ClientOperation


@attrs.frozen
class Violation:
    """Answers that no order of one block's operations explains."""

    block: int
    what: str
    evidence: tuple[Evidence, ...]
    """The operations that contradict each other; all others of the block may be left out."""

    def __str__(self) -> str:
        """What is wrong, then a line for each operation that shows it."""
        width = max((len(each.remark) for each in self.evidence), default=0)
        lines = (f"  {each.remark:{width}}  {each.operation}" for each in self.evidence)
        return "\n".join((f"block {self.block}: {self.what}", *lines))


@attrs.frozen(kw_only=True)
class Verdict:
    """The end of a check. Whoever wants a yes or no calls ``require``: undecided is not a yes."""

    violations: tuple[Violation, ...] = ()
    """One at the most for each block."""
    undecided: tuple[int, ...] = ()
    """Blocks whose search was given up at its limit of steps: the test that made this history has to be changed."""
    steps: int = 0
    """Of the searches; blocks in which every written value is unique need none."""

    @property
    def linearizable(self) -> bool:
        """Whether every block was decided and none is wrong."""
        return not self.violations and not self.undecided

    def require(self) -> None:
        """``AssertionError`` that says what is wrong, or that it is unknown, unless the history is linearizable."""
        problems = [str(violation) for violation in self.violations]
        if self.undecided:
            blocks = ", ".join(map(str, self.undecided))
            problems.append(f"undecided after {self.steps} steps, so the test proves nothing: block {blocks}")
        if problems:
            raise AssertionError("\n".join(problems))
