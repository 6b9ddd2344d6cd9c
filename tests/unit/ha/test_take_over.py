"""A component that runs on one node at a time: asked before each start, fenced for, and asked whether it has let go."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import inf, nan

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio import NeedsFence, NotYet, Record, Released, StartAnswer, TakeOverComponent, Yes
from ctlha_trio._errors import ComponentError, InvalidError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha._component_faults import FIRST_RETRY_S, RETRY_MAX_S
from ctlha_trio.ha._left_steps import HEED_S, LeftSteps
from ctlha_trio.ha._peer_fence import PeerFence
from ctlha_trio.ha._supervisor import STEP_LIMIT_S, Supervisor
from ctlha_trio.ha._take_overs import ASK_AGAIN_MIN_S, SERVING, TakeOvers
from ctlha_trio.pair import Phase
from ctlha_trio.seams import FenceAnswer, FenceOutcome, TrioClock

OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
FAILED = ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED
ERROR = ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR
UNKNOWN = ctl_ha_state.CTL_HA_STATE_UNKNOWN
HA = ctl_ha_state.CTL_HA_STATE_HA
BY_A = Record(cluster="c", resource="r", epoch=4, lineage="l", primary="a", members=("a", "b"), proposal="0")
ALONE = BY_A.succeed(primary="a", members=("a",), proposal="1")
LATER = ALONE.succeed(primary="a", members=("a",), proposal="2")
CONFIRMED = FenceAnswer(FenceOutcome.CONFIRMED, "outlet 4 is off")


@attrs.define(eq=False)
class Script:
    """Components that write down what they are asked, and answer what they are told."""

    asked: list[str] = attrs.Factory(list)
    times_s: dict[str, list[float]] = attrs.Factory(dict)
    records: list[Record] = attrs.Factory(list)
    """About which a start was asked."""
    may_start: StartAnswer = attrs.Factory(Yes)
    released: Released = Released.PROOF
    statuses: dict[str, ctl_ha_comp_status] = attrs.Factory(dict)
    """By the line that would be written down."""
    raises: dict[str, Exception] = attrs.Factory(dict)
    held: dict[str, trio.Event] = attrs.Factory(dict)
    """By line: it waits for this."""
    heedless: bool = False
    """It waits for that even when it is cancelled."""

    def components(self) -> list[ctl_ha_component]:
        return [
            ctl_ha_component("lower", init=self._init, start=self._start, quiesce=self._quiesce),
            TakeOverComponent(
                "pool",
                init=self._init,
                start=self._start,
                quiesce=self._quiesce,
                may_start=self._may_start,
                released=self._released,
            ),
        ]

    async def _init(self, component: ctl_ha_component) -> ctl_ha_comp_status:
        return await self._answer(f"{component.name} init")

    async def _start(self, component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
        return await self._answer(f"{component.name} {'HA' if state is HA else 'SINGLE'}")

    async def _quiesce(self, component: ctl_ha_component) -> ctl_ha_comp_status:
        return await self._answer(f"{component.name} quiesce")

    async def _may_start(self, record: Record) -> StartAnswer:
        self.records.append(record)
        await self._come_to("pool may_start")
        return self.may_start

    async def _released(self) -> Released:
        await self._come_to("pool released")
        return self.released

    async def _answer(self, line: str) -> ctl_ha_comp_status:
        await self._come_to(line)
        return self.statuses.get(line, OK)

    async def _come_to(self, line: str) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append(line)
        self.times_s.setdefault(line, []).append(trio.current_time())
        if line in self.held:
            with trio.CancelScope(shield=self.heedless):
                await self.held[line].wait()
        if line in self.raises:
            raise self.raises[line]

    def take(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


@attrs.define(eq=False)
class Switch:
    """A fencer that answers what it is told."""

    answer: FenceAnswer | Exception = CONFIRMED
    asked: list[tuple[str, str, int]] = attrs.Factory(list)
    held: trio.Event | None = None
    """It waits for this."""

    @property
    def description(self) -> str:
        return "the test's"

    async def fence(self, node: str, resource: str, epoch: int) -> FenceAnswer:
        self.asked.append((node, resource, epoch))
        await trio.lowlevel.checkpoint()
        if self.held is not None:
            await self.held.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@attrs.define(eq=False)
class Bench:
    """The supervisor of node a, in whatever phase and under whatever record the test says."""

    nursery: trio.Nursery
    fencer: Switch | None = None
    script: Script = attrs.Factory(Script)
    phase: Phase = Phase.BOOTING
    record: Record = BY_A
    told: list[tuple[str, str, str]] = attrs.Factory(list)
    """To the log of decisions."""
    changed: trio.lowlevel.ParkingLot = attrs.Factory(trio.lowlevel.ParkingLot)
    components: list[ctl_ha_component] = attrs.field(init=False)
    supervisor: Supervisor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        clock = TrioClock()
        self.components = self.script.components()
        fence = PeerFence(self.fencer, "b", self._serving, self._tell, self.changed)
        take_overs = TakeOvers(clock, self._serving, self._tell, fence, LeftSteps(clock, self.nursery.start_soon))
        self.supervisor = Supervisor(clock, self.components, lambda: self.phase, self.changed, take_overs)

    def _serving(self) -> Record | None:
        return self.record if self.phase in SERVING else None

    def _tell(self, what: str, outcome: str, why: str) -> None:
        self.told.append((what, outcome, why))

    async def begin(self, phase: Phase = Phase.FOLLOWING) -> None:
        """As a node does that starts, and comes to that phase."""
        await self.supervisor.init()
        self.nursery.start_soon(self.supervisor.run)
        await self.enter(phase)

    async def enter(self, phase: Phase, record: Record | None = None) -> list[str]:
        """Move the node; what the components were asked for it."""
        default = ALONE if phase is Phase.ALONE else BY_A
        self.phase, self.record = phase, record or default
        self.changed.unpark_all()
        await wait_all_tasks_blocked()
        return self.script.take()

    @property
    def pool(self) -> ctl_ha_component:
        return self.components[1]

    @property
    def kinds(self) -> list[str]:
        """Of the faults."""
        return [fault.kind.value for fault in self.supervisor.faults.all]

    @property
    def waits(self) -> list[tuple[str, str, str, float | None]]:
        return [attrs.astuple(wait) for wait in self.supervisor.take_overs.waits()]


async def test_it_runs_where_the_role_is_and_is_asked_before_each_start(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    await bench.supervisor.init()
    assert bench.script.take() == ["lower init", "pool init"]
    nursery.start_soon(bench.supervisor.run)
    assert await bench.enter(Phase.FOLLOWING) == ["lower HA"]
    assert bench.supervisor.ready, "it could start at once"
    assert await bench.enter(Phase.CLAIMING) == []
    to_single = ["lower quiesce", "lower SINGLE", "pool may_start", "pool SINGLE"]
    assert await bench.enter(Phase.ALONE) == to_single
    to_ha = ["pool quiesce", "lower quiesce", "lower HA", "pool may_start", "pool HA"]
    assert await bench.enter(Phase.MIRRORING) == to_ha
    assert bench.script.records == [ALONE, BY_A]
    assert await bench.enter(Phase.HANDING_OVER) == []
    assert await bench.enter(Phase.FOLLOWING) == ["pool quiesce", "pool released"], "the other one runs on"
    assert (bench.components[0].state, bench.pool.state) == (HA, UNKNOWN)
    assert await bench.enter(Phase.MIRRORING) == ["pool may_start", "pool HA"]
    assert await bench.enter(Phase.OUTDATED) == ["pool quiesce", "pool released", "lower quiesce"]
    assert bench.told == [("release", "done", "pool")] * 2
    nursery.cancel_scope.cancel()


async def test_a_node_that_ends_lets_go(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    await bench.begin(Phase.ALONE)
    bench.script.take()
    await bench.supervisor.quiesce()
    assert bench.script.take() == ["pool quiesce", "pool released", "lower quiesce"]
    nursery.cancel_scope.cancel()


async def test_one_that_never_ran_here_has_nothing_to_let_go_of(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.script.may_start = NotYet("it is imported on b")
    await bench.begin(Phase.ALONE)
    assert await bench.enter(Phase.OUTDATED) == ["lower quiesce"]
    assert (bench.told, bench.waits) == ([], [])
    nursery.cancel_scope.cancel()


async def test_not_yet_is_asked_again_by_its_estimate_while_the_others_run(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    bench.script.may_start = NotYet("the log is replayed", 7.5)
    await bench.begin(Phase.FOLLOWING)
    assert await bench.enter(Phase.MIRRORING) == ["pool may_start"]
    assert (bench.kinds, bench.supervisor.ready) == ([], False)
    await trio.sleep(2.5)
    ((*said, left_s),) = bench.waits
    assert said == ["pool", "component-waits", "the log is replayed"]
    assert left_s == pytest.approx(5.0)
    await trio.sleep(5.5)
    assert bench.script.take() == ["pool may_start"]
    bench.script.may_start = Yes()
    await trio.sleep(7.5)
    assert bench.script.take() == ["pool may_start", "pool HA"]
    assert (bench.waits, bench.supervisor.ready, bench.pool.state) == ([], True, HA)
    asked_s = bench.script.times_s["pool may_start"]
    assert [after - before for before, after in pairwise(asked_s)] == pytest.approx([7.5, 7.5])
    await trio.sleep(60.0)
    assert bench.script.take() == []


async def test_without_an_estimate_it_is_asked_later_and_later(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(nursery)
    bench.script.may_start = NotYet("it is\nimported on b")
    await bench.begin(Phase.ALONE)
    waits_s = [FIRST_RETRY_S, 2.0, 4.0, 8.0, RETRY_MAX_S, RETRY_MAX_S]
    await trio.sleep(sum(waits_s) + 0.5)
    asked_s = bench.script.times_s["pool may_start"]
    assert [after - before for before, after in pairwise(asked_s)] == pytest.approx(waits_s)
    assert bench.waits == [("pool", "component-waits", "it is?imported on b", None)]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["pool may not start yet: it is?imported on b"]


@pytest.mark.parametrize("estimate_s", [-1.0, nan, inf])
def test_an_estimate_is_a_time(estimate_s: float) -> None:
    with pytest.raises(InvalidError, match="an estimate of"):
        NotYet("because", estimate_s)


async def test_one_that_waits_runs_in_no_state_and_may_come_back_to_the_one_before(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    await bench.begin(Phase.MIRRORING)
    bench.script.may_start = NotYet("it is looked at")
    await bench.enter(Phase.ALONE)
    assert bench.pool.state is UNKNOWN
    bench.script.may_start = Yes()
    assert (await bench.enter(Phase.MIRRORING))[-2:] == ["pool may_start", "pool HA"]
    assert bench.kinds == []
    nursery.cancel_scope.cancel()


async def test_nobody_asks_in_a_circle(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.script.may_start = NotYet("any moment", 0.0)
    await bench.begin(Phase.ALONE)
    await trio.sleep(1.0)
    assert len(bench.script.times_s["pool may_start"]) <= 1 + 1.0 / ASK_AGAIN_MIN_S


async def test_a_yes_counts_for_one_start(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.script.statuses["pool HA"] = FAILED
    await bench.begin(Phase.MIRRORING)
    bench.script.take()
    bench.script.may_start = NotYet("somebody else has it")
    await trio.sleep(FIRST_RETRY_S + 0.5)
    assert bench.script.take() == ["pool quiesce", "pool may_start"]
    assert (bench.kinds, [wait[1] for wait in bench.waits]) == ([], ["component-waits"])


async def test_a_start_that_fails_behind_each_yes_is_tried_later_and_later(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    bench.script.statuses["pool HA"] = FAILED
    await bench.begin(Phase.MIRRORING)
    await trio.sleep(FIRST_RETRY_S + 2.0 + 0.5)
    assert [fault.times for fault in bench.supervisor.faults.all] == [3]


async def test_a_yes_to_a_record_that_has_changed_meanwhile_is_none(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    answer = bench.script.held["pool may_start"] = trio.Event()
    await bench.begin(Phase.ALONE)
    await bench.enter(Phase.ALONE, LATER)
    answer.set()
    await wait_all_tasks_blocked()
    assert bench.script.take() == []
    await trio.sleep(ASK_AGAIN_MIN_S * 1.5)
    assert bench.script.take() == ["pool may_start", "pool SINGLE"]
    assert bench.script.records == [ALONE, LATER]


@pytest.mark.parametrize("phase", [Phase.OUTDATED, Phase.CLAIMING, Phase.HANDING_OVER, Phase.FOLLOWING])
async def test_a_yes_is_none_once_the_node_serves_no_more(
    phase: Phase, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    answer = bench.script.held["pool may_start"] = trio.Event()
    await bench.begin(Phase.MIRRORING)
    await bench.enter(phase)
    answer.set()
    await trio.sleep(FIRST_RETRY_S * 3)
    asked = bench.script.take()
    assert "pool HA" not in asked
    assert "pool may_start" not in asked, "nor is it asked before it is known who serves"
    assert "pool released" not in asked
    back = await bench.enter(Phase.MIRRORING)
    await trio.sleep(FIRST_RETRY_S)
    assert [*back, *bench.script.take()][-2:] == ["pool may_start", "pool HA"]


@pytest.mark.parametrize("fencer", [False, True])
async def test_what_needs_a_fence_waits_where_there_is_none_or_the_peer_is_a_member(
    fencer: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery, Switch() if fencer else None)
    bench.script.may_start = NeedsFence("b has imported it")
    await bench.begin(Phase.MIRRORING if fencer else Phase.ALONE)
    await trio.sleep(30.0)
    assert bench.script.asked.count("pool may_start") > 3
    assert not {"pool HA", "pool SINGLE"} & set(bench.script.asked)
    ((component, reason, why, left_s),) = bench.waits
    assert (component, reason, left_s) == ("pool", "component-needs-fence", None)
    still = "; node b is still a member, and is not fenced before this node serves alone" if fencer else ""
    assert why == f"b has imported it{still}"
    assert (bench.told, bench.supervisor.ready) == ([], False)
    if bench.fencer is not None:
        assert bench.fencer.asked == []


async def test_what_needs_a_fence_starts_at_once_when_it_is_confirmed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    switch = Switch(held=trio.Event())
    bench = Bench(nursery, switch)
    bench.script.may_start = NeedsFence("b has imported it")
    await bench.begin(Phase.ALONE)
    assert bench.waits == [("pool", "component-needs-fence", "b has imported it; node b is being fenced", None)]
    await trio.sleep(STEP_LIMIT_S * 2)
    assert switch.asked == [("b", "r", ALONE.epoch)], "once, however often it says so meanwhile"
    bench.script.take()
    bench.script.may_start = Yes()
    assert switch.held is not None
    switch.held.set()
    await wait_all_tasks_blocked()
    assert bench.script.take() == ["pool may_start", "pool SINGLE"]
    assert bench.script.records[-1] == attrs.evolve(ALONE, fence="confirmed", evidence="outlet 4 is off")
    assert bench.told == [
        ("fence", "asked", "node b, for a component"),
        ("fence", "done", "node b: confirmed: outlet 4 is off"),
    ]


async def test_a_confirmed_fence_is_not_asked_for_again_in_its_epoch_but_in_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery, switch := Switch())
    bench.script.may_start = NeedsFence("b has imported it")
    await bench.begin(Phase.ALONE)
    await trio.sleep(60.0)
    assert len(switch.asked) == 1
    assert [wait[2] for wait in bench.waits] == ["b has imported it; node b was fenced: outlet 4 is off"]
    await bench.enter(Phase.MIRRORING)
    assert bench.script.records[-1].fence == "none", "it is a member again"
    await bench.enter(Phase.ALONE, LATER)
    assert switch.asked == [("b", "r", ALONE.epoch), ("b", "r", LATER.epoch)]


async def test_a_fence_that_the_record_knows_of_is_not_asked_for(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, switch := Switch())
    bench.script.may_start = NeedsFence("b has imported it")
    await bench.begin(Phase.OUTDATED)
    await bench.enter(Phase.ALONE, attrs.evolve(ALONE, fence="confirmed", evidence="forced"))
    assert (switch.asked, bench.script.records[-1].evidence) == ([], "forced")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (FenceAnswer(FenceOutcome.REFUSED, "no such outlet"), "refused: no such outlet"),
        (FenceAnswer(FenceOutcome.UNKNOWN, "no answer"), "unknown: no answer"),
        (ZeroDivisionError("a bug"), "unknown: raised ZeroDivisionError('a bug')"),
    ],
)
async def test_only_a_confirmed_fence_counts(
    answer: FenceAnswer | Exception, said: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery, switch := Switch(answer))
    bench.script.may_start = NeedsFence("b has imported it")
    await bench.begin(Phase.ALONE)
    await trio.sleep(0.1)
    assert bench.script.records == [ALONE], "it is asked again after the usual time"
    assert [wait[2] for wait in bench.waits] == [f"b has imported it; the fence of node b: {said}"]
    await trio.sleep(FIRST_RETRY_S)
    assert bench.script.records == [ALONE, ALONE], "nothing is made of the evidence"
    assert (len(switch.asked), bench.pool.state) == (2, UNKNOWN)
    asked = ("fence", "asked", "node b, for a component")
    assert bench.told == [asked, *[("fence", "refused", f"node b: {said}")] * 2]
    switch.answer, bench.script.may_start = CONFIRMED, NeedsFence("b has imported it")
    await trio.sleep(2.0)
    assert bench.script.records[-1].evidence == "outlet 4 is off"


@pytest.mark.parametrize(("phase", "record"), [(Phase.ALONE, LATER), (Phase.MIRRORING, BY_A), (Phase.OUTDATED, BY_A)])
async def test_a_fence_is_given_up_when_the_record_is_another(
    phase: Phase, record: Record, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    switch = Switch(held=trio.Event())
    bench = Bench(nursery, switch)
    bench.script.may_start = NeedsFence("b has imported it")
    await bench.begin(Phase.ALONE)
    bench.script.may_start = NotYet("it is looked at")
    await bench.enter(phase, record)
    assert bench.told[-1][:2] == ("fence", "refused")
    assert "given up" in bench.told[-1][2]
    assert switch.held is not None
    switch.held.set()
    await trio.sleep(30.0)
    assert len(switch.asked) == 1
    assert all(record.fence == "none" for record in bench.script.records)


async def test_a_fence_that_was_given_up_is_asked_for_again_when_the_node_serves_by_that_record_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery, switch := Switch(held=trio.Event()))
    bench.script.may_start = NeedsFence("b has imported it")
    await bench.begin(Phase.ALONE)
    await bench.enter(Phase.CLAIMING, ALONE)
    switch.held = None
    await bench.enter(Phase.ALONE)
    await trio.sleep(FIRST_RETRY_S * 2)
    assert switch.asked == [("b", "r", ALONE.epoch)] * 2
    assert bench.script.records[-1].evidence == "outlet 4 is off"


async def test_a_fence_that_raises_when_it_is_given_up_ends_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    class Untidy(Switch):
        async def fence(self, node: str, resource: str, epoch: int) -> FenceAnswer:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ZeroDivisionError("a bug")

    bench = Bench(nursery, Untidy())
    bench.script.may_start = NeedsFence("b has imported it")
    await bench.begin(Phase.ALONE)
    await bench.enter(Phase.MIRRORING)
    assert bench.told[-1][:2] == ("fence", "refused")
    assert "ZeroDivisionError('a bug')" in bench.told[-1][2]
    assert "the fence of node b" in caplog.messages


async def test_one_that_does_not_know_whether_it_has_let_go_is_told_of_and_asked_until_it_has(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    bench.script.released = Released.UNKNOWN
    await bench.begin(Phase.MIRRORING)
    bench.script.take()
    assert await bench.enter(Phase.FOLLOWING) == ["pool quiesce", "pool released"]
    unknown = "it does not know whether it has let go"
    assert bench.waits == [("pool", "component-not-released", unknown, None)]
    assert bench.told == [("release", "unknown", f"pool: {unknown}")]
    assert (bench.kinds, bench.supervisor.ready) == ([], True), "the role may come back, and should"
    await trio.sleep(FIRST_RETRY_S + 2.0 + 0.5)
    assert bench.script.take() == ["pool released"] * 2
    assert len(bench.told) == 1
    bench.script.released = Released.PROOF
    await trio.sleep(RETRY_MAX_S)
    assert bench.script.take() == ["pool released"]
    assert (bench.waits, bench.told[1:]) == ([], [("release", "done", "pool")])
    await trio.sleep(60.0)
    assert bench.script.take() == []


async def test_the_role_may_come_back_to_one_that_has_not_let_go(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    bench.script.released = Released.UNKNOWN
    await bench.begin(Phase.MIRRORING)
    await bench.enter(Phase.FOLLOWING)
    assert await bench.enter(Phase.MIRRORING) == ["pool may_start", "pool HA"]
    assert bench.waits == []
    await trio.sleep(60.0)
    assert bench.script.take() == []


async def test_one_that_does_not_quiesce_is_not_asked_whether_it_has_let_go(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    await bench.begin(Phase.MIRRORING)
    bench.script.statuses["pool quiesce"] = FAILED
    bench.script.take()
    assert await bench.enter(Phase.FOLLOWING) == ["pool quiesce"]
    failed = f"pool: quiesce answered {FAILED.name}"
    assert (bench.waits, bench.kinds) == ([("pool", "component-not-released", failed, None)], ["failed"])
    assert bench.told == [("release", "unknown", f"pool: {failed}")]
    bench.script.statuses.clear()
    await trio.sleep(FIRST_RETRY_S + 0.5)
    assert bench.script.take() == ["pool quiesce", "pool released"]
    assert (bench.waits, bench.kinds, bench.told[1:]) == ([], [], [("release", "done", "pool")])


async def test_one_that_answered_error_is_asked_whether_it_has_let_go(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.script.statuses["pool HA"] = ERROR
    await bench.begin(Phase.MIRRORING)
    bench.script.take()
    assert await bench.enter(Phase.FOLLOWING) == ["pool quiesce", "pool released"]
    assert (bench.kinds, bench.told) == (["error"], [("release", "done", "pool")])
    assert await bench.enter(Phase.MIRRORING) == []
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("hook", ["may_start", "released"])
async def test_a_hook_that_raises_is_a_bug_as_of_the_others(
    hook: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    bench.script.raises[f"pool {hook}"] = bug = ZeroDivisionError("a bug")
    await bench.begin(Phase.MIRRORING)
    await bench.enter(Phase.FOLLOWING if hook == "released" else Phase.MIRRORING)
    assert (bench.kinds, bench.pool.state, bench.supervisor.ready) == (["raised"], UNKNOWN, False)
    (fault,) = bench.supervisor.faults.all
    assert (str(fault.error), fault.error.__cause__) == (f"pool: {hook} raised {bug!r}", bug)
    assert [wait[1] for wait in bench.waits] == (["component-not-released"] if hook == "released" else [])
    bench.script.raises.clear()
    bench.script.take()
    await trio.sleep(FIRST_RETRY_S + 0.5)
    assert bench.script.take() == (["pool released"] if hook == "released" else ["pool may_start", "pool HA"])
    assert (bench.kinds, bench.waits) == ([], [])


@pytest.mark.parametrize("hook", ["may_start", "released"])
async def test_a_forgotten_return_is_no_answer(hook: str, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    setattr(bench.script, hook, None)
    await bench.begin(Phase.MIRRORING)
    await bench.enter(Phase.FOLLOWING if hook == "released" else Phase.MIRRORING)
    assert bench.kinds == ["raised"]
    assert ("release", "done", "pool") not in bench.told
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("hook", ["may_start", "released"])
async def test_a_hook_that_hangs_is_stuck_as_the_others(
    hook: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    bench.script.held[f"pool {hook}"] = trio.Event()
    await bench.begin(Phase.MIRRORING)
    await bench.enter(Phase.FOLLOWING if hook == "released" else Phase.MIRRORING)
    await trio.sleep(STEP_LIMIT_S + 0.1)
    (fault,) = bench.supervisor.faults.all
    assert str(fault.error) == f"pool: {hook} took more than 10 s"
    assert fault.kind.value == "stuck"


@contextmanager
def heedless(script: Script, line: str) -> Iterator[trio.Event]:
    """That step waits for the event, and cannot be cancelled; but at the end of the test it goes on."""
    script.heedless = True
    script.held[line] = ended = trio.Event()
    try:
        yield ended
    finally:
        ended.set()


async def test_a_step_that_cannot_be_cancelled_is_stuck_and_nothing_is_asked_on_top(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery)
    with heedless(bench.script, "pool HA") as imported:
        await bench.begin(Phase.MIRRORING)
        bench.script.take()
        await trio.sleep(STEP_LIMIT_S + HEED_S + 0.1)
        assert (bench.kinds, bench.supervisor.state) == (["stuck"], HA)
        assert await bench.enter(Phase.FOLLOWING) == [], "neither quiesce nor released: it may still write"
        assert [wait[1] for wait in bench.waits] == ["component-not-released"]
        assert [outcome for _, outcome, _ in bench.told] == ["unknown"]
        await trio.sleep(60.0)
        assert bench.script.take() == []
        imported.set()
        await trio.sleep(RETRY_MAX_S)
        assert bench.pool.state is UNKNOWN, "its answer came too late"
        assert bench.script.take() == ["pool quiesce", "pool released"]
        assert (bench.kinds, bench.waits) == ([], [])


async def test_what_a_step_raises_that_was_stuck_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(nursery)
    bench.script.raises["pool HA"] = bug = ZeroDivisionError("a bug")
    with heedless(bench.script, "pool HA"):
        await bench.begin(Phase.MIRRORING)
        await trio.sleep(STEP_LIMIT_S + HEED_S + 0.1)
        (fault,) = bench.supervisor.faults.all
        assert str(fault.error) == "pool: start took more than 10 s, and cannot be cancelled: it goes on"
    await wait_all_tasks_blocked()
    told = next(record for record in caplog.records if record.getMessage() == "pool: a step that was stuck has ended")
    assert told.exc_info is not None
    assert told.exc_info[1] is bug


async def test_a_node_that_ends_does_not_wait_for_a_step_that_cannot_be_cancelled(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery, phase=Phase.MIRRORING)
    with heedless(bench.script, "pool HA"):
        with trio.move_on_after(1.0):
            await bench.supervisor.run()
        bench.script.take()
        with pytest.raises(ComponentError, match="pool: quiesce has to wait: an earlier step goes on"):
            await bench.supervisor.quiesce()
        assert trio.current_time() < STEP_LIMIT_S
        assert bench.script.take() == ["lower quiesce"]
        assert [outcome for _, outcome, _ in bench.told] == ["unknown"]
