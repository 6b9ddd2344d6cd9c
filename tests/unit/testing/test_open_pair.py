"""What comes out of the block of a pair: the test's own exception first, and no node that failed unseen."""

import re
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import ComponentError, DisconnectError, FailedError
from ctlha_trio._vocabulary import (
    ctl_ha_channel,
    ctl_ha_comp_status,
    ctl_ha_component,
    ctl_ha_event,
    ctl_ha_state,
    ctl_ha_status,
)
from ctlha_trio.ctl_ha import ctl_ha_msg_create, ctl_ha_msg_recv, ctl_ha_msg_send
from ctlha_trio.ha import ChannelConfig, Node
from ctlha_trio.testing import Components, MemoryPair, Moment, open_mirrors, open_pair

OK = ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
SINGLE = ctl_ha_state.CTL_HA_STATE_SINGLE
CTL = ctl_ha_channel.CTL_HA_CHAN_CTL
SUCCESS = ctl_ha_status.CTL_HA_STATUS_SUCCESS


class BrokenError(Exception):
    """What the components below raise."""


def breaking(moment: str, *names: str) -> Components:
    """A component that raises on the nodes of these names: as it is made, in ``init``, or in ``start`` as SINGLE."""

    def components(node: Node) -> Sequence[ctl_ha_component]:
        breaks = node.config.node in names
        if breaks and moment == "make":
            raise BrokenError(node.config.node)

        async def init(component: ctl_ha_component) -> ctl_ha_comp_status:
            if breaks and moment == "init":
                raise BrokenError(node.config.node)
            return OK

        async def start(component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
            if breaks and moment == "single" and state is SINGLE:
                raise BrokenError(node.config.node)
            return OK

        return [ctl_ha_component("mine", init=init, start=start, quiesce=init)]

    return components


async def fail(pair: MemoryPair) -> None:
    """Let the component of node b, made by ``breaking("single", "b")``, raise, and node b serve without it."""
    pair.crash("a")
    await pair.wait_until(lambda: bool(pair.nodes["b"].component_errors))
    await pair.wait_alone("b")


FAILURE = "node b failed: ComponentError(\"mine: start raised BrokenError('b')\")"


async def test_exception_of_the_block_is_raised_as_it_is(autojump_clock: MockClock) -> None:
    mine = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with open_pair():
            raise mine
    assert caught.value is mine
    assert not hasattr(mine, "__notes__")


async def test_group_of_the_block_stays_the_group_that_it_was(autojump_clock: MockClock) -> None:
    mine = ExceptionGroup("mine", [LookupError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_pair():
            raise mine
    assert caught.value is mine


async def test_exception_of_the_block_comes_before_a_failed_node_which_is_a_note(autojump_clock: MockClock) -> None:
    async def block() -> None:
        async with open_pair(components=breaking("single", "b")) as pair:
            await fail(pair)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        await block()
    assert caught.value.__notes__ == [FAILURE]


async def test_node_that_failed_unseen_is_raised_at_the_end(autojump_clock: MockClock) -> None:
    with pytest.raises(FailedError, match=f"^{re.escape(FAILURE)}$") as caught:
        async with open_pair(components=breaking("single", "b")) as pair:
            await fail(pair)
    assert isinstance(caught.value.__cause__, ComponentError)
    assert isinstance(caught.value.__cause__.__cause__, BrokenError)


@pytest.mark.parametrize("ends", ["stopped", "crashed", "mended"])
async def test_what_a_component_raised_is_raised_at_the_end_whatever_became_of_its_node(
    autojump_clock: MockClock, ends: str
) -> None:
    async def block() -> None:
        async with open_pair(components=breaking("single", "b")) as pair:
            await fail(pair)
            match ends:
                case "stopped":
                    await pair.stop("b")
                case "crashed":
                    pair.crash("b")
                case _:
                    await pair.restart("a")
                    await pair.wait_protected()

    with pytest.raises(FailedError, match=f"^{re.escape(FAILURE)}$"):
        await block()


async def test_two_failed_nodes_are_both_named(autojump_clock: MockClock) -> None:
    async def raises(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        raise BrokenError

    async def block() -> None:
        async with open_pair() as pair:
            for node in pair.nodes.values():
                node.open_channel(CTL, raises)
            pair.break_link()
            await pair.wait_until(lambda: all(node.handler_errors for node in pair.nodes.values()))
            for name in ("a", "b"):
                await pair.stop(name)

    with pytest.raises(FailedError, match=r"^node a failed: .*; node b failed: ") as caught:
        await block()
    assert isinstance(caught.value.__cause__, ExceptionGroup)


async def test_failure_that_was_looked_at_is_not_raised(autojump_clock: MockClock) -> None:
    async with open_pair(components=breaking("single", "b")) as pair:
        await fail(pair)
        assert isinstance(pair.failures["b"], ComponentError)


async def test_failure_after_the_one_that_was_looked_at_is_raised(autojump_clock: MockClock) -> None:
    async def block() -> None:
        async with open_pair(components=breaking("single", "b")) as pair:
            assert not pair.failures
            await fail(pair)
            assert pair.failures
            await pair.restart("a")
            await pair.stop("b")
            await pair.start("b")
            await pair.wait_protected()
            await fail(pair)

    with pytest.raises(FailedError, match="node b failed"):
        await block()


async def test_failed_start_is_raised_to_the_one_who_starts_and_nobody_else(autojump_clock: MockClock) -> None:
    async with open_pair(components=breaking("make", "b"), start=False) as pair:
        await pair.start("a")
        with pytest.raises(BrokenError, match="b"):
            await pair.start("b")
        assert not pair.is_up("b")


async def test_pair_that_cannot_start_raises_why(autojump_clock: MockClock) -> None:
    with pytest.raises(BrokenError, match="b"):
        async with open_pair(components=breaking("make", "b")):
            raise AssertionError("the block is not reached")


async def test_pair_whose_component_cannot_be_initialised_raises_why(autojump_clock: MockClock) -> None:
    with pytest.raises(FailedError, match=r"node b failed: .*mine: init raised BrokenError"):
        async with open_pair(components=breaking("init", "b")):
            raise AssertionError("the block is not reached")


async def test_cancellation_from_outside_passes(autojump_clock: MockClock) -> None:
    with trio.move_on_after(5.0) as scope:
        async with open_pair():
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancellation_in_a_nursery_of_the_block_passes(autojump_clock: MockClock) -> None:
    with trio.move_on_after(5.0) as scope:
        async with open_pair(), trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
    assert scope.cancelled_caught


async def test_interrupt_in_a_node_is_not_lost(autojump_clock: MockClock) -> None:
    """It cancels the block, whose cancellation must not be taken for its exception."""

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    async def block() -> None:
        async with open_pair() as pair:
            pair.on_power_cut = interrupt
            pair.disks["b"].cut_at(len(pair.disks["b"].calls) + 1, Moment.BEFORE)
            await pair.nodes["a"].volume.write(0, b"x")

    with pytest.raises(KeyboardInterrupt):
        await block()


async def test_seed_decides_what_the_nodes_draw(autojump_clock: MockClock) -> None:
    drawn = []
    for seed in (1, 1, 2):
        async with open_pair(seed=seed) as pair:
            drawn.append(pair.record.lineage)
    assert drawn[0] == drawn[1] != drawn[2]


async def test_mirrors_are_connected_and_their_channels_have_the_sizes_asked_for(autojump_clock: MockClock) -> None:
    got = bytearray(8)

    async def handler(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        assert await ctl_ha_msg_recv(channel, got, 8, 0) is SUCCESS

    async with open_mirrors(channels={CTL: ChannelConfig(message_size_bytes=8, slots=2)}) as mirrors:
        with mirrors.b.current():
            assert ctl_ha_msg_create(CTL, handler) is SUCCESS
        with mirrors.a.current():
            assert ctl_ha_msg_create(CTL, handler) is SUCCESS
            assert await ctl_ha_msg_send(CTL, b"received", 8, 1) is SUCCESS
        await mirrors.pair.wait_until(lambda: got == b"received")


async def test_mirror_that_is_down_says_so(autojump_clock: MockClock) -> None:
    async with open_mirrors() as mirrors:
        mirrors.pair.crash("b")
        await mirrors.pair.wait_alone("a")
        with pytest.raises(DisconnectError, match="node b is down"):
            _ = mirrors.b
        await mirrors.pair.restart("b")
        assert mirrors.b is mirrors.pair.nodes["b"]
