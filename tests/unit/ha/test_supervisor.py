"""Components through the life of a node: in order at the start, in reverse when they are quiesced."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import ComponentError
from ctlha_trio._repeats import REPEAT_S
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha import Node
from ctlha_trio.ha._component_faults import FIRST_RETRY_S, RETRY_MAX_S, ComponentFaults, FaultKind
from ctlha_trio.ha._left_steps import LeftSteps
from ctlha_trio.ha._peer_fence import PeerFence
from ctlha_trio.ha._supervisor import STEP_LIMIT_S, Supervisor
from ctlha_trio.ha._take_overs import TakeOvers
from ctlha_trio.pair import Phase
from ctlha_trio.seams import Clock, TrioClock
from ctlha_trio.testing import open_pair
from ctlha_trio.testing._drivers.clock import NodeClock

OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
FAILED = ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED
ERROR = ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR
UNKNOWN = ctl_ha_state.CTL_HA_STATE_UNKNOWN
SINGLE = ctl_ha_state.CTL_HA_STATE_SINGLE
HA = ctl_ha_state.CTL_HA_STATE_HA


@attrs.define(eq=False)
class Recorder:
    """Components that write down what they are asked, and answer what they are told."""

    asked: list[str] = attrs.Factory(list)
    answers: dict[str, ctl_ha_comp_status] = attrs.Factory(dict)
    """By the line that would be written down; OK where nothing is said."""
    hangs: set[str] = attrs.Factory(set)
    raises: dict[str, BaseException] = attrs.Factory(dict)
    times_s: dict[str, list[float]] = attrs.Factory(dict)
    """When each line was written down."""

    def component(self, name: str) -> ctl_ha_component:
        async def init(_: ctl_ha_component) -> ctl_ha_comp_status:
            return await self._ask(f"{name} init")

        async def start(_: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
            return await self._ask(f"{name} {'HA' if state == HA else 'SINGLE'}")

        async def quiesce(_: ctl_ha_component) -> ctl_ha_comp_status:
            return await self._ask(f"{name} quiesce")

        return ctl_ha_component(name=name, init=init, start=start, quiesce=quiesce)

    async def _ask(self, line: str) -> ctl_ha_comp_status:
        await trio.lowlevel.checkpoint()
        self.asked.append(line)
        self.times_s.setdefault(line, []).append(trio.current_time())
        if line in self.hangs:
            await trio.sleep_forever()
        if line in self.raises:
            raise self.raises[line]
        return self.answers.get(line, OK)

    def take(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


def start_nothing(_: Callable[[], Awaitable[None]]) -> None:
    raise AssertionError("a step of a component that runs on both nodes is waited for where it is asked")


@attrs.define(eq=False)
class Bench:
    """A supervisor whose node is in whatever phase the test says."""

    recorder: Recorder = attrs.Factory(Recorder)
    phase: Phase = Phase.BOOTING
    clock: Clock = attrs.Factory(TrioClock)
    changed: trio.lowlevel.ParkingLot = attrs.Factory(trio.lowlevel.ParkingLot)
    components: list[ctl_ha_component] = attrs.field(init=False)
    supervisor: Supervisor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.components = [self.recorder.component("lower"), self.recorder.component("upper")]
        fence = PeerFence(None, "b", lambda: None, lambda *_: None, self.changed)
        take_overs = TakeOvers(self.clock, lambda: None, lambda *_: None, fence, LeftSteps(self.clock, start_nothing))
        self.supervisor = Supervisor(self.clock, self.components, lambda: self.phase, self.changed, take_overs)

    @property
    def kinds(self) -> dict[str, str]:
        """By component, how it has failed."""
        return {str(fault.error).partition(":")[0]: fault.kind.value for fault in self.supervisor.faults.all}

    async def begin(self) -> None:
        """As a node does that starts."""
        await self.supervisor.init()
        self.recorder.take()

    async def enter(self, phase: Phase) -> list[str]:
        """Move the node; what the components were asked for it."""
        self.phase = phase
        self.changed.unpark_all()
        await wait_all_tasks_blocked()
        return self.recorder.take()


async def test_components_follow_the_phases_in_order(nursery: trio.Nursery) -> None:
    bench = Bench()
    await bench.supervisor.init()
    assert bench.recorder.take() == ["lower init", "upper init"]
    nursery.start_soon(bench.supervisor.run)
    assert await bench.enter(Phase.WAITING) == []
    assert await bench.enter(Phase.FOLLOWING) == ["lower HA", "upper HA"]
    assert await bench.enter(Phase.SUSPENDED) == []
    assert await bench.enter(Phase.CLAIMING) == []
    assert await bench.enter(Phase.SECURING) == []
    assert await bench.enter(Phase.ALONE) == ["upper quiesce", "lower quiesce", "lower SINGLE", "upper SINGLE"]
    assert bench.supervisor.state is SINGLE
    assert await bench.enter(Phase.ADMITTING) == []
    assert await bench.enter(Phase.MIRRORING) == ["upper quiesce", "lower quiesce", "lower HA", "upper HA"]
    assert await bench.enter(Phase.HANDING_OVER) == []
    assert await bench.enter(Phase.OUTDATED) == ["upper quiesce", "lower quiesce"]
    assert bench.supervisor.state is UNKNOWN
    assert [component.state for component in bench.components] == [UNKNOWN, UNKNOWN]
    assert await bench.enter(Phase.RESYNCING) == []
    assert await bench.enter(Phase.FOLLOWING) == ["lower HA", "upper HA"]
    assert await bench.enter(Phase.STOPPED) == ["upper quiesce", "lower quiesce"]
    nursery.cancel_scope.cancel()


async def test_quiesce_asks_only_what_runs() -> None:
    bench = Bench()
    await bench.supervisor.quiesce()
    assert bench.recorder.take() == []


async def test_phase_that_changes_during_a_step_is_followed_up(nursery: trio.Nursery) -> None:
    bench = Bench(phase=Phase.MIRRORING)
    await bench.begin()
    nursery.start_soon(bench.supervisor.run)
    await trio.lowlevel.checkpoint()
    bench.phase = Phase.ALONE
    bench.changed.unpark_all()
    await wait_all_tasks_blocked()
    assert bench.supervisor.state is SINGLE
    assert bench.recorder.take()[-2:] == ["lower SINGLE", "upper SINGLE"]
    nursery.cancel_scope.cancel()


async def test_component_that_does_not_initialise_is_asked_again_and_not_started_before(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    bench.recorder.answers["lower init"] = FAILED
    await bench.supervisor.init()
    assert bench.recorder.take() == ["lower init", "upper init"]
    assert (bench.kinds, bench.components[0].status) == ({"lower": "failed"}, FAILED)
    nursery.start_soon(bench.supervisor.run)
    assert await bench.enter(Phase.ALONE) == ["lower init", "upper SINGLE"]
    assert (bench.supervisor.state, bench.kinds) == (SINGLE, {"lower": "failed"})
    bench.recorder.answers.clear()
    await trio.sleep(2 * FIRST_RETRY_S + 0.1)
    assert bench.recorder.take() == ["lower init", "lower SINGLE"]
    assert bench.kinds == {}
    assert await bench.enter(Phase.MIRRORING) == ["upper quiesce", "lower quiesce", "lower HA", "upper HA"]


async def test_component_that_does_not_initialise_is_asked_while_the_node_has_no_part(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    bench.recorder.answers["lower init"] = FAILED
    await bench.supervisor.init()
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.FOLLOWING)
    assert await bench.enter(Phase.OUTDATED) == ["upper quiesce"]
    assert bench.kinds == {"lower": "failed"}, "it is not mended by having nothing to do"
    bench.recorder.answers.clear()
    await trio.sleep(2 * FIRST_RETRY_S + 0.1)
    assert bench.recorder.take() == ["lower init"]
    assert bench.kinds == {}


async def test_component_whose_init_answers_error_is_never_asked_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    bench.recorder.answers["lower init"] = ERROR
    await bench.supervisor.init()
    nursery.start_soon(bench.supervisor.run)
    bench.recorder.take()
    assert await bench.enter(Phase.ALONE) == ["upper SINGLE"]
    await trio.sleep(RETRY_MAX_S * 5)
    assert bench.recorder.take() == []
    assert (bench.kinds, bench.supervisor.state) == ({"lower": "error"}, SINGLE)
    with pytest.raises(ComponentError, match=f"lower: init answered {ERROR.name}"):
        await bench.supervisor.quiesce()
    assert bench.recorder.take() == ["upper quiesce"]


@pytest.mark.parametrize("line", ["lower init", "lower SINGLE", "lower HA", "lower quiesce"])
async def test_a_hook_that_raises_ends_nothing_and_is_told_with_its_traceback(
    line: str, autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    bench.recorder.raises[line] = bug = ZeroDivisionError("a bug")
    await bench.supervisor.init()
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.ALONE)
    await bench.enter(Phase.MIRRORING)
    assert (bench.supervisor.state, bench.components[1].state) == (HA, HA)
    if line == "lower SINGLE":
        assert bench.kinds == {}, "it was asked again, for another state"
    else:
        assert (bench.kinds, bench.components[0].state) == ({"lower": "raised"}, UNKNOWN)
        assert bench.supervisor.faults.all[0].error.__cause__ is bug
    name, _, step = line.partition(" ")
    said = f"{name}: {step if step.islower() else 'start'} raised ZeroDivisionError('a bug')"
    told = next(record for record in caplog.records if record.getMessage() == said)
    assert told.levelname == "ERROR"
    assert told.exc_info is not None
    assert told.exc_info[1] is bug
    bench.recorder.raises.clear()
    await trio.sleep(RETRY_MAX_S)
    assert (bench.kinds, bench.supervisor.ready) == ({}, True)
    await bench.supervisor.quiesce()


async def test_a_forgotten_return_is_a_bug_as_any_other(nursery: trio.Nursery) -> None:
    bench = Bench()
    await bench.begin()
    bench.recorder.answers["lower HA"] = None  # type: ignore[assignment]
    nursery.start_soon(bench.supervisor.run)
    assert await bench.enter(Phase.MIRRORING) == ["lower HA", "upper HA"]
    assert bench.kinds == {"lower": "raised"}


async def test_a_time_limit_of_the_component_s_own_is_not_the_supervisor_s(nursery: trio.Nursery) -> None:
    bench = Bench()
    bench.recorder.raises["lower HA"] = trio.TooSlowError("the database")
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.MIRRORING)
    assert bench.kinds == {"lower": "raised"}


async def test_what_a_hook_raised_is_raised_when_the_node_ends(nursery: trio.Nursery) -> None:
    bench = Bench()
    bench.recorder.raises["lower HA"] = bug = ZeroDivisionError("a bug")
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.MIRRORING)
    with pytest.raises(ComponentError, match="lower: start raised ZeroDivisionError") as caught:
        await bench.supervisor.quiesce()
    assert caught.value.__cause__ is bug
    assert bench.recorder.take() == ["upper quiesce", "lower quiesce"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("line", ["lower init", "lower HA"])
async def test_what_is_no_error_of_the_component_passes(line: str) -> None:
    class StopHereError(BaseException):
        """As ``KeyboardInterrupt``, but for the test alone."""

    bench = Bench(phase=Phase.MIRRORING)
    bench.recorder.raises[line] = StopHereError()
    passed: list[BaseException] = []
    try:
        await bench.supervisor.init()
        await bench.supervisor.run()
    except* StopHereError as group:
        passed.append(group)
    assert len(passed) == 1
    assert bench.supervisor.faults.all == ()


async def test_what_a_hook_raises_when_the_node_ends_under_it_is_told_too(autojump_clock: MockClock) -> None:
    bench = Bench(phase=Phase.MIRRORING)

    async def clean_up_badly(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError("a bug")

    bench.components[0].start = clean_up_badly
    with trio.move_on_after(1.0):
        await bench.supervisor.run()
    assert bench.kinds == {"lower": "raised"}


async def test_a_hook_that_raises_for_a_day_fills_no_log(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    bench.recorder.raises["lower SINGLE"] = ZeroDivisionError("a bug")
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.ALONE)
    await trio.sleep(20 * REPEAT_S)
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) <= 21
    assert all(record.exc_info for record in told)
    assert "times since it was last said" in told[-1].message
    bench.recorder.raises.clear()
    await trio.sleep(RETRY_MAX_S)
    assert bench.kinds == {}
    caplog.clear()
    bench.recorder.raises["lower SINGLE"] = ZeroDivisionError("a bug")
    await bench.enter(Phase.FOLLOWING)
    await bench.enter(Phase.ALONE)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "lower: start raised ZeroDivisionError('a bug')"
    ], "it ran meanwhile: that is no repetition"


@pytest.mark.parametrize("ends_s", [1.0, STEP_LIMIT_S + 1.0])
async def test_a_hook_with_tasks_that_raises_when_it_is_cancelled_ends_nothing(
    ends_s: float, autojump_clock: MockClock
) -> None:
    bench = Bench(phase=Phase.MIRRORING)

    async def clean_up_badly(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ZeroDivisionError("a bug")

    bench.components[0].start = clean_up_badly
    with trio.move_on_after(ends_s) as scope:
        await bench.supervisor.run()
    assert scope.cancelled_caught
    assert bench.kinds == {"lower": "raised"}
    (error,) = bench.supervisor.faults.raised.values()
    assert isinstance(error.__cause__, ExceptionGroup)
    assert [type(bug) for bug in error.__cause__.exceptions] == [ZeroDivisionError]


@pytest.mark.parametrize("line", ["lower HA", "upper HA"])
async def test_component_that_answers_error_is_never_started_again(
    line: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    await bench.begin()
    name = line.split(maxsplit=1)[0]
    bench.recorder.answers[line] = ERROR
    nursery.start_soon(bench.supervisor.run)
    assert await bench.enter(Phase.MIRRORING) == ["lower HA", "upper HA"]
    assert bench.supervisor.state is HA
    assert [bench.kinds[component.name] for component in bench.components if component.name == name] == ["error"]
    bench.recorder.answers.clear()
    await trio.sleep(RETRY_MAX_S * 5)
    assert bench.recorder.take() == []
    asked = await bench.enter(Phase.ALONE)
    assert f"{name} quiesce" in asked
    assert f"{name} SINGLE" not in asked
    assert [f"{name} quiesce" in await bench.enter(phase) for phase in (Phase.OUTDATED, Phase.FOLLOWING)] == [False] * 2
    assert bench.kinds == {name: "error"}
    with pytest.raises(ComponentError, match=ERROR.name):
        await bench.supervisor.quiesce()


async def test_component_that_fails_is_asked_again_later_and_later(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    bench.recorder.answers["upper HA"] = FAILED
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.MIRRORING)
    waits_s = [FIRST_RETRY_S, 2.0, 4.0, 8.0, RETRY_MAX_S, RETRY_MAX_S, RETRY_MAX_S]
    await trio.sleep(sum(waits_s) + 0.5)
    assert bench.recorder.take() == ["upper quiesce", "upper HA"] * len(waits_s), "nobody else is asked"
    asked_s = bench.recorder.times_s["upper HA"]
    assert [after - before for before, after in pairwise(asked_s)] == pytest.approx(waits_s)
    assert (bench.kinds, bench.supervisor.ready) == ({"upper": "failed"}, False)
    bench.recorder.answers.clear()
    await trio.sleep(RETRY_MAX_S)
    assert bench.recorder.take() == ["upper quiesce", "upper HA"]
    assert (bench.kinds, bench.supervisor.ready) == ({}, True)
    await trio.sleep(RETRY_MAX_S * 5)
    assert bench.recorder.take() == []


def test_component_that_fails_for_a_day_is_still_asked() -> None:
    (component, _), faults = Bench().components, ComponentFaults()
    for _ in range(round(86_400 / RETRY_MAX_S)):
        faults.note(component, FaultKind.FAILED, ComponentError("lower: start answered"), 0.0)
    assert faults.next_s == RETRY_MAX_S


async def test_a_change_of_state_does_not_wait_for_a_retry(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench()
    bench.recorder.answers["lower HA"] = FAILED
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.MIRRORING)
    await trio.sleep(0.5)
    to_single = ["upper quiesce", "lower quiesce", "lower SINGLE", "upper SINGLE"]
    assert await bench.enter(Phase.ALONE) == to_single
    assert bench.kinds == {}


@pytest.mark.parametrize("answer", [FAILED, ERROR])
async def test_component_that_does_not_quiesce_is_not_started_on_top(
    answer: ctl_ha_comp_status, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.MIRRORING)
    bench.recorder.answers["upper quiesce"] = answer
    assert await bench.enter(Phase.ALONE) == ["upper quiesce", "lower quiesce", "lower SINGLE"]
    assert bench.supervisor.state is SINGLE
    bench.recorder.answers.clear()
    await trio.sleep(FIRST_RETRY_S + 0.1)
    if answer is FAILED:
        assert bench.recorder.take() == ["upper quiesce", "upper SINGLE"]
        assert bench.components[1].state is SINGLE
        assert bench.kinds == {}
    else:
        assert bench.recorder.take() == []
        assert bench.components[1].state is UNKNOWN
        assert bench.kinds == {"upper": "error"}


async def test_component_that_does_not_quiesce_for_good_is_asked_until_it_does(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.MIRRORING)
    bench.recorder.answers["upper quiesce"] = FAILED
    await bench.enter(Phase.OUTDATED)
    assert bench.kinds == {"upper": "failed"}
    bench.recorder.answers.clear()
    await trio.sleep(FIRST_RETRY_S + 0.1)
    assert bench.recorder.take() == ["upper quiesce"]
    assert (bench.kinds, bench.components[1].state) == ({}, UNKNOWN)
    assert await bench.enter(Phase.FOLLOWING) == ["lower HA", "upper HA"]


async def test_component_that_did_not_quiesce_may_go_back_where_it_was(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The peer is back and lost again before it was asked again: it still has the state that it had before."""
    bench = Bench()
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.ALONE)
    bench.recorder.answers["lower quiesce"] = FAILED
    assert await bench.enter(Phase.MIRRORING) == ["upper quiesce", "lower quiesce", "upper HA"]
    del bench.recorder.answers["lower quiesce"]
    assert await bench.enter(Phase.ALONE) == ["upper quiesce", "lower quiesce", "lower SINGLE", "upper SINGLE"]
    assert bench.kinds == {}


