"""Components: which steps they are asked for and when, what their answers do, and the map of errors."""

import inspect
from collections.abc import Sequence
from itertools import product

import attrs
import pytest
import trio
from trio.testing import MockClock

import ctlha_trio
from ctlha_trio import (
    BusyError,
    ComponentError,
    CtlHaError,
    DisconnectError,
    EmptyError,
    FailedError,
    InvalidError,
    Node,
    _errors,
)
from ctlha_trio.ctl_ha import (
    CTL_HA_STATE_IS_HA,
    CTL_HA_STATE_IS_SINGLE,
    ctl_ha_comp_status,
    ctl_ha_component,
    ctl_ha_state,
    ctl_ha_status,
)
from ctlha_trio.ha import _lifecycle as lifecycle
from ctlha_trio.testing import MemoryPair, open_pair

UNKNOWN, SINGLE, HA = (
    ctl_ha_state.CTL_HA_STATE_UNKNOWN,
    ctl_ha_state.CTL_HA_STATE_SINGLE,
    ctl_ha_state.CTL_HA_STATE_HA,
)
MASTER, SLAVE = ctl_ha_state.CTL_HA_STATE_MASTER, ctl_ha_state.CTL_HA_STATE_SLAVE
OK, FAILED, ERROR = ctl_ha_comp_status
Step = tuple[str, str, ctl_ha_state | None]


