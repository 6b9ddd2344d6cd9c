"""What would follow if the peer died at this moment, by the rules that decide it when it does."""

from enum import Enum

import attrs

from ctlha_trio.pair._membership import CLAIM_PRIMARY_S, CLAIM_SECONDARY_S
from ctlha_trio.pair._metadata import Copy
from ctlha_trio.pair._phase import Phase
from ctlha_trio.pair._plan import PlannedStep
from ctlha_trio.pair._record import Record
from ctlha_trio.pair._state import PairState


class FailoverObstacle(Enum):
    """Why this node would not serve. Closed."""

    OUTDATED = "outdated"
    """Its copy does not count."""
    CHANGE_UNDER_WAY = "change-under-way"
    """Its role or the members are changing at this moment, and nothing can be said."""
    ARBITER_SILENT = "arbiter-silent"
    """It would hold until the arbiter answers."""
    ARBITER_REFUSES = "arbiter-refuses"
    """It would hold until the arbiter takes changes again."""
    STOPPED = "stopped"
    """It serves nothing, whatever the peer does."""


@attrs.frozen(kw_only=True)
class FailoverPlan:
    """All that can be said beforehand. Nothing is changed by making it."""

    obstacle: FailoverObstacle | None
    """None if this node would serve, without anybody's help."""
    steps: tuple[PlannedStep, ...]
    """In order; none if nothing would change, or if it would not serve."""
    before: Record | None
    revision: int
    """Of ``before``."""
    after: Record | None
    """The same as ``before`` if this node serves alone already; None if it would not serve."""


def plan_failover(state: PairState) -> FailoverPlan:
    """What would become of this node, and what it would do, if its peer died now."""
    obstacle, record = _obstacle(state), state.record
    after, steps = None, tuple[PlannedStep, ...]()
    if record is not None and obstacle is None:
        after = record
        if len(record.members) > 1:
            after = record.succeed(primary=state.me, members=(state.me,), proposal=state.next_proposal)
            steps = _steps(state, after)
    return FailoverPlan(obstacle=obstacle, steps=steps, before=record, revision=state.revision, after=after)


def _obstacle(state: PairState) -> FailoverObstacle | None:
    match state.phase:
        case Phase.ALONE:
            return None
        case Phase.MIRRORING | Phase.FOLLOWING if state.is_behind:
            return FailoverObstacle.CHANGE_UNDER_WAY
        case Phase.MIRRORING | Phase.FOLLOWING:
            unable = FailoverObstacle.ARBITER_REFUSES if state.arbiter_refuses else None
            return unable if state.arbiter_answers else FailoverObstacle.ARBITER_SILENT
        case Phase.RESYNCING if (state.persisting or state.metadata).copy in {Copy.SEALED, Copy.MEMBER}:
            # The source may have made it a member already.
            return FailoverObstacle.CHANGE_UNDER_WAY
        case Phase.OUTDATED | Phase.RESYNCING:
            return FailoverObstacle.OUTDATED
        case Phase.BOOTING | Phase.STOPPED | Phase.LEFT:
            return FailoverObstacle.STOPPED
        case _:
            return FailoverObstacle.CHANGE_UNDER_WAY


def _steps(state: PairState, after: Record) -> tuple[PlannedStep, ...]:
    me, epoch = state.me, after.epoch
    wait_ms = round(1000 * (CLAIM_PRIMARY_S if state.primary else CLAIM_SECONDARY_S))
    return (
        PlannedStep(f"node {me} acknowledges nothing, and waits {wait_ms} ms for the connection to come back"),
        PlannedStep("what it is going to propose is recorded", f"on node {me}: the proposal of epoch {epoch}"),
        PlannedStep("the record is swapped", f"at the arbiter: epoch {epoch}, primary {me}, members {me}"),
        PlannedStep(
            f"node {me} records that, and what may differ", f"on node {me}: epoch {epoch}, and that it serves alone"
        ),
        PlannedStep(f"node {me} waits until the last promise that it gave has run out, and serves what waits first"),
    )