async def test_components_are_ready_once_all_run_beside_the_other_node(nursery: trio.Nursery) -> None:
    bench, told = Bench(), list[bool]()
    bench.supervisor.on_ready = lambda: told.append(bench.supervisor.ready)
    nursery.start_soon(bench.supervisor.run)
    for phase, ready in (
        (Phase.WAITING, False),
        (Phase.FOLLOWING, True),
        (Phase.SUSPENDED, True),
        (Phase.ALONE, False),
        (Phase.MIRRORING, True),
        (Phase.OUTDATED, False),
    ):
        await bench.enter(phase)
        assert bench.supervisor.ready is ready, phase
        assert not told or told[-1] is ready, phase


async def test_retry_of_a_component_that_hangs_holds_up_no_change_of_state(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    await bench.begin()
    nursery.start_soon(bench.supervisor.run)
    bench.recorder.hangs = {"lower HA"}
    await bench.enter(Phase.MIRRORING)
    await trio.sleep(STEP_LIMIT_S + FIRST_RETRY_S + 0.5)
    assert bench.recorder.take() == ["upper HA", "lower quiesce", "lower HA"]
    assert await bench.enter(Phase.ALONE) == ["upper quiesce", "lower quiesce", "lower SINGLE", "upper SINGLE"]
    assert bench.kinds == {}


async def test_a_start_that_is_cancelled_is_quiesced(autojump_clock: MockClock) -> None:
    bench = Bench(phase=Phase.MIRRORING)
    await bench.begin()
    bench.recorder.hangs = {"upper HA"}
    with trio.move_on_after(1):
        await bench.supervisor.run()
    assert bench.recorder.take() == ["lower HA", "upper HA"]
    await bench.supervisor.quiesce()
    assert bench.recorder.take() == ["upper quiesce", "lower quiesce"]


async def test_a_quiesce_that_is_cancelled_is_asked_again(autojump_clock: MockClock) -> None:
    bench = Bench(phase=Phase.MIRRORING)
    with trio.move_on_after(1):
        await bench.supervisor.run()
    bench.recorder.take()
    bench.recorder.hangs = {"upper quiesce"}
    with trio.move_on_after(1):
        await bench.supervisor.quiesce()
    bench.recorder.hangs = set()
    await bench.supervisor.quiesce()
    assert bench.recorder.take() == ["upper quiesce", "upper quiesce", "lower quiesce"]


async def test_every_component_is_quiesced_even_if_one_fails(nursery: trio.Nursery) -> None:
    bench = Bench()
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.ALONE)
    bench.recorder.answers["upper quiesce"] = FAILED
    with pytest.raises(ComponentError, match="upper: quiesce"):
        await bench.supervisor.quiesce()
    assert bench.recorder.take() == ["upper quiesce", "lower quiesce"]
    nursery.cancel_scope.cancel()


