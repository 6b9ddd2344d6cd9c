"""Compare-and-write: compared on the primary alone, under the range lock; then a write like any other, or a miscompare.

It begins as a read: under a permit, the range is what clients were told last, so that a miscompare is true. What was
found as expected is a write from then on, with a sequence of its own.
"""

from ctlha_trio.pair import _reads as reads, _service as service, events as ev
from ctlha_trio.pair._phase import SERVING
from ctlha_trio.pair._step import Step


def compared(step: Step, event: ev.StoredCompared) -> None:
    """The range was compared. A comparison that began anew since has another number by now."""
    flight = reads.by_fetch(step, event.fetch)
    if flight is None:
        return
    if event.miscompare_at is not None:
        service.replace(step, flight, flight.but(here=True, miscompare_at=event.miscompare_at))
        service.advance(step)
    elif step.state.phase in SERVING:
        write = flight.but(equal=True, fetch=0)
        service.replace(step, flight, write)
        service.start_write(step, write)
    else:
        # Operations are held for a change of roles or members, and nothing was written: it waits like those behind it.
        service.replace(step, flight, reads.not_begun(flight))
