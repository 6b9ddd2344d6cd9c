"""Room for records: of a put that a node did not accept as primary nobody knows whether it has any."""

from collections.abc import Iterator
from random import Random
from typing import Final

import attrs

from ctlha_trio.pair import OperationKind, PairState, actions as act, events as ev

FULL_CHANCE: Final = 0.3
"""That there is no room for a put."""


@attrs.define(eq=False)
class SimulatedRoom:
    """At both nodes. The records of a simulated pair take none, so it is chance that says what the driver would."""

    random: Random
    refused: set[int] = attrs.Factory(set)
    """Tickets of puts for which there was none."""
    _sure: set[tuple[str, int]] = attrs.Factory(set)
    """By node and ticket: puts that have room beside all that was accepted since that node is primary."""

    def answers(self, node: str, ordered: tuple[act.Action, ...]) -> Iterator[ev.RoomChecked]:
        """To what was asked among these orders, each only once the one before was heard."""
        yield from (self.check(node, each) for each in ordered if isinstance(each, act.CheckRoom))

    def check(self, node: str, call: act.CheckRoom) -> ev.RoomChecked:
        """As the driver: at once."""
        refused = tuple(ticket for ticket in call.tickets if self.random.random() < FULL_CHANCE)
        self.refused.update(refused)
        self._sure.update((node, ticket) for ticket in call.tickets if ticket not in refused)
        return ev.RoomChecked(call.tickets, refused)

    def stepped(self, node: str, after: PairState, event: ev.Event, ordered: tuple[act.Action, ...]) -> None:
        """A core took an event and gave orders, which have not been carried out."""
        if not after.primary:
            if self._sure:
                self._sure = {each for each in self._sure if each[0] != node}
            return
        if isinstance(event, ev.Submitted) and event.operation.kind is OperationKind.PUT_RECORD:
            self._sure.add((node, event.ticket))
        for action in ordered:
            if isinstance(action, act.StoreRecord) and not action.taken and (node, action.ticket) not in self._sure:
                raise AssertionError(f"{node} puts record {action.ticket}, for which there may be no room")