async def test_component_that_hangs_keeps_no_node_from_its_end(autojump_clock: MockClock) -> None:
    bench = Bench(phase=Phase.MIRRORING)
    bench.recorder.hangs.add("upper quiesce")
    with trio.move_on_after(1.0):
        await bench.supervisor.run()
    with pytest.raises(ComponentError, match="upper: quiesce took more than 10 s"):
        await bench.supervisor.quiesce()


async def test_component_that_hangs_keeps_no_node_from_its_start(autojump_clock: MockClock) -> None:
    bench = Bench(phase=Phase.MIRRORING)
    bench.recorder.hangs.add("lower init")
    began_s = trio.current_time()
    await bench.supervisor.init()
    assert trio.current_time() - began_s == pytest.approx(STEP_LIMIT_S)
    assert (bench.recorder.take(), bench.kinds) == (["lower init", "upper init"], {"lower": "stuck"})


@pytest.mark.parametrize("line", ["upper HA", "upper quiesce"])
async def test_step_that_never_returns_is_cancelled_and_the_component_restarted(
    line: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.ALONE)
    bench.recorder.hangs.add(line)
    await bench.enter(Phase.MIRRORING)
    await trio.sleep(STEP_LIMIT_S - 0.2)
    assert bench.supervisor.state is SINGLE
    await trio.sleep(0.4)
    assert bench.supervisor.state is HA
    assert (bench.kinds, bench.components[1].state) == ({"upper": "stuck"}, UNKNOWN)
    bench.recorder.hangs.clear()
    bench.recorder.take()
    await trio.sleep(FIRST_RETRY_S)
    assert bench.recorder.take() == ["upper quiesce", "upper HA"]
    assert (bench.kinds, bench.supervisor.ready) == ({}, True)


