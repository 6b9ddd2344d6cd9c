"""Components through the life of a node: in order at the start, in reverse when they are quiesced."""

from collections.abc import Callable, Sequence

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import ComponentError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha import Node
from ctlha_trio.ha._supervisor import STEP_LIMIT_S, Supervisor
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
        if line in self.hangs:
            await trio.sleep_forever()
        return self.answers.get(line, OK)

    def take(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


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
        self.supervisor = Supervisor(self.clock, self.components, lambda: self.phase, self.changed)

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
    nursery.start_soon(bench.supervisor.run)
    await trio.lowlevel.checkpoint()
    bench.phase = Phase.ALONE
    bench.changed.unpark_all()
    await wait_all_tasks_blocked()
    assert bench.supervisor.state is SINGLE
    assert bench.recorder.take()[-2:] == ["lower SINGLE", "upper SINGLE"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("answer", [FAILED, ERROR])
async def test_component_that_does_not_initialise_ends_the_node(answer: ctl_ha_comp_status) -> None:
    bench = Bench()
    bench.recorder.answers["lower init"] = answer
    with pytest.raises(ComponentError, match=f"lower: init answered {answer.name}"):
        await bench.supervisor.init()
    assert bench.recorder.take() == ["lower init"]
    assert bench.components[0].status is answer


@pytest.mark.parametrize("line", ["lower HA", "upper HA"])
async def test_component_that_can_never_start_ends_the_node(line: str) -> None:
    bench = Bench(phase=Phase.MIRRORING)
    bench.recorder.answers[line] = ERROR
    with pytest.raises(ComponentError, match=ERROR.name):
        await bench.supervisor.run()
    assert bench.recorder.take()[-1] == line
    assert bench.supervisor.state is UNKNOWN
    await bench.supervisor.quiesce()
    asked = ["upper quiesce", "lower quiesce"] if line.startswith("upper") else ["lower quiesce"]
    assert bench.recorder.take() == asked, "whatever was asked to start is quiesced, and nothing else"


async def test_a_start_that_is_cancelled_is_quiesced(autojump_clock: MockClock) -> None:
    bench = Bench(phase=Phase.MIRRORING)
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


@pytest.mark.parametrize("line", ["lower HA", "upper HA"])
async def test_component_that_does_not_start_is_named_and_asked_again(line: str, nursery: trio.Nursery) -> None:
    bench = Bench()
    name = line.split(maxsplit=1)[0]
    bench.recorder.answers[line] = FAILED
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.MIRRORING)
    assert bench.supervisor.failed == {name}
    assert [component.state for component in bench.components if component.name == name] == [UNKNOWN]
    assert f"{name} SINGLE" in await bench.enter(Phase.ALONE)
    assert bench.supervisor.failed == frozenset()
    nursery.cancel_scope.cancel()


async def test_every_component_is_quiesced_even_if_one_fails(nursery: trio.Nursery) -> None:
    bench = Bench()
    nursery.start_soon(bench.supervisor.run)
    await bench.enter(Phase.ALONE)
    bench.recorder.answers["upper quiesce"] = FAILED
    with pytest.raises(ComponentError, match="upper: quiesce"):
        await bench.supervisor.quiesce()
    assert bench.recorder.take() == ["upper quiesce", "lower quiesce"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("line", ["lower init", "upper HA", "upper quiesce"])
async def test_step_that_never_returns_hits_its_limit(line: str, autojump_clock: MockClock) -> None:
    bench = Bench(phase=Phase.MIRRORING)
    bench.recorder.hangs.add(line)
    began = trio.current_time()

    async def live() -> None:
        await bench.supervisor.init()
        with trio.move_on_after(1.0):
            await bench.supervisor.run()
        await bench.supervisor.quiesce()

    if line == "upper HA":
        with pytest.raises(ComponentError, match="upper: start took more than 10 s"):
            await bench.supervisor.run()
        assert trio.current_time() - began == pytest.approx(STEP_LIMIT_S)
    else:
        name, _, step = line.partition(" ")
        with pytest.raises(ComponentError, match=f"{name}: {step} took more than 10 s"):
            await live()


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
    began_s = trio.current_time()
    clock.jump(STEP_LIMIT_S * 2)
    with pytest.raises(ComponentError, match="upper: start took more than 10 s"):
        await bench.supervisor.run()
    assert trio.current_time() - began_s == pytest.approx(STEP_LIMIT_S)


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


async def test_component_that_fails_its_start_ends_its_node_and_the_peer_goes_on(autojump_clock: MockClock) -> None:
    recorders = {"a": Recorder(), "b": Recorder()}
    async with open_pair(components=recorded(recorders)) as pair:
        recorders["b"].answers["lower SINGLE"] = ERROR
        pair.crash("a")
        await pair.wait_until(lambda: "b" in pair.failures)
        assert isinstance(pair.failures["b"], ComponentError)
        assert not pair.nodes


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
        await pair.wait_until(lambda: "a" in pair.failures)
