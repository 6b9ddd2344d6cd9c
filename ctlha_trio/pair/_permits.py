"""Permits: while a member holds one, the member that granted it acknowledges nothing without the holder.

So what a holder's disk has is what was acknowledged last, and it may be read without asking anybody. The core knows no
time: whoever reads keeps the time of the permit that it holds, and whoever granted one waits until a timer, set anew
with each grant, has run out before it serves without the other.
"""

from typing import Final

from ctlha_trio.pair import events as ev, messages as msg
from ctlha_trio.pair._phase import MEMBERS, Phase
from ctlha_trio.pair._step import Step

PERMIT_S: Final = 0.2
"""How long a permit lasts, on the holder's clock, from the sending of the request for it.

No message carries it: both nodes take it from their own version. A longer one, or clocks that may differ less, needs a
version of the protocol that does not mix with this one, for a granter of before would not wait until it is over."""
CLOCKS_DIFFER: Final = 0.25
"""The rates of two nodes' clocks differ by no more than this share. Sound ones differ by a ten-thousandth."""
PERMIT_OUT_S: Final = PERMIT_S * (1 + CLOCKS_DIFFER)
"""When a permit that was granted is over, on the granter's clock, from the grant: the request was sent before that.

No longer than a secondary waits before it claims: a takeover after a closed connection waits for nothing more."""


def expect_earlier_grants(step: Step) -> None:
    """A process that starts does not know what the one before it has granted."""
    step.set_timer(ev.Timer.PERMIT_OUT, PERMIT_OUT_S)


def asked(step: Step, message: msg.PermitRequest) -> None:
    """Grant, if this node mirrors with that very process in that very epoch. A refusal says nothing: the peer waits."""
    state = step.state
    if state.phase in MEMBERS and state.partner == state.session:
        step.change(granted=True)
        step.set_timer(ev.Timer.PERMIT_OUT, PERMIT_OUT_S)
        step.send(msg.Permit(message.epoch, message.number))


def ran_out(step: Step) -> None:
    """Every permit that this node has granted is over."""
    step.change(granted=False)


def permit_epoch(step: Step) -> int:
    """The epoch in which a read needs a permit; 0 for that of a sole member, which needs none."""
    return step.state.epoch if step.state.phase in {Phase.MIRRORING, Phase.FOLLOWING} else 0
