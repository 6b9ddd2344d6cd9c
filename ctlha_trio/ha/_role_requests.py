"""Changes of roles that a person or the policy asks the core for, and what would come of them."""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio._errors import FailedError, RoleStaysError, UnknownOutcomeError
from ctlha_trio.ha._person_request import PersonRequest
from ctlha_trio.ha._readiness import Readiness
from ctlha_trio.link import Link
from ctlha_trio.pair import HandoverPlan, PairState, Plan, actions, events, plan_force, plan_handover
from ctlha_trio.seams import Entropy

LINEAGE_BYTES: Final = 16
"""No two lines have ever the same id."""


@attrs.define(eq=False)
class RoleRequests:
    """Of one node. One of each kind at a time."""

    _state: Callable[[], PairState]
    _feed: Callable[[events.Event], None]
    _link: Link
    _entropy: Entropy
    _readiness: Readiness
    why: str = attrs.field(default="", init=False)
    """The role is being handed over for this, if the node does so by itself."""
    handover: PersonRequest = attrs.field(init=False)
    forcing: PersonRequest = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.handover = PersonRequest("handover", self._feed)
        self.forcing = PersonRequest("forced change", self._feed)

    def end(self, problem: str) -> None:
        """The core ends nothing any more."""
        self.handover.end(UnknownOutcomeError(problem))
        self.forcing.end(UnknownOutcomeError(problem))

    def handover_ended(self, end: actions.HandoverEnded) -> None:
        """The core is done with one."""
        if end.unknown:
            self.handover.end(_unknown(end.problem))
            return
        causes = () if end.setback is None else (end.setback.value,)
        self.handover.end(RoleStaysError(causes, end.problem) if end.problem else None)

    def force_ended(self, end: actions.ForceEnded) -> None:
        """Likewise."""
        if end.problem and self._state().swap is not None:
            self.forcing.end(_unknown(end.problem))
            return
        self.forcing.end(FailedError(end.problem) if end.problem else None)

    async def hand_over(self, why: str = "") -> None:
        """Make the peer primary. ``RoleStaysError`` if that did not come about, or another ``FailedError``.

        ``UnknownOutcomeError`` if the node ended while the arbiter was asked, or finds a record that may follow on it.
        """
        obstacles = self.plan_handover().obstacles
        if obstacles:
            raise RoleStaysError(tuple(each.value for each in obstacles))
        self.why = why
        try:
            await self.handover.ask(events.HandoverAsked())
        finally:
            self.why = ""

    def plan_handover(self) -> HandoverPlan:
        """What ``hand_over`` would do now."""
        session = self._link.session
        return plan_handover(
            self._state(),
            same_version=session is None or session.same_version,
            peer_ready=self._readiness.of_peer,
        )

    def hold_admission(self, *, held: bool) -> None:
        """Let a peer that returns become a member only when this is said again with ``held`` false."""
        self._feed(events.AdmissionHeld(held))

    def plan_force(self, abandon: str) -> Plan:
        """What ``force`` would change. ``InvalidError`` or ``FailedError`` with the reason why it cannot be."""
        return plan_force(self._state(), abandon, self._entropy(LINEAGE_BYTES).hex())

    async def force(self, plan: Plan) -> None:
        """Make this node the only one that counts. ``FailedError`` with the reason if that did not come about.

        ``UnknownOutcomeError`` if the node ended while the arbiter was asked.
        """
        after = plan.after
        await self.forcing.ask(events.ForceAsked(self._state().peer, after.lineage, plan.revision, after.evidence))


def _unknown(problem: str) -> UnknownOutcomeError:
    """The node ends, or can do nothing any more, and the arbiter may still record what it was asked for."""
    return UnknownOutcomeError(f"{problem}, while the arbiter was asked")
