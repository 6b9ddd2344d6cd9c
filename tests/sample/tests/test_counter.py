"""That the counter survives what happens to its nodes, and that the types of the fixtures can be written down."""

import pytest
import trio
from counter import Counter, counting
from trio.testing import MockClock

from ctlha_trio import ChannelConfig
from ctlha_trio.ctl_ha import (
    ctl_ha_channel,
    ctl_ha_event,
    ctl_ha_msg_create,
    ctl_ha_msg_recv,
    ctl_ha_msg_send,
    ctl_ha_state,
    ctl_ha_status,
)
from ctlha_trio.testing import MemoryPair, OpenMirrors, OpenPair

CTL = ctl_ha_channel.CTL_HA_CHAN_CTL
SINGLE = ctl_ha_state.CTL_HA_STATE_SINGLE
SUCCESS = ctl_ha_status.CTL_HA_STATUS_SUCCESS


@pytest.mark.trio
@pytest.mark.parametrize("silently", [False, True])
async def test_count_survives_failover(silently: bool, ctlha_pair: OpenPair, ctlha_clock: MockClock) -> None:
    counters: dict[str, Counter] = {}
    async with ctlha_pair(components=lambda node: [counting(node, counters)], size_bytes=1 << 16) as pair:
        assert await counters["a"].add() == 1
        pair.crash("a", silently=silently)
        await pair.wait_until(lambda: counters["b"].state is SINGLE)
        assert await counters["b"].add() == 2


@pytest.mark.trio
@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_count_survives_the_loss_of_both(order: str, ctlha_pair: OpenPair, ctlha_clock: MockClock) -> None:
    counters: dict[str, Counter] = {}
    async with ctlha_pair(components=lambda node: [counting(node, counters)]) as pair:
        await counters["a"].add()
        for name in order:
            pair.crash(name)
        for name in reversed(order):
            await pair.restart(name)
        await pair.wait_protected()
        assert await counters[primary_of(pair)].add() == 2


@pytest.mark.trio
async def test_only_one_side_of_a_partition_counts(ctlha_pair: OpenPair, ctlha_clock: MockClock) -> None:
    counters: dict[str, Counter] = {}
    async with ctlha_pair(components=lambda node: [counting(node, counters)], seed=7) as pair:
        pair.slow(network_s=0.005, disk_call_s=0.001)
        pair.partition()
        await pair.wait_until(lambda: any(counter.state is SINGLE for counter in counters.values()))
        assert await counters[primary_of(pair)].add() == 1
        pair.heal()
        await pair.wait_protected()
        assert await counters[primary_of(pair)].add() == 2


def primary_of(pair: MemoryPair) -> str:
    (name,) = (name for name, node in pair.nodes.items() if node.status().role == "primary")
    return name


def test_message_arrives_in_a_plain_run(ctlha_mirrors: OpenMirrors, ctlha_clock: MockClock) -> None:
    got = bytearray(4)

    async def handler(channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        if event is ctl_ha_event.CTL_HA_EVT_MSG_RECV:
            assert await ctl_ha_msg_recv(channel, got, 4, 0) is SUCCESS

    async def main() -> None:
        async with ctlha_mirrors(channels={CTL: ChannelConfig(message_size_bytes=4)}) as mirrors:
            for node in (mirrors.b, mirrors.a):
                with node.current():
                    assert ctl_ha_msg_create(CTL, handler) is SUCCESS
            with mirrors.a.current():
                assert await ctl_ha_msg_send(CTL, b"ping", 4, 1) is SUCCESS
            await mirrors.pair.wait_until(lambda: got == b"ping")

    trio.run(main, clock=ctlha_clock)
