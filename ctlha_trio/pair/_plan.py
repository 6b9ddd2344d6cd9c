"""What a handover would come to if it were asked for now, by the rules that decide it when it is."""

from enum import Enum

import attrs

from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._record import Record
from ctlha_trio.pair._state import PairState


class Obstacle(Enum):
    """Why a handover would be refused. Closed."""

    NOT_PRIMARY = "not-primary"
    """This node does not have the role."""
    CHANGE_UNDER_WAY = "change-under-way"
    """The role or the members are changing at this moment."""
    PEER_LOST = "peer-lost"
    PEER_OUTDATED = "peer-outdated"
    """It is connected, and its copy does not count."""
    RESYNCING = "resyncing"
    """Its copy is being brought up to date."""
    PEER_NOT_READY = "peer-not-ready"
    """It is a member, and has not said in this session that it follows."""
    PEER_COMPONENTS = "peer-components"
    """It is a member, and not all of its components run beside this node."""
    VERSION_DIFFERS = "version-differs"
    """It speaks other versions of the protocol than this node: it is being upgraded."""
    ARBITER_SILENT = "arbiter-silent"
    ARBITER_REFUSES = "arbiter-refuses"
    """It is read, and has not taken the last change that it was asked for."""


class Setback(Enum):
    """Why a handover that was asked for, with no obstacle in the way, did not come about. Closed."""

    ARBITER_REFUSES = "arbiter-refuses"
    """It did not take the swap."""
    RECORDS_DIFFER = "records-differ"
    """The peer does not hold all that the layers above have put."""
    NOT_IN_TIME = "not-in-time"
    """The nodes were not ready before clients had waited too long."""
    PEER_LOST = "peer-lost"
    """In the middle of it."""
    NOT_LOGGED = "decision-not-logged"
    """Nothing was begun: whoever asks on behalf of a person could not write down that it does."""


@attrs.frozen
class PlannedStep:
    """One step of a change of roles."""

    what: str
    durable: str = ""
    """What is on stable media, or at the arbiter, once it is done; empty if nothing is."""


@attrs.frozen(kw_only=True)
class HandoverPlan:
    """All that can be said beforehand. Nothing is changed by making it."""

    obstacles: tuple[Obstacle, ...]
    """Empty if it would be accepted."""
    steps: tuple[PlannedStep, ...]
    """In order; none if it would be refused."""
    before: Record | None
    revision: int
    """Of ``before``."""
    after: Record | None
    """None if it would be refused."""


def handover_obstacles(state: PairState, *, same_version: bool = True, peer_ready: bool = True) -> tuple[Obstacle, ...]:
    """Everything that stands in the way now, the weightiest first.

    The core knows neither the versions, which the hello told, nor whether the peer's components are ready.
    """
    found = [_standing_obstacle(state)]
    if found == [None] and not peer_ready:
        found.append(Obstacle.PEER_COMPONENTS)
    if not same_version:
        found.append(Obstacle.VERSION_DIFFERS)
    if not state.arbiter_answers:
        found.append(Obstacle.ARBITER_SILENT)
    if state.arbiter_refuses:
        found.append(Obstacle.ARBITER_REFUSES)
    return tuple(each for each in found if each is not None)


def can_hand_over(state: PairState) -> bool:
    """Whether this node is the primary of two members in sync. An arbiter that is silent shows when it is asked."""
    return _standing_obstacle(state) is None


def _standing_obstacle(state: PairState) -> Obstacle | None:
    match state.phase:
        case Phase.MIRRORING:
            follows = state.standing is not None and state.standing.phase is Phase.FOLLOWING
            return None if follows else Obstacle.PEER_NOT_READY
        case Phase.ALONE | Phase.ADMITTING if not state.session:
            return Obstacle.PEER_LOST
        case Phase.ALONE | Phase.ADMITTING:
            return Obstacle.RESYNCING if state.resync is not None else Obstacle.PEER_OUTDATED
        case Phase.SUSPENDED | Phase.CLAIMING | Phase.SECURING | Phase.HANDING_OVER:
            return Obstacle.CHANGE_UNDER_WAY
        case _:
            return Obstacle.NOT_PRIMARY


def plan_handover(state: PairState, *, same_version: bool = True, peer_ready: bool = True) -> HandoverPlan:
    """What a switchover would lead to now, if nothing else happens."""
    obstacles = handover_obstacles(state, same_version=same_version, peer_ready=peer_ready)
    record = state.record
    after = None
    if record is not None and not obstacles:
        after = record.succeed(primary=state.peer, members=state.both, proposal=state.next_proposal)
    return HandoverPlan(
        obstacles=obstacles,
        steps=() if after is None else _steps(state, after),
        before=record,
        revision=state.revision,
        after=after,
    )


def _steps(state: PairState, after: Record) -> tuple[PlannedStep, ...]:
    me, peer = state.me, state.peer
    under_way = sum(1 for flight in state.flights if flight.started)
    members = " ".join(after.members)
    return (
        PlannedStep(f"node {me} holds new operations, and ends the {under_way} that are under way"),
        PlannedStep(
            f"node {peer} has the same records, and flushes",
            f"on node {peer}: everything acknowledged, in epoch {state.epoch}",
        ),
        PlannedStep(f"node {me} flushes", f"on node {me}: everything acknowledged, in epoch {state.epoch}"),
        PlannedStep("the record is swapped", f"at the arbiter: epoch {after.epoch}, primary {peer}, members {members}"),
        PlannedStep(f"node {me} records that, and follows", f"on node {me}: epoch {after.epoch}, primary {peer}"),
        PlannedStep(f"node {peer} records that, and serves", f"on node {peer}: epoch {after.epoch}, primary {peer}"),
    )
