"""The comparison of two copies that are both in use: range after range, each held while both nodes read it.

What a copy's checksums tell is repaired from the other one. A range that both give as it was written, and that is not
the same, is reported and left alone: nothing tells which of the two is right.
"""

import attrs

from ctlha_trio.pair import _service as service, actions as act, messages as msg
from ctlha_trio.pair._operation import Operation, OperationKind
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._range import Range
from ctlha_trio.pair._state import COPY_CHUNK_BYTES, RANGE_UNIT_BYTES, Flight
from ctlha_trio.pair._step import Step
from ctlha_trio.pair._verification import FINDINGS_LIMIT, Finding, Verification
from ctlha_trio.pair.events import Timer

VERIFY_REST_S = 0.02
"""After each range, of which there is one at a time, while clients are served: most of the time the disks are theirs
alone, and a pass still ends."""

_MAY_GO_ON = frozenset({Phase.MIRRORING, Phase.HANDING_OVER, Phase.SUSPENDED, Phase.CLAIMING})
"""Phases from which this node may come to be the primary of the same two members again, in the same epoch."""


def asked(step: Step) -> None:
    """Begin, or go on where the last pass was interrupted, if both copies are still those that it compared.

    A peer that started again may do so with another file, of which nothing else tells.
    """
    state = step.state
    last = state.verification
    if last is not None and last.running:
        return
    if state.phase is not Phase.MIRRORING:
        step.do(act.VerificationEnded("this node is not the primary of two members in sync"))
        return
    number = last.number + 1 if last is not None else 1
    verification = Verification(number, state.partner)
    if last is not None and last.goes_on_with(state.partner):
        verification = attrs.evolve(last, number=number, running=True, why="", resting=False)
    step.change(verification=verification)


def forget(step: Step) -> None:
    """One of the two copies is made anew: what was compared and found was of another one."""
    last = step.state.verification
    if last is not None:
        step.change(verification=Verification(last.number, running=False, why="a copy was made anew"))


def go_on(step: Step) -> None:
    """Compare the next range, once nothing speaks against it; end if the pair is not the one that it began in."""
    state = step.state
    verification = state.verification
    if verification is None or not verification.running:
        return
    if state.phase not in _MAY_GO_ON:
        _end(step, verification, f"the pair changed: {state.why}")
        return
    under_way = any(f.operation.kind is OperationKind.VERIFY for f in state.flights)
    if state.phase is not Phase.MIRRORING or under_way or verification.resting:
        return
    where = _next_range(verification, state.size_bytes)
    if where is None:
        _end(step, verification, "")
        return
    step.change(flights=(*state.flights, Flight(0, Operation(OperationKind.VERIFY, 0, 0, *where))))
    service.advance(step)


def _next_range(verification: Verification, size_bytes: int) -> Range | None:
    if verification.left:
        return verification.left[0]
    size = min(COPY_CHUNK_BYTES, size_bytes - verification.cursor)
    return (verification.cursor, size) if size else None


def _end(step: Step, verification: Verification, why: str) -> None:
    others = tuple(f for f in step.state.flights if f.operation.kind is not OperationKind.VERIFY)
    step.change(verification=attrs.evolve(verification, running=False, why=why), flights=others)
    step.do(act.VerificationEnded(why))


def compared(step: Step, message: msg.Compared) -> None:
    """The secondary told whether its range is the same."""
    flight = service.by_sequence(step, message.sequence)
    verification = step.state.verification
    if flight is None or flight.operation.kind is not OperationKind.VERIFY or verification is None:
        return
    offset, size = where = flight.operation.offset, flight.operation.size
    service.replace(step, flight, None)
    if message.equal:
        verification = verification.compared(where)
    elif size > RANGE_UNIT_BYTES and len(verification.found) < FINDINGS_LIMIT:
        parts = ((start, min(RANGE_UNIT_BYTES, offset + size - start)) for start in _units(offset, size))
        verification = verification.compared(where, tuple(parts))
    else:
        verification = verification.compared(where).note(Finding.DIFFERS, where)
    if any(f.ticket for f in step.state.flights):
        verification = attrs.evolve(verification, resting=True)
        step.set_timer(Timer.VERIFY_REST, VERIFY_REST_S)
    step.change(verification=verification)
    service.advance(step)


def _units(offset: int, size: int) -> range:
    return range(offset, offset + size, RANGE_UNIT_BYTES)


def rested(step: Step) -> None:
    """Clients have had the disks to themselves."""
    if step.state.verification is not None:
        step.change(verification=attrs.evolve(step.state.verification, resting=False))
