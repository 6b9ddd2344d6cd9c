"""What the peer's clients want to change: kept, or refused by what only the driver knows, and told to the core."""

from collections.abc import Callable

import attrs

from ctlha_trio.ha._client_requests import ClientRequests
from ctlha_trio.ha._outbox import Outbox
from ctlha_trio.ha._record_work import RecordWork
from ctlha_trio.pair import Kept, OperationKind, Outcome, PairState, decode_record, events, messages
from ctlha_trio.wire import Feature


@attrs.define(eq=False)
class PeerProposals:
    """For the driver, of which it has everything."""

    _requests: ClientRequests
    _records: RecordWork
    _outbox: Outbox
    _feed: Callable[[events.Event], None]
    _state: Callable[[], PairState]

    def heard(self, proposal: messages.Propose, data: bytes) -> None:
        """The peer proposes. The room that the data takes in the ring is given back at once if it has to wait.

        What it waits for may be to come through the same ring. One that is under way here and comes again is never
        refused: what becomes of it the core has in hand.
        """
        known = proposal.number in self._requests.proposals
        refusal = None if known else self._keep(proposal, data)
        if refusal is not None:
            self._outbox.say(messages.Unexecuted(proposal.epoch, proposal.number, refusal, 0))
            return
        self._feed(events.Received(proposal))
        if any(flight.taken == proposal.number and not flight.sequence for flight in self._state().flights):
            self._outbox.say(Kept(proposal.epoch, proposal.number))

    def _keep(self, proposal: messages.Propose, data: bytes) -> Outcome | None:
        """Keep what is proposed, or tell why it must not be executed."""
        operation = proposal.operation
        if self._requests.has_turned_here(operation):
            return Outcome.SUPERSEDED if self._outbox.may_say(Feature.SUPERSEDED) else Outcome.NOT_PRIMARY
        if operation.kind is OperationKind.PUT_RECORD:
            record = decode_record(data)
            operation, data = attrs.evolve(operation, key=record.key), record.value
            if not self._records.has_room(record.key, data):
                return Outcome.FAILED
        self._requests.keep_proposal(proposal.number, operation, data)
        return None

    def forget_ended(self) -> None:
        """Keep the data of what is under way."""
        kept = self._requests.proposals
        for number in kept.keys() - {flight.taken for flight in self._state().flights} if kept else ():
            del kept[number]
