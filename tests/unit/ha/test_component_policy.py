"""What becomes of the role when a component does not run: it goes where that is of use, and not to and fro."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import ComponentError, FailedError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.ha import Node
from ctlha_trio.ha._component_failover import (
    COMPONENT_HOLD_DOWN_S as HOLD_DOWN_S,
    HOLD_DOWN_MAX_S,
    RETRIES,
    STABLE_HOLD_DOWNS,
    ComponentFailover,
)
from ctlha_trio.ha._component_faults import ComponentFault, FaultKind
from ctlha_trio.pair import SECONDS_MAX, Obstacle, Phase, Record
from ctlha_trio.testing import MemoryPair, open_pair

OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
FAILED = ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED
ERROR = ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR
SINGLE = ctl_ha_state.CTL_HA_STATE_SINGLE
HA = ctl_ha_state.CTL_HA_STATE_HA
BY_A = Record(cluster="c", resource="r", epoch=4, lineage="l", primary="a", members=("a", "b"), proposal="0")
BY_B = BY_A.succeed(primary="b", members=("a", "b"), proposal="1")
ALONE_A = BY_B.succeed(primary="a", members=("a",), proposal="2")


def fault(kind: FaultKind = FaultKind.ERROR, times: int = 1) -> tuple[ComponentFault, ...]:
    return (ComponentFault(kind, ComponentError("part: start answered"), times, 0.0),)


@pytest.mark.parametrize(
    ("kind", "times", "goes"),
    [
        (FaultKind.FAILED, RETRIES, False),
        (FaultKind.FAILED, RETRIES + 1, True),
        (FaultKind.STUCK, 1, True),
        (FaultKind.RAISED, 1, True),
        (FaultKind.ERROR, 1, True),
    ],
)
def test_the_role_goes_at_once_but_for_what_a_retry_may_mend(kind: FaultKind, times: int, goes: bool) -> None:
    failover = ComponentFailover("a")
    found = failover.look(fault(kind, times), 1.0, possible=True)
    assert (found is not None) is goes


def test_without_a_fault_or_without_somebody_to_take_it_the_role_stays() -> None:
    failover = ComponentFailover("a")
    assert failover.look((), 1000.0, possible=True) is None
    assert failover.look(fault(), 1000.0, possible=False) is None


def wait_s(failover: ComponentFailover) -> float:
    """For how long the role is held from now on."""
    for looks in range(1, 10_000):
        if failover.look(fault(), 1.0, possible=True):
            return looks
    raise AssertionError("never")


def test_a_role_that_was_handed_here_is_held_for_a_while() -> None:
    failover = ComponentFailover("a")
    failover.recorded(BY_B, BY_A)
    assert wait_s(failover) == HOLD_DOWN_S


@pytest.mark.parametrize(("before", "after"), [(None, BY_A), (BY_A, BY_B), (BY_B, ALONE_A), (ALONE_A, BY_A)])
def test_what_is_no_handover_to_this_node_holds_nothing(before: Record | None, after: Record) -> None:
    failover = ComponentFailover("a")
    failover.recorded(before, after)
    assert wait_s(failover) == 1


def test_a_role_that_comes_back_soon_is_held_longer_and_longer_up_to_a_bound() -> None:
    failover = ComponentFailover("a")
    waits = []
    for _ in range(9):
        failover.recorded(BY_B, BY_A)
        waits.append(wait_s(failover))
        failover.ended(well=True)
    assert waits[:4] == [HOLD_DOWN_S, 2 * HOLD_DOWN_S, 4 * HOLD_DOWN_S, 8 * HOLD_DOWN_S]
    assert waits[-1] == HOLD_DOWN_MAX_S
    failover.look((), STABLE_HOLD_DOWNS * HOLD_DOWN_MAX_S, possible=False)
    failover.recorded(BY_B, BY_A)
    assert wait_s(failover) == HOLD_DOWN_S, "the other one kept it"


def test_a_role_that_comes_back_because_the_other_node_died_is_held_longer_and_longer_too() -> None:
    """One that dies each time that it serves is of no more use to clients than a component that fails."""
    failover = ComponentFailover("a")
    waits = [wait_s(failover)]
    for _ in range(3):
        failover.ended(well=True)
        failover.recorded(BY_B, ALONE_A)
        waits.append(wait_s(failover))
    assert waits == [1, 2 * HOLD_DOWN_S, 4 * HOLD_DOWN_S, 8 * HOLD_DOWN_S]
    failover.ended(well=True)
    failover.look((), STABLE_HOLD_DOWNS * 8 * HOLD_DOWN_S, possible=False)
    failover.recorded(BY_B, ALONE_A)
    assert wait_s(failover) == 1, "the other one kept it for long enough"


def test_a_handover_that_does_not_come_about_is_tried_again_later() -> None:
    failover = ComponentFailover("a")
    assert wait_s(failover) == 1
    failover.ended(well=False)
    assert wait_s(failover) == HOLD_DOWN_S


@pytest.mark.parametrize("dies", [False, True])
def test_processes_that_begin_anew_each_time_do_not_hand_the_role_to_and_fro(dies: bool) -> None:
    """Who gives the role away ends; the process that follows hears of it from the one that has the role."""
    serving, other = ComponentFailover("a"), ComponentFailover("b")
    records = {"a": BY_A, "b": BY_B}
    waits = []
    for giver, taker in [("a", "b"), ("b", "a")] * 10:
        waited_s = wait_s(serving)
        waits.append(waited_s)
        other.look((), waited_s, possible=False)
        serving.ended(well=True)
        after = records[taker]
        other.recorded(records[giver], after.succeed(primary=taker, members=(taker,), proposal="4") if dies else after)
        other.look((), 3.0, possible=False)
        fresh = ComponentFailover(giver)
        fresh.told(other.taken_s, other.hold_down_s)
        serving, other = other, fresh
    assert sorted(waits) == waits
    assert waits[-1] > HOLD_DOWN_MAX_S - 10
    assert sum(waits) > 10 * HOLD_DOWN_MAX_S


def test_what_a_process_is_told_of_long_ago_holds_nothing() -> None:
    failover = ComponentFailover("a")
    failover.told(STABLE_HOLD_DOWNS * 40.0, 40.0)
    failover.told(float(SECONDS_MAX), HOLD_DOWN_S)
    failover.recorded(BY_B, BY_A)
    assert wait_s(failover) == HOLD_DOWN_S


def test_nobody_is_told_to_hold_the_role_for_ever() -> None:
    failover = ComponentFailover("a")
    failover.told(0.0, float(SECONDS_MAX))
    failover.recorded(BY_B, BY_A)
    assert wait_s(failover) == HOLD_DOWN_MAX_S


# In whole nodes.


@attrs.define(eq=False)
class Parts:
    """A component for each node, which answers each start as it is told."""

    answers: dict[str, ctl_ha_comp_status] = attrs.Factory(dict)
    """By node; OK where nothing is said."""
    raises: set[tuple[str, str]] = attrs.Factory(set)
    """Node and step."""
    held: dict[str, trio.Event] = attrs.Factory(dict)
    """By node: a start waits for it."""
    starts: list[str] = attrs.Factory(list)

    def make(self, node: Node) -> Sequence[ctl_ha_component]:
        name = node.config.node

        async def begin(step: str) -> None:
            await trio.lowlevel.checkpoint()
            if (name, step) in self.raises:
                raise LookupError(f"a bug in {step}")

        async def init(_: ctl_ha_component) -> ctl_ha_comp_status:
            await begin("init")
            return OK

        async def start(_: ctl_ha_component, __: ctl_ha_state) -> ctl_ha_comp_status:
            self.starts.append(name)
            await begin("start")
            if name in self.held:
                await self.held[name].wait()
            return self.answers.get(name, OK)

        async def quiesce(_: ctl_ha_component) -> ctl_ha_comp_status:
            await begin("quiesce")
            return OK

        return [ctl_ha_component("part", init=init, start=start, quiesce=quiesce)]


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[MemoryPair, Parts]]:
    parts = Parts()
    async with open_pair(components=parts.make) as pair:
        await pair.wait_protected()
        yield pair, parts


async def rejoin(pair: MemoryPair, away: str, there: str) -> None:
    """That node dies, the other goes on alone, and it comes back as the secondary."""
    pair.crash(away)
    await pair.wait_alone(there)
    await pair.restart(away)
    await pair.wait_until(lambda: pair.record.members == ("a", "b"))


async def test_a_primary_whose_component_stays_down_hands_over_and_follows(autojump_clock: MockClock) -> None:
    async with opened() as (pair, parts):
        whys: list[str] = []
        a = pair.nodes["a"]
        a.follow_records(lambda before, after, revision, why: whys.append(why))
        parts.answers["a"] = FAILED
        await rejoin(pair, "b", "a")
        began_s = trio.current_time()
        await pair.wait_until(lambda: "component-failed" in a.status().reasons)
        assert a.status().verdict == "degraded"
        await pair.wait_until(lambda: pair.record.primary == "b")
        assert trio.current_time() - began_s < 3.0
        await pair.wait_until(lambda: a.pair.phase is Phase.FOLLOWING)
        assert whys[-1] == "component-failed: part: start answered CTL_HA_COMP_STATUS_FAILED"
        b = await pair.wait_serving("b")
        assert (b.status().verdict, b.status().reasons) == ("degraded", ("peer-components",))
        assert a.status().reasons == ("component-failed",)
        parts.answers.clear()
        await pair.wait_protected()
        await trio.sleep(HOLD_DOWN_S * 3)
        assert pair.record.primary == "b", "nobody hands it back"


async def test_a_switchover_that_is_refused_takes_no_reason_from_the_one_under_way(autojump_clock: MockClock) -> None:
    async with opened() as (pair, _):
        roles = pair.nodes["b"]._driver.roles
        roles.why = "component-failed: part"
        with pytest.raises(FailedError, match="not-primary"):
            await roles.hand_over()
        assert roles.why == "component-failed: part"


async def test_what_one_retry_mends_moves_nothing(autojump_clock: MockClock) -> None:
    async with opened() as (pair, parts):
        a = pair.nodes["a"]
        pair.crash("b")
        await pair.wait_alone("a")
        await wait_all_tasks_blocked()
        parts.answers["a"] = FAILED
        await pair.restart("b")
        await pair.wait_until(lambda: a.status().reasons == ("component-failed",))
        parts.answers.clear()
        await pair.wait_protected()
        assert pair.record.primary == "a"


async def test_two_nodes_of_which_neither_is_whole_do_not_hand_the_role_to_and_fro(autojump_clock: MockClock) -> None:
    async with opened() as (pair, parts):
        parts.answers.update(dict.fromkeys("ab", FAILED))
        await rejoin(pair, "b", "a")
        await trio.sleep(120.0)
        assert pair.record.primary == "a"
        a, b = (pair.nodes[name].status() for name in "ab")
        assert (a.verdict, a.reasons) == ("degraded", ("component-failed", "peer-components"))
        assert (b.verdict, b.reasons) == ("degraded", ("component-failed", "peer-components"))
        await pair.nodes["a"].volume.write(0, b"y" * 512)
        with pytest.raises(FailedError, match="nothing was handed over: peer-components"):
            await pair.nodes["a"].switchover()
        assert pair.nodes["a"].rehearse_switchover().plan.obstacles == (Obstacle.PEER_COMPONENTS,)


async def test_a_secondary_with_a_component_beyond_retry_ends_and_the_primary_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with opened() as (pair, parts):
        parts.answers["b"] = ERROR
        await rejoin(pair, "b", "a")
        await pair.wait_until(lambda: "b" in pair.failures)
        assert isinstance(pair.failures["b"], ComponentError)
        await pair.wait_alone("a")


async def test_a_primary_with_a_component_beyond_retry_hands_over_before_it_ends(autojump_clock: MockClock) -> None:
    async with opened() as (pair, parts):
        parts.answers["a"] = ERROR
        records: list[tuple[str, tuple[str, ...]]] = []
        await rejoin(pair, "b", "a")
        pair.nodes["b"].follow_records(lambda before, after, *_: records.append((after.primary, after.members)))
        await pair.wait_until(lambda: "a" in pair.failures)
        await pair.wait_alone("b")
        assert records[-2:] == [("b", ("a", "b")), ("b", ("b",))]


async def test_nodes_that_are_started_again_each_time_do_not_hand_the_role_to_and_fro(
    autojump_clock: MockClock,
) -> None:
    """The component of each process answers ERROR once it has served alone."""

    def components(node: Node) -> Sequence[ctl_ha_component]:
        starts: list[ctl_ha_state] = []

        async def agree(_: ctl_ha_component) -> ctl_ha_comp_status:
            await trio.lowlevel.checkpoint()
            return OK

        async def start(_: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
            await trio.lowlevel.checkpoint()
            starts.append(state)
            return ERROR if SINGLE in starts and state is HA else OK

        return [ctl_ha_component("part", init=agree, start=start, quiesce=agree)]

    async def start_again(pair: MemoryPair, name: str) -> None:
        while True:
            await pair.wait_until(lambda: not pair.is_up(name))
            await pair.start(name)

    moves_s: list[float] = []
    primary = ""
    async with open_pair(components=components, start=False) as pair, trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(start_again, pair, name)
        began_s = trio.current_time()
        while trio.current_time() < began_s + 100.0:
            await trio.sleep(0.25)
            if pair.record.primary != primary:
                primary = pair.record.primary
                moves_s.append(trio.current_time() - began_s)
        nursery.cancel_scope.cancel()
        assert set(pair.failures) == {"a", "b"}
    gaps_s = [after - before for before, after in pairwise(moves_s)]
    assert 3 < len(gaps_s) < 7, gaps_s
    assert all(after > 1.8 * before for before, after in pairwise(gaps_s[1:])), gaps_s


async def test_nobody_is_protected_while_components_are_being_started(autojump_clock: MockClock) -> None:
    async with opened() as (pair, parts):
        parts.held["b"] = trio.Event()
        await rejoin(pair, "b", "a")
        a, b = pair.nodes["a"], pair.nodes["b"]
        await pair.wait_until(lambda: b.pair.phase is Phase.FOLLOWING)
        await trio.sleep(5.0)
        assert (b.status().verdict, b.status().reasons) == ("degraded", ("component-starting",))
        assert (a.status().verdict, a.status().reasons) == ("degraded", ("peer-components",))
        parts.held["b"].set()
        await pair.wait_protected()
        pair.break_link()
        await pair.wait_until(lambda: a.status().reasons != ())
        await pair.wait_protected()


@pytest.mark.parametrize("step", ["init", "start", "quiesce"])
async def test_a_node_that_is_alone_serves_whatever_its_component_raises(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    parts = Parts(raises={("a", step)})
    async with open_pair(components=parts.make, start=False) as pair:
        await pair.start("a")
        a = await pair.wait_alone("a")
        if step == "quiesce":
            await pair.start("b")
        await pair.wait_until(lambda: "component-raised" in a.status().reasons)
        await a.volume.write(0, b"x" * 512)
        if step != "quiesce":
            await trio.sleep(60.0)
            assert a.status().reasons == ("peer-lost", "component-raised")
            assert a.status().verdict == "degraded"
            assert "the role" not in caplog.text, "there is nobody to give it to, so nothing is tried"
            await a.volume.write(512, b"y" * 512)
            await pair.start("b")
        await pair.wait_until(lambda: "a" in pair.failures)
        assert isinstance(pair.failures["a"], ComponentError)
        assert repr(pair.failures["a"].__cause__) == f"LookupError('a bug in {step}')"
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, 512) == b"x" * 512


async def test_a_component_that_raised_and_is_mended_costs_its_node_nothing(autojump_clock: MockClock) -> None:
    parts = Parts(raises={("a", "init")})
    async with open_pair(components=parts.make, start=False) as pair:
        await pair.start("a")
        a = await pair.wait_alone("a")
        await pair.wait_until(lambda: "component-raised" in a.status().reasons)
        parts.raises.clear()
        await pair.start("b")
        await pair.wait_protected()
        assert (pair.record.primary, pair.nodes["a"]) == ("a", a)
        assert list(pair.failures) == ["a"], "who tests the component is told"


async def test_a_secondary_whose_component_raises_ends_with_that(autojump_clock: MockClock) -> None:
    async with opened() as (pair, parts):
        parts.raises.add(("b", "init"))
        await rejoin(pair, "b", "a")
        await pair.wait_until(lambda: "b" in pair.failures)
        assert repr(pair.failures["b"]) == """ComponentError("part: init raised LookupError('a bug in init')")"""
        await pair.wait_alone("a")