@pytest.mark.parametrize("jump_s", [STEP_LIMIT_S + 1.0, 3600.0])
async def test_a_clock_that_jumps_takes_nothing_of_the_time_for_a_step(
    jump_s: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A machine that was suspended goes on in the middle of a step."""
    clock = NodeClock(1000.0)
    bench = Bench(phase=Phase.MIRRORING, clock=clock)
    ended = trio.Event()

    async def slow_start(component: ctl_ha_component, _: ctl_ha_state) -> ctl_ha_comp_status:
        await trio.sleep(STEP_LIMIT_S - 2.0)
        ended.set()
        return OK

    bench.components[0].start = slow_start
    nursery.start_soon(bench.supervisor.run)
    for _ in range(2):
        await trio.sleep(1.0)
        clock.jump(jump_s)
    await ended.wait()
    await wait_all_tasks_blocked()
    assert bench.supervisor.state is HA
    nursery.cancel_scope.cancel()


async def test_a_clock_that_jumps_does_not_keep_a_step_from_its_limit(autojump_clock: MockClock) -> None:
    clock = NodeClock(0.0)
    bench = Bench(phase=Phase.MIRRORING, clock=clock)
    bench.recorder.hangs.add("upper HA")
    clock.jump(STEP_LIMIT_S * 2)
    with trio.move_on_after(STEP_LIMIT_S + 0.5):
        await bench.supervisor.run()
    assert bench.kinds == {"upper": "stuck"}


async def test_master_and_slave_are_the_component_s_own(nursery: trio.Nursery) -> None:
    bench = Bench()
    lower, upper = bench.components
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.MIRRORING)
    lower.state |= ctl_ha_state.CTL_HA_STATE_MASTER
    upper.state |= ctl_ha_state.CTL_HA_STATE_SLAVE
    await bench.enter(Phase.ALONE)
    assert lower.state == SINGLE | ctl_ha_state.CTL_HA_STATE_MASTER
    assert upper.state == SINGLE | ctl_ha_state.CTL_HA_STATE_SLAVE
    assert bench.supervisor.state is SINGLE
    nursery.cancel_scope.cancel()


# In whole nodes.


def recorded(recorders: dict[str, Recorder]) -> Callable[[Node], Sequence[ctl_ha_component]]:
    def components(node: Node) -> Sequence[ctl_ha_component]:
        recorder = recorders[node.config.node]
        return [recorder.component("lower"), recorder.component("upper")]

    return components


async def test_components_live_through_failover_return_handover_and_stop(autojump_clock: MockClock) -> None:
    recorders = {"a": Recorder(), "b": Recorder()}
    to_single = ["upper quiesce", "lower quiesce", "lower SINGLE", "upper SINGLE"]
    to_ha = ["upper quiesce", "lower quiesce", "lower HA", "upper HA"]
    async with open_pair(components=recorded(recorders)) as pair:
        await wait_all_tasks_blocked()
        # Both booted anew, so a went alone first and b came as a returning node.
        assert recorders["a"].take()[:2] == ["lower init", "upper init"]
        assert recorders["b"].take() == ["lower init", "upper init", "lower HA", "upper HA"]
        assert pair.nodes["a"].status().state == pair.nodes["b"].status().state == "CTL_HA_STATE_HA"
        pair.crash("a")
        await pair.wait_alone("b")
        await wait_all_tasks_blocked()
        assert recorders["b"].take() == to_single
        recorders["a"].take()
        await pair.restart("a")
        await pair.wait_protected()
        await wait_all_tasks_blocked()
        assert recorders["b"].take() == to_ha
        assert recorders["a"].take() == ["lower init", "upper init", "lower HA", "upper HA"]
        await pair.nodes["b"].switchover()
        await pair.wait_serving("a")
        assert recorders["a"].take() == recorders["b"].take() == []
        await pair.stop("a")
        assert recorders["a"].take() == ["upper quiesce", "lower quiesce"]
        await pair.wait_alone("b")
        await wait_all_tasks_blocked()
        assert recorders["b"].take() == to_single


async def test_the_only_member_goes_on_without_its_component_until_the_other_one_can_take_over(
    autojump_clock: MockClock,
) -> None:
    recorders = {"a": Recorder(), "b": Recorder()}
    async with open_pair(components=recorded(recorders)) as pair:
        recorders["b"].answers["lower SINGLE"] = ERROR
        pair.crash("a")
        b = await pair.wait_alone("b")
        await trio.sleep(60.0)
        assert (b.status().verdict, b.status().reasons) == ("degraded", ("peer-lost", "component-error"))
        await b.volume.write(0, b"x" * 512)
        await pair.restart("a")
        await pair.wait_until(lambda: "b" not in pair.nodes)
        assert isinstance(pair.failures["b"], ComponentError)
        a = await pair.wait_serving("a")
        assert await a.volume.read(0, 512) == b"x" * 512


async def test_component_that_hangs_holds_up_no_write_below_it(autojump_clock: MockClock) -> None:
    recorders = {"a": Recorder(), "b": Recorder()}
    async with open_pair(components=recorded(recorders)) as pair:
        a = pair.nodes["a"]
        recorders["a"].hangs.add("upper quiesce")
        pair.crash("b")
        await pair.wait_alone("a")
        await a.volume.write(0, b"x" * 512)
        assert pair.durable_copy("a")[:512] == b"x" * 512
        assert a.status().state == "CTL_HA_STATE_HA", "the step is still under way"
        await pair.wait_until(lambda: "component-failed" in a.status().reasons)
        recorders["a"].hangs.clear()
        await pair.wait_until(lambda: a.status().reasons == ("peer-lost",))
        assert recorders["a"].take()[-2:] == ["upper quiesce", "upper SINGLE"]
