"""One step of the core: the state so far and the actions ordered so far, with the few ways of changing them."""

from typing import TypedDict, Unpack

import attrs

from ctlha_trio._errors import LocalProtocolError
from ctlha_trio.pair import actions as act
from ctlha_trio.pair._metadata import Copy, Metadata
from ctlha_trio.pair._phase import TRANSITIONS, Phase
from ctlha_trio.pair._plan import Setback
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._record import Record
from ctlha_trio.pair._state import Flight, Mirrored, PairState, Resync, Stage, SwapAttempt, changed
from ctlha_trio.pair._verification import Verification
from ctlha_trio.pair.events import Timer
from ctlha_trio.pair.messages import Message, Standing
from ctlha_trio.wire import KnownRecord

ARBITER_RETRY_S = 0.25
"""Between two tries of an arbiter that does not answer: four a second do not burden it."""

_SETBACKS = {Phase.SUSPENDED: Setback.PEER_LOST, Phase.CLAIMING: Setback.PEER_LOST}
"""Of a handover that ends in another phase than it began in."""
_RENEWS = frozenset({Phase.CLAIMING, Phase.SECURING, Phase.ALONE})
_PROVES = frozenset({Phase.MIRRORING, Phase.FOLLOWING, Phase.ALONE})
"""Phases in which a node serves, and may propose nothing for years: whether an arbiter that did not take a change takes
them again, only a proof can tell."""


class Changes(TypedDict, total=False):
    """The parts of the state that a step may change."""

    metadata: Metadata
    stage: Stage
    record: Record | None
    revision: int
    reading: bool
    asked_at: tuple[int, int]
    heard: KnownRecord | None
    asked_heard: tuple[KnownRecord, ...]
    arbiter_answers: bool
    untaken: int
    proved: bool
    swap: SwapAttempt | None
    forcing: bool
    renewing: bool
    proposals: int
    persisting: Metadata | None
    persists: int
    session: int
    sessions: int
    standing: Standing | None
    partner: int
    flights: tuple[Flight, ...]
    next_sequence: int
    last_pushed: int
    last_sequence: int
    unsettled: tuple[Mirrored, ...]
    refused: frozenset[int]
    storing: frozenset[int]
    fetches: int
    proposed: int
    taken: int
    granted: bool
    settled_wanted: int
    settled_asked: int
    resync: Resync | None
    admission_held: bool
    told_ranges: tuple[Range, ...]
    base_epoch: int
    verification: Verification | None
    handover_attempt: int


