"""What the arbiter's answers mean: reads, swaps won and lost, swaps that are unknown until the revision moves."""

import attrs

from ctlha_trio._errors import LocalProtocolError
from ctlha_trio.pair import (
    _admission as admission,
    _force as force,
    _handover as handover,
    _membership as membership,
    _sessions as sessions,
    actions as act,
    events as ev,
)
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._record import Record, SwapOutcome
from ctlha_trio.pair._state import UNTAKEN_MAX, PairState, Stage, SwapAttempt
from ctlha_trio.pair._step import ARBITER_RETRY_S, Step

_FOLLOWS_RECORD = frozenset({Phase.BOOTING, Phase.WAITING, Phase.OUTDATED})
"""Phases in which a newer record is simply acted on."""
_ENDED = frozenset({Phase.STOPPED, Phase.LEFT})
"""Phases for which no answer matters any more."""


def record_read(step: Step, event: ev.RecordRead) -> None:
    """The record as it was at some moment after the question."""
    state = step.state
    if event.takes_changes is not None:
        _note_answer(step, taken=event.takes_changes)
        step.change(proved=event.takes_changes)
    step.change(reading=False, arbiter_answers=True)
    if state.phase in _ENDED:
        return
    revision, epoch = state.asked_at
    if event.revision < revision or event.record.epoch < epoch or _contradicts(event.record, event.revision, state):
        membership.stop(step, "arbiter-went-back")
    elif state.is_denied(event.record, event.revision, state.asked_heard):
        # The peer had a later one from the arbiter before this was asked.
        membership.stop(step, "arbiter-went-back")
    elif state.is_denied(event.record, event.revision, state.words):
        # It has told of a later one since.
        step.read_record()
    elif event.revision < state.revision:
        # The answer was on its way while the peer told of a newer record.
        pass
    elif state.swap is not None:
        _resolve(step, state.swap, event.record, event.revision)
    elif state.phase is Phase.BOOTING:
        membership.decide(step, event.record, event.revision, "booted")
    elif event.revision > state.revision:
        if state.phase in _FOLLOWS_RECORD:
            membership.decide(step, event.record, event.revision, "read a newer record")
        else:
            membership.displaced(step, event.record, event.revision)


def _contradicts(record: Record, revision: int, state: PairState) -> bool:
    """Whether it has another content than the one that is known of its revision, or of its epoch."""
    known = state.record
    if known is None or (record.epoch, record.proposal) == (known.epoch, known.proposal):
        return False
    return revision == state.revision or (record.lineage, record.epoch) == (known.lineage, known.epoch)


def read_failed(step: Step) -> None:
    """No answer: ask again, for as long as it takes."""
    step.change(reading=False, arbiter_answers=False)
    if step.state.phase is Phase.BOOTING or step.state.swap is not None:
        step.set_timer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S)


def retry(step: Step) -> None:
    """Time to ask again after a failure."""
    if step.state.phase is Phase.ALONE:
        admission.try_again(step)
        if step.state.resync is not None and not step.state.arbiter_takes:
            step.read_record()
    if step.state.phase is Phase.BOOTING or (step.state.swap is not None and not step.state.swap.calling):
        step.read_record()


def swapped(step: Step, event: ev.Swapped) -> None:
    """The answer to a swap. Only a moved revision ends doubt; a lost swap may have been applied by an earlier try."""
    attempt = step.state.swap
    if attempt is None or attempt.record.proposal != event.proposal or step.state.phase in _ENDED:
        return
    _note_answer(step, taken=event.outcome in {SwapOutcome.WON, SwapOutcome.LOST})
    match event.outcome:
        case SwapOutcome.WON:
            if event.revision is None:
                raise LocalProtocolError("a swap that was won has a revision")
            if step.state.is_denied(attempt.record, event.revision, step.state.words):
                # Long past, or won from an arbiter that went back: what it shows tells which.
                step.change(swap=attrs.evolve(attempt, calling=False, doubtful=True))
                step.read_record()
            else:
                _won(step, attempt.record, event.revision)
        case SwapOutcome.LOST:
            step.change(swap=attrs.evolve(attempt, calling=False, doubtful=True))
            step.read_record()
        case SwapOutcome.UNKNOWN:
            step.change(swap=attrs.evolve(attempt, calling=False, doubtful=True))
            step.set_timer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S)
        case SwapOutcome.REFUSED:
            step.change(swap=attrs.evolve(attempt, calling=False))
            if attempt.doubtful:
                step.set_timer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S)
            else:
                _certainly_not(step)


def _note_answer(step: Step, *, taken: bool) -> None:
    """One change that is not taken may be the first sign of an arbiter that is silent; after that, reads tell."""
    state = step.state
    if taken:
        step.change(arbiter_answers=True, untaken=0)
    else:
        answers = state.arbiter_answers and state.untaken > 0
        step.change(arbiter_answers=answers, untaken=min(state.untaken + 1, UNTAKEN_MAX))


def _certainly_not(step: Step) -> None:
    match step.state.phase:
        case Phase.CLAIMING if step.state.forcing:
            force.refused(step)
        case Phase.CLAIMING if step.state.renewing:
            admission.not_renewed(step)
        case Phase.CLAIMING if step.state.partner and _may_resume(step):
            membership.unclaim(step)
        case Phase.ADMITTING:
            admission.refused(step)
        case Phase.HANDING_OVER:
            handover.refused(step)
        case _:
            step.set_timer(ev.Timer.ARBITER_RETRY, ARBITER_RETRY_S)


def _may_resume(step: Step) -> bool:
    """Whether the peer may still be the one that this node was paired with. Otherwise only another try helps."""
    state = step.state
    if not state.session:
        return True
    return state.session == state.partner and (state.standing is None or sessions.still_paired(step, state.standing))


def _resolve(step: Step, attempt: SwapAttempt, record: Record, revision: int) -> None:
    if attempt.calling:
        return
    if revision == attempt.expected_revision:
        if step.state.stage is Stage.PERSISTING:
            # It waits for this node's disk, and nobody was asked yet.
            return
        # Unmoved is unknown. The same proposal again: whichever try lands first moves the revision, the rest lose.
        step.change(swap=attrs.evolve(attempt, calling=True))
        step.do(act.Swap(attempt.expected_revision, attempt.record))
        return
    # It took a change, whoever's: what it did not take before was not refused.
    step.change(untaken=0)
    if record.proposal == attempt.record.proposal:
        _won(step, record, revision)
    else:
        why = f"{record.primary} won epoch {record.epoch}"
        step.change(swap=None)
        # Also if that was this node, by an earlier swap: it goes on in its line, which nobody has forced.
        # A record that descends from what was forced says that it was taken, whatever has followed on it.
        step.end_force("" if attempt.record.lineage in {record.lineage, *record.ancestors} else why)
        membership.decide(step, record, revision, why)


def _won(step: Step, record: Record, revision: int) -> None:
    step.change(swap=None, record=record, revision=revision, renewing=False)
    match step.state.phase:
        case Phase.CLAIMING:
            membership.secure(step)
        case Phase.ADMITTING:
            admission.won(step)
        case Phase.HANDING_OVER:
            handover.won(step)
        case phase:
            raise LocalProtocolError(f"a swap was won in {phase.name}, which proposes none")