@attrs.define(eq=False)
class Book:
    """Components ``one`` and ``two`` of both nodes, their steps, and the answers that are not OK."""

    steps: dict[str, list[Step]] = attrs.field(factory=lambda: {"a": [], "b": []})
    answers: dict[tuple[str, str, str], ctl_ha_comp_status] = attrs.field(factory=dict)
    components: dict[tuple[str, str], ctl_ha_component] = attrs.field(factory=dict)
    own: ctl_ha_state = UNKNOWN
    stuck: set[tuple[str, str]] = attrs.field(factory=set)

    def make(self, node: Node) -> Sequence[ctl_ha_component]:
        return [self._component(node.config.node, name) for name in ("one", "two")]

    def _component(self, node: str, name: str) -> ctl_ha_component:
        async def answer(step: str, state: ctl_ha_state | None = None) -> ctl_ha_comp_status:
            self.steps[node].append((name, step, state))
            if (node, step) in self.stuck:
                await trio.sleep_forever()
            return self.answers.get((node, name, step), OK)

        async def init(component: ctl_ha_component) -> ctl_ha_comp_status:
            return await answer("init")

        async def start(component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
            component.state |= self.own
            return await answer("start", state)

        async def quiesce(component: ctl_ha_component) -> ctl_ha_comp_status:
            return await answer("quiesce")

        component = self.components[node, name] = ctl_ha_component(name, init=init, start=start, quiesce=quiesce)
        return component

    def state(self, node: str, name: str = "one") -> ctl_ha_state:
        return self.components[node, name].state

    async def wait_state(self, pair: MemoryPair, node: str, state: str) -> None:
        await pair.wait_until(lambda: node in pair.nodes and pair.nodes[node].status().state == f"CTL_HA_STATE_{state}")


async def in_ha(pair: MemoryPair, book: Book) -> None:
    for name in ("a", "b"):
        await book.wait_state(pair, name, "HA")


BEGIN: list[Step] = [("one", "init", None), ("two", "init", None), ("one", "start", HA), ("two", "start", HA)]
STOP: list[Step] = [("two", "quiesce", None), ("one", "quiesce", None)]


def starts(state: ctl_ha_state) -> list[Step]:
    return [("one", "start", state), ("two", "start", state)]


async def test_failover_and_failback(autojump_clock: MockClock) -> None:
    book = Book(own=MASTER)
    async with open_pair(components=book.make) as pair:
        await in_ha(pair, book)
        assert book.steps["b"] == BEGIN
        assert book.state("b") == HA | MASTER
        pair.crash("a")
        await book.wait_state(pair, "b", "SINGLE")
        assert book.steps["b"] == BEGIN + STOP + starts(SINGLE)
        assert book.state("b") == SINGLE | MASTER
        await pair.restart("a")
        await book.wait_state(pair, "b", "HA")
        assert book.steps["b"] == BEGIN + STOP + starts(SINGLE) + STOP + starts(HA)
        assert book.state("b") == HA | MASTER
        await book.wait_state(pair, "a", "HA")
        await pair.stop("b")
        assert book.steps["b"] == BEGIN + STOP + starts(SINGLE) + STOP + starts(HA) + STOP


async def test_failed_runs_in_no_state_and_is_asked_again(autojump_clock: MockClock) -> None:
    book = Book(answers={("b", "one", "start"): FAILED})
    async with open_pair(components=book.make, start=False) as pair:
        await pair.start("a")
        await pair.start("b")
        await in_ha(pair, book)
        status = pair.nodes["b"].status()
        assert "component-failed" in status.reasons
        assert status.verdict == "degraded"
        assert (book.state("b"), book.components["b", "one"].status) == (UNKNOWN, FAILED)
        assert (book.state("b", "two"), book.components["b", "two"].status) == (HA, OK)
        book.answers.clear()
        pair.crash("a")
        await book.wait_state(pair, "b", "SINGLE")
        assert book.steps["b"][-2:] == starts(SINGLE)
        assert (book.state("b"), book.components["b", "one"].status) == (SINGLE, OK)
        assert "component-failed" not in pair.nodes["b"].status().reasons


@pytest.mark.parametrize("bad", ["error", "stuck"])
async def test_error_ends_the_node_with_a_goodbye_and_the_other_takes_over(autojump_clock: MockClock, bad: str) -> None:
    book = Book()
    async with open_pair(components=book.make) as pair:
        await in_ha(pair, book)
        pair.crash("b")
        await book.wait_state(pair, "a", "SINGLE")
        if bad == "error":
            book.answers["a", "two", "start"] = ERROR
        else:
            book.stuck.add(("a", "start"))
        await pair.restart("b")
        await pair.wait_until(lambda: "a" not in pair.nodes)
        assert isinstance(pair.failures["a"], ComponentError)
        assert await pair.wait_serving("b") is pair.nodes["b"]


@pytest.mark.parametrize("answer", [FAILED, ERROR])
async def test_a_component_that_cannot_be_initialised_is_not_started_and_its_node_serves(
    autojump_clock: MockClock, answer: ctl_ha_comp_status
) -> None:
    book = Book(answers={("a", "two", "init"): answer})
    async with open_pair(components=book.make, start=False) as pair:
        await pair.start("a")
        assert book.steps["a"] == BEGIN[:2]
        a = await pair.wait_alone("a")
        await a.volume.write(0, b"x" * 512)
        assert ("component-failed" if answer is FAILED else "component-error") in a.status().reasons
        assert ("two", "start", SINGLE) not in book.steps["a"]
        assert ("one", "start", SINGLE) in book.steps["a"]
        if answer is ERROR:
            await pair.stop("a")
            assert "two: init answered" in repr(pair.failures["a"])


@pytest.mark.parametrize("answer", [FAILED, ERROR])
async def test_a_component_that_does_not_quiesce_ends_the_node(
    autojump_clock: MockClock, answer: ctl_ha_comp_status
) -> None:
    book = Book(answers={("b", "two", "quiesce"): answer})
    async with open_pair(components=book.make) as pair:
        await in_ha(pair, book)
        pair.nodes["b"].stop("test")
        await pair.wait_until(lambda: "b" not in pair.nodes)
        assert book.steps["b"] == BEGIN + STOP, "the others are asked too"
        assert "quiesce answered" in repr(pair.failures["b"])
        await pair.wait_serving("a")


@pytest.mark.parametrize("fault", [LookupError("hook"), None])
async def test_a_hook_that_raises_ends_the_node(autojump_clock: MockClock, fault: Exception | None) -> None:
    def components(node: Node) -> list[ctl_ha_component]:
        async def ok(component: ctl_ha_component) -> ctl_ha_comp_status:
            return OK

        async def start(component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
            if fault is not None and node.config.node == "b":
                raise fault
            return OK

        return [ctl_ha_component("mine", init=ok, start=start, quiesce=ok)]

    async with open_pair(components=components, start=False) as pair:
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_until(lambda: bool(pair.failures) or (len(pair.nodes) == 2 and fault is None))
        assert ("hook" in repr(pair.failures.get("b"))) is (fault is not None)
        await pair.wait_serving("a")


@pytest.mark.parametrize(("running", "asked"), list(product((UNKNOWN, SINGLE, HA), repeat=2)))
async def test_only_the_transitions_of_the_table_are_asked_for(running: ctl_ha_state, asked: ctl_ha_state) -> None:
    legal = {(UNKNOWN, HA), (UNKNOWN, SINGLE), (HA, SINGLE), (SINGLE, HA)}
    book = Book()
    component = book._component("a", "one")
    component.state = running | SLAVE
    if (running, asked) in legal:
        assert await lifecycle.start(component, asked) is OK
        assert component.state == asked | SLAVE
        assert book.steps["a"] == [("one", "start", asked)]
    else:
        with pytest.raises(ComponentError, match="cannot go from"):
            await lifecycle.start(component, asked)
        assert component.state == running | SLAVE
        assert book.steps["a"] == []


@pytest.mark.parametrize("own", [UNKNOWN, SLAVE, MASTER, SLAVE | MASTER])
def test_slave_and_master_change_no_answer(own: ctl_ha_state) -> None:
    for state in (UNKNOWN, SINGLE, HA):
        assert CTL_HA_STATE_IS_HA(state | own) is (state is HA)
        assert CTL_HA_STATE_IS_SINGLE(state | own) is (state is SINGLE)


async def test_a_component_may_set_its_own_notes_and_the_framework_does_not_care(autojump_clock: MockClock) -> None:
    for own in (SLAVE, MASTER):
        book = Book(own=own)
        async with open_pair(components=book.make) as pair:
            await in_ha(pair, book)
            for name in ("a", "b"):
                assert book.state(name) == HA | own
                assert pair.nodes[name].status().state == "CTL_HA_STATE_HA"


BASES: dict[ctl_ha_status, type[CtlHaError]] = {
    ctl_ha_status.CTL_HA_STATUS_WAIT: EmptyError,
    ctl_ha_status.CTL_HA_STATUS_ERROR: FailedError,
    ctl_ha_status.CTL_HA_STATUS_INVALID: InvalidError,
    ctl_ha_status.CTL_HA_STATUS_DISCONNECT: DisconnectError,
    ctl_ha_status.CTL_HA_STATUS_BUSY: BusyError,
}


def test_each_failure_status_is_one_error_base_and_each_error_has_one_status() -> None:
    sentinels = {ctl_ha_status.CTL_HA_STATUS_MAX}
    failures = {status for status in ctl_ha_status if status > ctl_ha_status.CTL_HA_STATUS_SUCCESS} - sentinels
    assert failures | {ctl_ha_status.CTL_HA_STATUS_WAIT} == set(BASES)
    for status, base in BASES.items():
        assert base.status is status
    errors = [each for _, each in inspect.getmembers(_errors, inspect.isclass) if issubclass(each, CtlHaError)]
    for error in errors:
        bases = [base for base in BASES.values() if issubclass(error, base)]
        if error is not CtlHaError:
            assert [base.status for base in bases] == [error.status], error
        assert error is getattr(ctlha_trio, error.__name__)
    assert issubclass(BusyError, trio.WouldBlock)
    assert issubclass(EmptyError, trio.WouldBlock)
    assert issubclass(DisconnectError, trio.BrokenResourceError)
