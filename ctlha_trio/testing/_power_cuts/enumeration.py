"""Every write and flush of each scenario is cut: the store alone in every state, the pair in every distinct one."""

from itertools import product
from typing import Final

import attrs
import trio

from ctlha_trio.testing._pairs.deterministic_trio import run_from_seed
from ctlha_trio.testing._power.disk import Moment
from ctlha_trio.testing._power.states import STATES_MAX
from ctlha_trio.testing._power_cuts.scenarios import POWER_SCENARIOS
from ctlha_trio.testing._power_cuts.store_states import DistinctLosses, StoreEnumeration, StoreStates
from ctlha_trio.testing._power_cuts.trial import LOSS_STATES_MAX, SIZE_BYTES, Findings, PowerCutAt, run_trial

UNIT_BYTES: Final = SIZE_BYTES // 4
"""Of the dirty bitmap, for whoever calls this: a volume of few sectors has several marks, and a copied range takes some
away."""

VICTIMS: Final = (
    ("write", "a"),
    ("write", "b"),
    ("write, slow link", "a"),
    ("put", "a"),
    ("put", "b"),
    ("go-alone", "a"),
    ("take-over", "b"),
    ("return", "a"),
    ("return", "b"),
    ("return, stopped", "a"),
    ("return, stopped", "b"),
    ("resync", "a"),
    ("resync", "b"),
    ("handover", "a"),
    ("handover", "b"),
)
"""Scenarios, each with the node whose disk is enumerated; the other node of two of them is down already."""
OF_STORES: Final = (*VICTIMS, ("repair", "a"), ("repair, there", "b"), ("lost", "a"))
"""Those, and what is of stores alone. Of a block that has decayed nothing is demanded of the pair before it is told of,
and once it is the pair may wait for a client that writes it anew."""
BOTH_UP: Final = tuple(each for each in VICTIMS if each[0] not in {"go-alone", "take-over"})
"""Where both can lose their power at once."""
MOMENTS: Final = (Moment.BEFORE, Moment.AFTER)
"""A cut in the middle of a call leaves no state that one behind it cannot leave."""


@attrs.frozen
class PairCuts:
    """What was enumerated of one scenario and victim."""

    cuts: int = 0
    """Moments of the victim's writes and flushes."""
    runs: int = 0
    """Of the pair, each from one state of the disks that were cut."""
    left_out: int = 0
    """Distinct states of these moments that ``losses_max`` left out."""
    problems: tuple[str, ...] = ()


def run_scenario(
    scenario: str,
    victim: str,
    *,
    both: bool = False,
    cut: PowerCutAt | None = None,
    distinct: DistinctLosses | None = None,
) -> Findings:
    """One run, the same each time."""
    parts = POWER_SCENARIOS[scenario]

    async def run() -> Findings:
        return await run_trial(parts.prepare, parts.act, victim=victim, both=both, cut=cut, distinct=distinct)

    return run_from_seed(0, run)


def enumerate_store(scenario: str, victim: str, *, states_max: int = STATES_MAX) -> StoreStates:
    """Every state of the victim's disk at every moment of the scenario, recovered by its store alone."""
    calm = run_scenario(scenario, victim)
    return trio.run(StoreEnumeration(calm.journal, SIZE_BYTES, UNIT_BYTES, states_max).run)


def enumerate_pair(scenario: str, victim: str, *, both: bool = False, losses_max: int | None = None) -> PairCuts:
    """A run of the pair for each moment of the victim's disk, and each distinct state that a cut leaves there.

    ``losses_max`` of these at most, for one moment: nothing kept, then others in turn. ``both`` cuts the peer at the
    same instant. The order in which nodes start again goes round. Ends with the first run in which something is wrong.
    """
    distinct = DistinctLosses(SIZE_BYTES, LOSS_STATES_MAX)
    calm = run_scenario(scenario, victim)
    result = PairCuts(problems=calm.problems)
    for turn, (call, moment) in enumerate(product(calm.changes, MOMENTS)):
        result = attrs.evolve(result, cuts=result.cuts + 1)
        losses, tried = 1, 0
        while tried < min(losses, losses_max or losses) and not result.problems:
            loss = 0 if not tried else 1 + (tried - 1 + (turn if losses_max else 0)) % (losses - 1)
            cut = PowerCutAt(call, moment, loss, turn + tried)
            findings = run_scenario(scenario, victim, both=both, cut=cut, distinct=distinct)
            losses, tried = findings.losses, tried + 1
            problems = findings.problems if findings.was_cut else ("the power did not fail",)
            result = attrs.evolve(result, runs=result.runs + 1, problems=tuple(f"{cut}: {each}" for each in problems))
        result = attrs.evolve(result, left_out=result.left_out + losses - tried)
    return result