@attrs.define(eq=False)
class Step:
    """Built from a state, thrown away after one event."""

    state: PairState
    actions: list[act.Action] = attrs.Factory(list)
    moved: bool = False
    """The phase was entered anew: the peer is told at the end of the step, of where it led to and not of the way."""

    def change(self, **changes: Unpack[Changes]) -> None:
        """Replace parts of the state; never the phase."""
        self.state = changed(self.state, **changes)

    def do(self, action: act.Action) -> None:
        """Order an action behind those ordered so far."""
        self.actions.append(action)

    def send(self, message: Message) -> None:
        """Order a message, if there is a session to carry it."""
        if self.state.session:
            self.do(act.Send(message))

    def move(self, phase: Phase, why: str, stage: Stage = Stage.NONE, *, setback: Setback | None = None) -> None:
        """Enter a phase, legally, and tell the peer and the supervisor. ``setback``: of a handover that is given up."""
        if phase is not self.state.phase and phase not in TRANSITIONS[self.state.phase]:
            raise LocalProtocolError(f"no way from {self.state.phase.name} to {phase.name}: {why}")
        if self.state.phase is Phase.HANDING_OVER and phase is not Phase.HANDING_OVER:
            self.do(self._handover_end(why, setback or _SETBACKS.get(phase)))
        if phase is not Phase.CLAIMING:
            self.end_force("" if phase is Phase.SECURING else why)
        if phase not in _RENEWS:
            self.change(renewing=False)
        self.state = changed(self.state, phase=phase, stage=stage, why=why)
        self.moved = True
        self.do(act.Moved(phase, self.state.epoch, why))

    def _handover_end(self, why: str, setback: Setback | None) -> act.HandoverEnded:
        """What is won is done, whatever becomes of this node and of the peer then."""
        state = self.state
        if state.stage is Stage.RECORDING:
            return act.HandoverEnded("")
        # Only another record of its epoch tells that it was not taken. A later one may have followed it, and one that
        # cannot be right, of which nothing is kept, says nothing.
        another = state.swap is None and state.record is not None and state.record.epoch == state.metadata.epoch + 1
        unknown = state.stage is Stage.SWAPPING and not another
        return act.HandoverEnded(why, None if unknown else setback, unknown=unknown)

    def end_force(self, problem: str) -> None:
        """What a person forces, if anything, is done or, with a problem, has not come about."""
        if self.state.forcing:
            self.do(act.ForceEnded(problem))
            self.change(forcing=False)

    def tell_standing(self) -> None:
        """Tell the peer where this node stands."""
        state = self.state
        lineage = "" if state.record is None else state.record.lineage
        self.send(Standing(state.epoch, state.revision, state.phase, state.partner, lineage, state.primary))

    def persist(self, copy: Copy, *, base_epoch: int | None = None, proposal: str = "") -> None:
        """Make the record acted on, and what the copy is worth, durable; ``base_epoch`` if that changes.

        ``proposal`` is that of the record to which this copy is about to agree.
        """
        state = self.state
        record = state.record
        if record is None:
            raise LocalProtocolError("nothing to persist before a record is known")
        metadata = attrs.evolve(
            state.metadata,
            lineage=record.lineage,
            ancestors=record.ancestors,
            epoch=record.epoch,
            revision=state.revision,
            primary=record.primary,
            members=record.members,
            copy=copy,
            base_epoch=self._synced_epoch(record) if base_epoch is None else base_epoch,
            proposed=(proposal,) if proposal else (),
            in_doubt=0,
            heard=self._still_heard(record),
        )
        self._persist(metadata)

    def _still_heard(self, record: Record) -> KnownRecord | None:
        """What a disk that knows this record must still know of the peer's words."""
        of_peer = record.primary == self.state.peer
        words = [each for each in self.state.words if each.lineage == record.lineage]
        unknown = [each for each in words if (each.epoch, each.leads is not of_peer) > (record.epoch, False)]
        return max(unknown, key=lambda each: each.epoch, default=None)

    def hear(self, word: KnownRecord) -> None:
        """The arbiter has shown this record, to the peer or here: remember it, durably if it is the latest known here.

        A node that knows of it is no node any more which an older record could mislead. Nor could one of the line of
        its copy, once it knows that a person has begun another one from that: words of the old line teach it nothing.
        """
        state = self.state
        heard, newest = state.heard, state.persisting or state.metadata
        line, ancestors = newest.later_line or newest.lineage, word.ancestors
        word = attrs.evolve(word, ancestors=())
        if heard is None or heard.lineage != word.lineage or heard.epoch <= word.epoch:
            self.change(heard=word)
        if newest.knows_of(word):
            return
        if line in (word.lineage, *ancestors) or (state.record is not None and word.lineage == state.record.lineage):
            self._persist(attrs.evolve(newest, heard=word))

    def note_apart(self) -> None:
        """Make it durable that the peer's copy knows another record of this copy's epoch, wherever it is by now."""
        newest = self.state.persisting or self.state.metadata
        self._persist(attrs.evolve(newest, heard=KnownRecord(newest.lineage, newest.epoch, 0, leads=True)))

    def _persist(self, metadata: Metadata) -> None:
        self.change(persisting=metadata, persists=self.state.persists + 1)
        self.do(act.Persist(metadata))

    def _synced_epoch(self, record: Record) -> int:
        newest = self.state.persisting or self.state.metadata
        return newest.synced_epoch if newest.lineage == record.lineage else 0

    def read_record(self) -> None:
        """Ask the arbiter, unless it is being asked. One that did not take a change is to prove that it takes them."""
        state = self.state
        if not state.reading:
            known = max(state.revision, state.metadata.revision), max(state.epoch, state.metadata.epoch)
            self.change(reading=True, asked_at=known, asked_heard=state.words)
            self.do(act.ReadRecord(proves=state.untaken > 0 and state.phase in _PROVES))

    def propose(self, *, primary: str, members: tuple[str, ...]) -> None:
        """Start a swap from the record known to its successor, of which both members' disks know."""
        record = self.successor(primary=primary, members=members)
        self._begin_swap(record, calling=True)
        self.do(act.Swap(self.state.revision, record))

    def successor(self, *, primary: str, members: tuple[str, ...]) -> Record:
        """Of the record known, with the next proposal."""
        if self.state.record is None:
            raise LocalProtocolError("a swap needs a known record")
        return self.state.record.succeed(primary=primary, members=members, proposal=self.state.next_proposal)

    def intend(self, record: Record, *, in_doubt: int = 0) -> None:
        """Make it durable that this node is about to propose this record, which bears ``next_proposal``.

        Only a disk that knows of it is the one for which it was proposed. What this process proposed before on the
        same record was certainly refused.
        """
        newest = self.state.persisting or self.state.metadata
        own = f"{self.state.incarnation:016x}"
        self._begin_swap(record, calling=False)
        won = self.state.record.proposal if self.state.record is not None else ""
        intended = newest.intend(record.proposal, instead_of=own, won=won)
        self._persist(attrs.evolve(intended, in_doubt=in_doubt or newest.in_doubt))

    def call_swap(self) -> None:
        """What was intended is durable: propose it."""
        attempt = self.state.swap
        if attempt is None:
            raise LocalProtocolError("nothing is intended")
        if self.state.is_behind:
            # Told of a later record while this waited for the disk: the arbiter is to show it.
            self.change(swap=attrs.evolve(attempt, calling=False), stage=Stage.SWAPPING)
            self.read_record()
            return
        self.change(swap=attrs.evolve(attempt, calling=True), stage=Stage.SWAPPING)
        self.do(act.Swap(attempt.expected_revision, attempt.record))

    def _begin_swap(self, record: Record, *, calling: bool) -> None:
        state = self.state
        if state.swap is not None:
            raise LocalProtocolError("there is a swap under way")
        swap = SwapAttempt(state.revision, record, calling=calling)
        self.change(proposals=state.proposals + 1, swap=swap, proved=False)

    def set_timer(self, timer: Timer, delay_s: float) -> None:
        """Start or restart a timer."""
        self.do(act.SetTimer(timer, delay_s))

    def cancel_timer(self, timer: Timer) -> None:
        """Make sure that a timer does not fire."""
        self.do(act.CancelTimer(timer))
