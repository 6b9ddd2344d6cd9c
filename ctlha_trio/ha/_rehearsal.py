"""What a switchover would come to now: the core's plan, with what only the drivers have measured."""

import attrs

from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.link import Link
from ctlha_trio.pair import HANDOVER_LIMIT_S, HandoverPlan

_PERSISTS = 4
"""In a row: the peer's and the own before the swap, and again after it."""
_ROUND_TRIPS = 1.5
"""Of which one is asked and answered, and half a one tells that it is done."""


@attrs.frozen(kw_only=True)
class Rehearsal:
    """The answer to ``ctlha switchover --dry-run``. Nothing was changed by asking."""

    plan: HandoverPlan
    accepted: bool
    """Whether a switchover that was asked for at the same moment would have been begun."""
    pause_s: float | None
    """For how long clients would wait, by what the arbiter, the link and this node's disk last took; None if one of
    them has not been measured yet."""
    pause_limit_s: float = HANDOVER_LIMIT_S
    """After which it is given up, unless the arbiter was asked by then."""


def rehearse_switchover(driver: PairDriver, link: Link) -> Rehearsal:
    """As of now. Not a checkpoint."""
    plan = driver.roles.plan_handover()
    round_trip_s, persist_s, swap_s = link.statistics().round_trip_s, driver.persist_took_s, driver.arbiter_took_s
    pause_s = None
    if round_trip_s is not None and persist_s is not None and swap_s is not None:
        pause_s = _PERSISTS * persist_s + _ROUND_TRIPS * round_trip_s + swap_s
    return Rehearsal(plan=plan, accepted=not plan.obstacles, pause_s=pause_s)
