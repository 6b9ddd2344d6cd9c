"""Tasks that wait for a message, of which one may receive for itself."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio import DisconnectError, MessageChannel
from ctlha_trio.ctl_ha import CTL_HA_CHAN_CTL, CTL_HA_CHAN_ZFS
from ctlha_trio.ha._receivers import Receivers
from ctlha_trio.testing import MemoryPair, open_pair

SIZE = 512


@attrs.define(eq=False)
class Waiting:
    """Tasks that wait, and what each gets."""

    nursery: trio.Nursery
    receivers: Receivers = attrs.field(factory=Receivers)
    gate: trio.Event = attrs.field(factory=trio.Event)
    """Opens when the leader has received."""
    leads: int = 0
    got: dict[str, bytes | Exception] = attrs.field(factory=dict)

    async def lead(self) -> None:
        self.leads += 1
        await self.gate.wait()

    async def wait(self, name: str, scope: trio.CancelScope) -> None:
        with scope:
            try:
                self.got[name] = await self.receivers.wait(self.lead)
            except DisconnectError as error:
                self.got[name] = error

    async def start(self, name: str) -> trio.CancelScope:
        """Return when it waits."""
        scope = trio.CancelScope()
        self.nursery.start_soon(self.wait, name, scope)
        await wait_all_tasks_blocked()
        return scope


async def test_messages_go_to_those_who_wait_in_their_order(nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery)
    for name in ("leader", "second", "third"):
        await waiting.start(name)
    assert waiting.leads == 1, "whoever waits behind others leaves it to them"
    waiting.receivers.give(b"1")
    waiting.receivers.give(b"2")
    waiting.gate.set()
    await wait_all_tasks_blocked()
    assert waiting.got == {"leader": b"1", "second": b"2"}
    waiting.receivers.give(b"3")
    await wait_all_tasks_blocked()
    assert waiting.got["third"] == b"3"


async def test_a_leader_that_received_nothing_for_itself_keeps_its_place(nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery)
    for name in ("leader", "second"):
        await waiting.start(name)
    waiting.gate.set()
    await wait_all_tasks_blocked()
    assert not waiting.got
    waiting.receivers.give(b"1")
    await wait_all_tasks_blocked()
    assert waiting.got == {"leader": b"1"}


async def test_what_a_cancelled_leader_waited_for_goes_to_the_next(nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery)
    scope = await waiting.start("leader")
    await waiting.start("second")
    scope.cancel()
    await wait_all_tasks_blocked()
    waiting.receivers.give(b"1")
    await wait_all_tasks_blocked()
    assert waiting.got == {"second": b"1"}
    assert not waiting.receivers.tasks


async def test_a_leader_fails_like_all_others(nursery: trio.Nursery) -> None:
    waiting, error = Waiting(nursery), DisconnectError("the end")
    for name in ("leader", "second"):
        await waiting.start(name)
    waiting.receivers.fail(error)
    waiting.gate.set()
    await wait_all_tasks_blocked()
    assert waiting.got == {"leader": error, "second": error}


async def test_whoever_comes_while_a_leader_that_is_served_has_not_left_waits(nursery: trio.Nursery) -> None:
    waiting = Waiting(nursery)
    await waiting.start("leader")
    waiting.receivers.give(b"1")
    await waiting.start("second")
    assert waiting.leads == 1
    waiting.receivers.give(b"2")
    waiting.gate.set()
    await wait_all_tasks_blocked()
    assert waiting.got == {"leader": b"1", "second": b"2"}


def is_led(pair: MemoryPair, channel: MessageChannel) -> bool:
    """Whether a consumer of the channel receives for its session."""
    return channel._receivers._leader is not None


async def echo(channel: MessageChannel) -> None:
    while True:
        channel.send_nowait(await channel.receive())


async def test_who_answers_each_message_leads_until_the_session_ends(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=1 << 16) as pair, trio.open_nursery() as nursery:
        one, other = (pair.nodes[name].open_channel(CTL_HA_CHAN_CTL) for name in "ab")
        for each in (one, other):
            await each.wait_connected()
            await each.wait_for_credit()
        ended: list[DisconnectError] = []

        async def serve() -> None:
            try:
                await echo(other)
            except DisconnectError as error:
                ended.append(error)

        nursery.start_soon(serve)
        led = 0
        for number in range(100):
            one.send_nowait(bytes([number]) * SIZE)
            assert await one.receive() == bytes([number]) * SIZE
            led += is_led(pair, other)
        assert led > 80
        other_bystander = pair.nodes["b"].open_channel(CTL_HA_CHAN_ZFS)
        with trio.fail_after(1):
            await pair.nodes["a"].open_channel(CTL_HA_CHAN_ZFS).send(bytes(SIZE))
            assert await other_bystander.receive() == bytes(SIZE)
        pair.break_link()
        with trio.fail_after(1), pytest.raises(DisconnectError):
            await one.receive()
        await wait_all_tasks_blocked()
        assert len(ended) == 1


async def test_an_interrupted_leader_waits_no_more() -> None:
    """What comes goes to somebody else, and it is not woken where it waits then."""
    receivers = Receivers()

    async def interrupted() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await receivers.wait(interrupted)
    assert not receivers.tasks
