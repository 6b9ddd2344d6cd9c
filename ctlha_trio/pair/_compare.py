"""Compare-and-write: compared on the primary alone, under the range lock; then a write like any other, or a miscompare.

The comparison needs no proof of its own that this node still counts. If it found what the client expects, what follows
is a write in this epoch, and no node acknowledges one before every member has it; had another node gone on meanwhile,
the write would end unknown and never take effect. A miscompare is an answer about what the volume holds, as that of a
read, and needs what a read needs.
"""

import attrs

from ctlha_trio.pair import _service as service, events as ev
from ctlha_trio.pair._phase import SERVING
from ctlha_trio.pair._step import Step


def compared(step: Step, event: ev.StoredCompared) -> None:
    """The range was compared. One begun before the session was lost has another sequence by now, or none."""
    flight = service.by_sequence(step, event.sequence)
    if flight is None:
        return
    state = step.state
    found = attrs.evolve(flight, here=True, miscompare_at=event.miscompare_at)
    if event.miscompare_at is not None and (state.phase in SERVING or service.is_proved(state, found)):
        service.replace(step, flight, found)
        service.advance(step)
    elif state.phase in SERVING:
        write = attrs.evolve(flight, equal=True)
        service.replace(step, flight, write)
        service.start_write(step, write)
    else:
        # Operations are held for a change of roles or members, and nothing was written: it waits like those behind it.
        service.replace(step, flight, service.unstarted(flight))


def forget_unproved(step: Step) -> None:
    """Operations are to be held, and no proof is asked for meanwhile: miscompares without one are compared anew."""
    flights = step.state.flights
    kept = (
        service.unstarted(f) if f.miscompare_at is not None and not service.is_proved(step.state, f) else f
        for f in flights
    )
    step.change(flights=tuple(kept))
