"""What a person forces: this node becomes the only one that counts, of a new line, whatever the other copy holds.

No node can know that its peer is off, and a person who says so may be wrong. So the new line begins by the same swap as
every other change: a peer that restarts meanwhile wins or loses it, and one that is alive finds it within a poll.
"""

import attrs

from ctlha_trio._errors import CtlHaError, FailedError, InvalidError
from ctlha_trio.pair import _membership as membership, actions as act, events as ev
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._record import NodeId, Record
from ctlha_trio.pair._state import PairState, Stage
from ctlha_trio.pair._step import Step

NOT_POWERED_OFF = "node {node} is connected, so it is not powered off"
"""Why nobody abandons a node that answers, whatever a person says of it."""
_FORCIBLE = frozenset({Phase.OUTDATED, Phase.WAITING})
"""Phases of a node that does not go on by itself, or not yet, and has no swap under way."""


@attrs.frozen(kw_only=True)
class Plan:
    """What a person's command would do. All of it follows from the change of the record."""

    before: Record
    revision: int
    """Of ``before``."""
    after: Record
    copy_epoch: int
    """When this node's copy last counted: what was acknowledged later is not on it."""

    def fenced(self, evidence: str) -> "Plan":
        """The same change of the record, which says that the other node was fenced."""
        return attrs.evolve(self, after=attrs.evolve(self.after, fence="confirmed", evidence=evidence))


def plan_force(state: PairState, abandon: NodeId, lineage: str, evidence: str = "") -> Plan:
    """What ``ForceAsked`` would propose now. ``InvalidError`` or ``FailedError`` with the reason why it cannot be."""
    record = state.record
    if abandon != state.peer:
        raise InvalidError(f"the other node is {state.peer}, not {abandon}")
    if record is None or state.phase not in _FORCIBLE:
        raise FailedError(f"node {state.me} cannot be forced while it is {state.phase.name.lower()}: {state.why}")
    if state.is_behind:
        raise FailedError(f"node {state.peer} has told of a later record, which the arbiter has not shown yet")
    if state.session:
        raise FailedError(NOT_POWERED_OFF.format(node=state.peer))
    copy = (state.persisting or state.metadata).copy
    if not copy.is_whole:
        raise FailedError(
            f"the copy of node {state.me} is {copy.value}: it holds no state that the volume ever had; "
            "what is left of it only a salvage makes the volume"
        )
    after = record.fork(primary=state.me, lineage=lineage, proposal=state.next_proposal, evidence=evidence)
    return Plan(before=record, revision=state.revision, after=after, copy_epoch=state.metadata.epoch)


def asked(step: Step, event: ev.ForceAsked) -> None:
    """Propose it, if the record still is the one that the person has seen."""
    try:
        plan = plan_force(step.state, event.abandon, event.lineage, event.evidence)
        if plan.revision != event.revision:
            raise FailedError("the record has changed since it was shown")
    except CtlHaError as error:
        step.do(act.ForceEnded(str(error)))
        return
    step.cancel_timer(ev.Timer.PEER_WAIT)
    step.move(Phase.CLAIMING, f"forced, node {event.abandon} is abandoned", Stage.PERSISTING)
    step.change(forcing=True)
    step.intend(plan.after, in_doubt=0 if step.state.me in plan.before.members else plan.revision)


def refused(step: Step) -> None:
    """The arbiter certainly did not take it: give it up, so that the person may look again before another try."""
    state = step.state
    step.change(swap=None)
    if state.record is not None:
        membership.decide(step, state.record, state.revision, "the arbiter did not take what was forced")
