"""What a node remembers of a role that moves for components, and the order of what runs where the role is."""

import attrs

from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.ha import _take_over
from ctlha_trio.ha._component_aims import Aim
from ctlha_trio.ha._component_failover import ComponentFailover
from ctlha_trio.ha._left_steps import LeftSteps
from ctlha_trio.ha._peer_fence import PeerFence
from ctlha_trio.ha._supervisor import Supervisor
from ctlha_trio.ha._take_over import Released, StartAnswer, TakeOverComponent, Yes
from ctlha_trio.ha._take_overs import TakeOvers
from ctlha_trio.pair import Record
from ctlha_trio.seams import FenceAnswer, FenceOutcome, Fencer
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

POLICY = "ha/test_component_policy"
TAKE_OVER = "ha/test_take_over"
PAIRS = "ha/test_take_over_pairs"


@mutant(0, f"{POLICY}::test_processes_that_begin_anew_each_time_do_not_hand_the_role_to_and_fro", "assert waits[-1] >")
def believes_nothing_of_the_time_before_its_process(patch: Patch) -> None:
    patch.setattr(ComponentFailover, "told", lambda *_: None)


@mutant(0, f"{PAIRS}::test_a_survivor_has_the_other_node_fenced_before_it_takes_the_pool", "assert", fences=False)
def starts_without_asking(patch: Patch) -> None:
    async def start(supervisor: Supervisor, component: TakeOverComponent) -> bool:
        return supervisor.take_overs.answered(component, supervisor.take_overs.question(), Yes()) is None

    patch.setattr(Supervisor, "_may_start", start)


@mutant(0, f"{TAKE_OVER}::test_a_yes_counts_for_one_start", 'assert bench.script.take() == ["pool quiesce", "pool may')
def remembers_a_yes(patch: Patch) -> None:
    ask = _take_over.may_start
    agreed: set[TakeOverComponent] = set()

    async def may_start(component: TakeOverComponent, record: Record) -> StartAnswer:
        answer = Yes() if component in agreed else await ask(component, record)
        if isinstance(answer, Yes):
            agreed.add(component)
        return answer

    patch.setattr(_take_over, "may_start", may_start)


@mutant(
    0, f"{TAKE_OVER}::test_a_yes_to_a_record_that_has_changed_meanwhile_is_none", "assert bench.script.take() == []"
)
def takes_a_yes_to_another_record(patch: Patch) -> None:
    answered = TakeOvers.answered

    def believe(
        take_overs: TakeOvers, component: TakeOverComponent, shown: Record | None, answer: StartAnswer
    ) -> str | None:
        return answered(take_overs, component, None if shown is None else take_overs.question(), answer)

    patch.setattr(TakeOvers, "answered", believe)


@mutant(0, f"{PAIRS}::test_a_pool_that_is_not_let_go_of_stays_where_it_is", "assert a.status().reasons == (")
def takes_unknown_for_proof(patch: Patch) -> None:
    released = TakeOvers.released

    def believe(take_overs: TakeOvers, component: TakeOverComponent, _: Released) -> None:
        released(take_overs, component, Released.PROOF)

    patch.setattr(TakeOvers, "released", believe)


@mutant(
    0, f"{TAKE_OVER}::test_it_runs_where_the_role_is_and_is_asked_before_each_start", "assert bench.supervisor.ready, "
)
def runs_on_both_nodes(patch: Patch) -> None:
    patch.setattr(Aim, "of", lambda aim, _: aim.state)


@mutant(
    0, f"{TAKE_OVER}::test_one_that_does_not_quiesce_is_not_asked_whether_it_has_let_go", "assert await bench.enter(Ph"
)
def asks_what_has_not_quiesced_whether_it_has_let_go(patch: Patch) -> None:
    quiesce = Supervisor._quiesce

    async def quiesce_well(supervisor: Supervisor, component: ctl_ha_component) -> None:
        await quiesce(supervisor, component)

    patch.setattr(Supervisor, "_quiesce", quiesce_well)


@mutant(
    0,
    f"{TAKE_OVER}::test_what_needs_a_fence_waits_where_there_is_none_or_the_peer_is_a_member",
    "assert (bench.told, bench.supervisor.ready) ==",
    fencer=True,
)
def fences_a_member(patch: Patch) -> None:
    def ask(fence: PeerFence, record: Record) -> None:
        if fence.shown(record).fence != "confirmed":
            fence._wanted, fence._last = record, (record, None)
            fence._asked.unpark_all()

    patch.setattr(PeerFence, "ask", ask)


@mutant(0, f"{TAKE_OVER}::test_only_a_confirmed_fence_counts", "assert bench.script.records == [ALONE], ")
def counts_every_fence(patch: Patch) -> None:
    fence = PeerFence._fence

    async def confirm(peer_fence: PeerFence, fencer: Fencer, record: Record) -> FenceAnswer:
        return attrs.evolve(await fence(peer_fence, fencer, record), outcome=FenceOutcome.CONFIRMED)

    patch.setattr(PeerFence, "_fence", confirm)


@mutant(
    0,
    f"{TAKE_OVER}::test_a_confirmed_fence_is_not_asked_for_again_in_its_epoch_but_in_the_next",
    "assert bench.script.records[-1].fence ==",
)
def counts_a_fence_of_an_earlier_epoch(patch: Patch) -> None:
    patch.setattr(PeerFence, "_answer_under", lambda fence, _: None if fence._last is None else fence._last[1])


@mutant(0, f"{TAKE_OVER}::test_a_fence_is_given_up_when_the_record_is_another", "assert bench.told[-1][:2] ==")
def goes_on_with_a_fence_under_another_record(patch: Patch) -> None:
    async def fence(peer_fence: PeerFence, fencer: Fencer, record: Record) -> FenceAnswer:
        return await fencer.fence(peer_fence._peer, record.resource, record.epoch)

    patch.setattr(PeerFence, "_fence", fence)


@mutant(
    0,
    f"{TAKE_OVER}::test_a_step_that_cannot_be_cancelled_is_stuck_and_nothing_is_asked_on_top",
    "assert await bench.enter(Phase.FOLLOWING) == [], ",
)
def asks_on_top_of_a_step_that_goes_on(patch: Patch) -> None:
    patch.setattr(LeftSteps, "goes_on", lambda *_: False)
