"""What the door needs of a node."""

from collections.abc import Callable
from typing import Protocol

from ctlha_trio.ha import Notice, Rehearsal, Status
from ctlha_trio.pair import FailoverPlan, OperationKind, Outcome, Plan, Record
from ctlha_trio.seams import Buffer


class DoorAnswer(Protocol):
    """How an operation ended."""

    @property
    def outcome(self) -> Outcome:
        """Done, or one of the answers to what was not, or not certainly, done."""

    @property
    def data(self) -> Buffer:
        """What a read found; empty otherwise."""

    @property
    def miscompare_at(self) -> int | None:
        """With MISCOMPARE, in bytes from the operation's offset, the first that is not what was expected."""


class DoorNode(Protocol):
    """The operations of a node that its door offers."""

    async def submit(
        self,
        kind: OperationKind,
        *,
        client: int,
        number: int,
        offset: int = 0,
        size: int = 0,
        data: Buffer = b"",
        key: str = "",
    ) -> DoorAnswer:
        """Execute one operation. ``InvalidError`` if it cannot be one."""

    def status(self) -> Status:
        """What the node believes of itself and of the pair."""

    async def switchover(self) -> None:
        """Hand the role over. ``RoleStaysError`` with its causes, or another ``FailedError``, if it stays."""

    def follow_records(self, follow: Callable[[Record | None, Record, int, str], None]) -> None:
        """Call ``follow`` for each record that the node begins to act on: the one before, it, its revision, and why."""

    def follow_notices(self, follow: Callable[[Notice], None]) -> None:
        """Call ``follow`` for each stop of the node and each refusal."""

    def rehearse_switchover(self) -> Rehearsal:
        """What ``switchover`` would do, of which nothing is done."""

    def rehearse_failover(self) -> FailoverPlan:
        """What would follow if the other node died now."""

    @property
    def lineage(self) -> str:
        """Of the record that the node acts on; empty while it knows none."""

    @property
    def revision(self) -> int:
        """Of that record; 0 while it knows none."""

    def verify(self) -> int:
        """Begin to compare both copies; its number. ``FailedError`` with the reason if that cannot be."""

    def plan_force(self, abandon: str) -> Plan:
        """What ``force_primary`` would change. ``CtlHaError`` with the reason why it cannot be forced."""

    async def force_primary(self, plan: Plan) -> None:
        """Make this node the only one that counts. ``FailedError`` with the reason if that did not succeed."""
