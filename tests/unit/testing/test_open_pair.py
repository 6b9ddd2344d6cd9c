"""What comes out of the block of a pair: the test's own exception first, and no node that failed unseen."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import DisconnectError, FailedError
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
    """A component that raises on the nodes of these names: in ``init``, or in ``start`` as SINGLE."""

    def components(node: Node) -> Sequence[ctl_ha_component]:
        breaks = node.config.node in names

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
    """Let node b, made by ``breaking("single", "b")``, fail."""
    pair.crash("a")
    await pair.wait_until(lambda: not pair.is_up("b"))


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
    assert caught.value.__notes__ == ["node b failed: BrokenError('b')"]


async def test_node_that_failed_unseen_is_raised_at_the_end(autojump_clock: MockClock) -> None:
    with pytest.raises(FailedError, match=r"^node b failed: BrokenError\('b'\)$") as caught:
        async with open_pair(components=breaking("single", "b")) as pair:
            await fail(pair)
    assert isinstance(caught.value.__cause__, BrokenError)


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
        assert isinstance(pair.failures["b"], BrokenError)


async def test_failure_after_the_one_that_was_looked_at_is_raised(autojump_clock: MockClock) -> None:
    async def block() -> None:
        async with open_pair(components=breaking("single", "b")) as pair:
            assert not pair.failures
            await fail(pair)
            assert pair.failures
            await pair.restart("a")
            await pair.start("b")
            await pair.wait_until(lambda: not pair.is_up("b"))

    with pytest.raises(FailedError, match="node b failed"):
        await block()


async def test_failed_start_is_raised_to_the_one_who_starts_and_nobody_else(autojump_clock: MockClock) -> None:
    async with open_pair(components=breaking("init", "b"), start=False) as pair:
        await pair.start("a")
        with pytest.raises(BrokenError, match="b"):
            await pair.start("b")
        assert not pair.is_up("b")


async def test_pair_that_cannot_start_raises_why(autojump_clock: MockClock) -> None:
    with pytest.raises(BrokenError, match="b"):
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
