"""Pushes and pulls that are answered: done once and in order, denied by name, cut anywhere. All under virtual time."""

import itertools
import math
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import BusyError, CtlHaError, DisconnectError, InvalidError, RemoteProtocolError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_event, ctl_ha_status
from ctlha_trio.dma import TRANSFERS_IN_FLIGHT_MAX, Dma, Region, Rights, Transfer
from ctlha_trio.dma._regions import REGIONS_MAX, RegionTable
from ctlha_trio.link import Channel, ChannelEvent, Connected, Disconnected, EventRange, Link, LinkConfig
from ctlha_trio.link._answers import Answers
from ctlha_trio.link._pace import TALK_BYTES
from ctlha_trio.link._writing import COPIED_DATA_MAX
from ctlha_trio.seams import Buffer, MemoryNetwork, TrioClock
from ctlha_trio.seams._memory_network import BUFFER_BYTES, MemoryStream
from ctlha_trio.wire import Denial, PullRequest

SLOT = 16
MIB = 1024 * 1024
FRAGMENT = 256 * 1024
SIZES = [1, 7, FRAGMENT, FRAGMENT + 1, 3 * MIB + 1]
BOTH = Rights.READ | Rights.WRITE
WAIT, SUCCESS, ERROR, DISCONNECT = (
    ctl_ha_status.CTL_HA_STATUS_WAIT,
    ctl_ha_status.CTL_HA_STATUS_SUCCESS,
    ctl_ha_status.CTL_HA_STATUS_ERROR,
    ctl_ha_status.CTL_HA_STATUS_DISCONNECT,
)


@attrs.define(eq=False)
class Side:
    """One node: link, channel, DMA, and what its transfers came to."""

    link: Link
    channel: Channel
    dma: Dma
    reports: list[CtlHaError]
    done: list[Transfer] = attrs.field(factory=list)
    _starting: bool = False

    def on_done(self, transfer: Transfer) -> None:
        assert not self._starting, "never within a start"
        assert transfer.status is not WAIT
        assert all(transfer is not other for other in self.done), "done twice"
        if transfer.status is DISCONNECT:
            assert self.channel.has_session, "before the channel is told of the loss"
            assert self.link.session is None, "no session to start anything in"
        self.done.append(transfer)

    def push(self, remote: RemoteBuffer, data: Buffer) -> Transfer:
        return self._start(lambda: self.dma.start_push(remote, data, on_done=self.on_done))

    def pull(self, remote: RemoteBuffer, into: bytearray) -> Transfer:
        return self._start(lambda: self.dma.start_pull(remote, memoryview(into), on_done=self.on_done))

    def _start(self, start: Callable[[], Transfer]) -> Transfer:
        self._starting = True
        try:
            return start()
        finally:
            self._starting = False

    def register(self, memory: bytes | bytearray | memoryview, rights: Rights = BOTH) -> Region:
        return self.dma.register(memory, epoch=self.link.epoch, rights=rights)

    @property
    def told(self) -> list[tuple[ctl_ha_status, str]]:
        return [(transfer.status, transfer.reason) for transfer in self.done]

    @property
    def faults(self) -> list[str]:
        return [error.reason for error in self.reports if isinstance(error, RemoteProtocolError)]


def make_side(network: MemoryNetwork, node: str, peer: str) -> Side:
    reports: list[CtlHaError] = []
    entropy = random.Random(node).randbytes
    link = Link(
        LinkConfig(cluster="c", node=node, peer=peer, resource="r", listen=node, peer_address=peer),
        clock=TrioClock(),
        entropy=entropy,
        transport=network.transport(node),
        incarnation=1,
        alive=lambda: True,
        report=reports.append,
    )
    link.announce(epoch=5, revision=5)
    return Side(link, link.open_channel(1, slot_size=SLOT, slots=64), Dma(link, entropy), reports)


@attrs.define(eq=False)
class Pair:
    network: MemoryNetwork
    nursery: trio.Nursery
    a: Side
    b: Side

    async def online(self) -> None:
        await until(lambda: self.a.link.session is not None and self.b.link.session is not None)
        await self.quiet()

    async def quiet(self) -> None:
        await trio.sleep(0.01)

    @property
    def session(self) -> int:
        """Number of the session that both are in."""
        one, other = self.a.link.session, self.b.link.session
        assert one is not None
        assert other is not None
        assert one.session == other.session
        return one.session


async def until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - states of two nodes have no common event, and time is virtual
            await trio.sleep(0.0001)


@asynccontextmanager
async def open_pair(*, is_clean: bool = True, buffer_bytes: int = BUFFER_BYTES) -> AsyncIterator[Pair]:
    network = MemoryNetwork(buffer_bytes)
    async with trio.open_nursery() as nursery:
        pair = Pair(network, nursery, make_side(network, "a", "b"), make_side(network, "b", "a"))
        await nursery.start(pair.a.link.run)
        await nursery.start(pair.b.link.run)
        await pair.online()
        yield pair
        nursery.cancel_scope.cancel()
    if is_clean:
        assert pair.a.faults == pair.b.faults == [], "the session was left alone"


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def message(number: int) -> bytes:
    return number.to_bytes(SLOT, "little")


# What works


@pytest.mark.parametrize("size", SIZES)
async def test_a_push_is_done_when_it_is_placed(autojump_clock: trio.testing.MockClock, size: int) -> None:
    async with open_pair() as pair:
        memory = bytearray(b"\xaa" * (size + 200))
        data = random_bytes(size)
        transfer = pair.a.push(pair.b.register(memory).remote.at(100), data)
        assert (transfer.status, pair.a.done) == (WAIT, [])
        await until(lambda: bool(pair.a.done))
        assert bytes(memory) == b"\xaa" * 100 + data + b"\xaa" * 100
        await pair.quiet()
        assert pair.a.told == [(SUCCESS, "")]
        assert pair.a.link.statistics().pushed_bytes_out == pair.b.link.statistics().pushed_bytes_in == size


@pytest.mark.parametrize("size", SIZES)
async def test_a_pull_is_done_when_the_data_is_here(autojump_clock: trio.testing.MockClock, size: int) -> None:
    async with open_pair() as pair:
        data = random_bytes(size)
        into = bytearray(size)
        transfer = pair.a.pull(pair.b.register(bytearray(b"x" * 100 + data + b"y")).remote.at(100), into)
        assert (transfer.status, pair.a.done) == (WAIT, [])
        await until(lambda: bool(pair.a.done))
        assert into == data
        await pair.quiet()
        assert pair.a.told == [(SUCCESS, "")]
        assert pair.b.link.statistics().pulled_bytes_out == pair.a.link.statistics().pulled_bytes_in == size


async def test_each_direction_is_done_in_the_order_of_its_starts(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        chance = random.Random(1)
        memory, source = bytearray(16 * MIB), bytearray(random_bytes(MIB))
        target, other = pair.b.register(memory, Rights.WRITE), pair.b.register(source, Rights.READ)
        pushes, pulls, expected, pulled = [], [], bytearray(), []
        for _ in range(64):
            data = random_bytes(chance.choice([1, 100, FRAGMENT, FRAGMENT + 1]))
            pushes.append(pair.a.push(target.remote.at(len(expected)), data))
            expected += data
            pulled.append(bytearray(chance.choice([1, 100, FRAGMENT, FRAGMENT + 1])))
            pulls.append(pair.a.pull(other.remote, pulled[-1]))
        await until(lambda: len(pair.a.done) == 128)
        assert memory.startswith(expected)
        assert all(source.startswith(into) for into in pulled)
        for kind in (pushes, pulls):
            assert [transfer for transfer in pair.a.done if transfer in kind] == kind
        assert {transfer.status for transfer in pair.a.done} == {SUCCESS}


async def test_both_sides_push_and_pull_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        session = pair.session
        memories = [bytearray(2 * MIB) for _ in range(4)]
        for one, other, memory in ((pair.a, pair.b, memories[0]), (pair.b, pair.a, memories[1])):
            one.push(other.register(memory).remote, random_bytes(2 * MIB))
        for one, other, memory in ((pair.a, pair.b, memories[2]), (pair.b, pair.a, memories[3])):
            one.pull(other.register(bytearray(random_bytes(2 * MIB))).remote, memory)
        await until(lambda: len(pair.a.done) == len(pair.b.done) == 2)
        assert [memory == random_bytes(2 * MIB) for memory in memories] == [True] * 4
        assert pair.session == session


@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_messages_and_other_bulk_data_pass_between_fragments(
    autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    async with open_pair() as pair:
        large, small = pair.b.register(bytearray(8 * MIB)).remote, pair.b.register(bytearray(MIB)).remote
        messages_in: list[int] = []

        def on_done(_: Transfer) -> None:
            messages_in.append(pair.b.link.statistics().messages_in)

        if kind == "push":
            pair.a.dma.start_push(large, bytes(8 * MIB), on_done=on_done)
            pair.a.dma.start_pull(small, memoryview(bytearray(MIB)), on_done=on_done)
        else:
            pair.a.dma.start_pull(large, memoryview(bytearray(8 * MIB)), on_done=on_done)
            pair.a.dma.start_push(small, bytes(MIB), on_done=on_done)
        await pair.a.dma.push_message(small, bytes(MIB), pair.a.channel, message(1))
        pair.a.channel.send_nowait(message(2))
        await until(lambda: len(messages_in) == 2)
        assert messages_in[0] >= 1, "the message did not wait for a transfer"
        assert messages_in[1] == 2, "the pushed message did not wait for the large one"
        numbers = [int.from_bytes(pair.b.channel.receive_nowait(), "little") for _ in range(2)]
        assert numbers == [2, 1]


async def test_others_run_after_each_fragment_while_messages_pass(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        there = pair.b.register(bytearray(4 * MIB)).remote
        pair.a.push(there, bytes(4 * MIB))
        await until(lambda: len(pair.a.done) == 1)  # the pace is that of bulk data alone
        pair.a.push(there, bytes(4 * MIB))
        pair.a.channel.send_nowait(message(1))
        written, steps = pair.a.link.statistics().pushed_bytes_out, []
        while len(pair.a.done) < 2:
            await trio.lowlevel.checkpoint()
            before, written = written, pair.a.link.statistics().pushed_bytes_out
            steps.append(written - before)
        assert max(steps) <= 2 * TALK_BYTES, "the writer's turn may come behind this one's, and then before it"


async def test_no_kind_of_bulk_data_starves_another(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        there, here = pair.b.register(bytearray(8 * MIB)).remote, pair.a.register(bytearray(8 * MIB)).remote
        messages_in: list[int] = []

        def on_done(_: Transfer) -> None:
            messages_in.append(pair.b.link.statistics().messages_in)

        for number in range(8):
            await pair.a.dma.push_message(there, bytes(8 * MIB), pair.a.channel, message(number))
        pair.a.dma.start_push(there, bytes(8 * MIB), on_done=on_done)
        pair.b.dma.start_pull(here, memoryview(bytearray(8 * MIB)), on_done=on_done)
        await until(lambda: len(messages_in) == 2)
        assert messages_in[0] <= messages_in[1] <= 4, "a third each"


async def test_the_same_memory_may_have_two_names(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(4)
        one, other = pair.b.register(memory, Rights.WRITE), pair.b.register(memory, Rights.READ)
        assert one.key != other.key
        into = bytearray(4)
        pair.a.push(one.remote, b"data")
        await until(lambda: len(pair.a.done) == 1)
        one.close()
        pair.a.pull(other.remote, into)
        pair.a.push(one.remote, b"more")
        await until(lambda: len(pair.a.done) == 3)
        assert pair.a.told[1:] in ([(SUCCESS, ""), (ERROR, "unknown-key")], [(ERROR, "unknown-key"), (SUCCESS, "")])
        assert into == memory == b"data"


async def test_memory_that_changes_while_it_is_pulled(autojump_clock: trio.testing.MockClock) -> None:
    """What arrives is a mixture; the frames that carry it are sound, and the session goes on."""
    async with open_pair() as pair:
        session = pair.session
        memory, into = bytearray(3 * MIB + 1), bytearray(3 * MIB + 1)
        pair.a.pull(pair.b.register(memory).remote, into)
        number = 0
        with trio.fail_after(1):
            while not pair.a.done:
                number = number % 255 + 1
                memory[:] = bytes([number]) * len(memory)
                await trio.lowlevel.checkpoint()
        assert pair.a.told == [(SUCCESS, "")]
        assert len(set(into)) > 1
        for start in range(0, len(into), FRAGMENT):
            assert len(set(into[start : start + FRAGMENT])) == 1, "a fragment is of one moment"
        assert pair.session == session


async def test_memory_is_its_owner_s_again_while_a_reply_out_of_it_waits_for_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(buffer_bytes=FRAGMENT // 2) as pair:
        memory, into = bytearray(random_bytes(FRAGMENT)), bytearray(FRAGMENT)
        region = pair.b.register(memory)
        data = bytes(memory)
        pair.network.cut("b", "a")
        pair.a.pull(region.remote, into)
        await until(lambda: pair.b.link.statistics().pulled_bytes_out == FRAGMENT)
        await pair.quiet()
        region.close()
        memory.extend(b"resized")
        memory[:] = bytes(len(memory))
        pair.network.heal()
        await until(lambda: bool(pair.a.done))
        assert pair.a.told == [(SUCCESS, "")]
        assert into == data


async def test_memory_is_its_owner_s_again_when_a_send_out_of_it_broke(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = MemoryStream._put

    def break_at_bulk(stream: MemoryStream, pieces: list[memoryview]) -> int:
        if sum(map(len, pieces)) > FRAGMENT // 2:
            raise trio.BrokenResourceError("as of a connection that was reset")
        return put(stream, pieces)

    monkeypatch.setattr(MemoryStream, "_put", break_at_bulk)
    async with open_pair(is_clean=False) as pair:
        memory, pushed = bytearray(FRAGMENT), bytearray(FRAGMENT)
        region, landing = pair.b.register(memory), pair.a.register(bytearray(FRAGMENT))

        def resize(_: Transfer) -> None:
            pushed.extend(b"told of its end")

        pair.a.pull(region.remote, bytearray(FRAGMENT))
        await pair.quiet()
        assert pair.b.link.session is not None, "the reader may find out why"
        region.close()
        memory.extend(b"resized")
        pair.b.dma.start_push(landing.remote, pushed, on_done=resize)
        await until(lambda: len(pushed) > FRAGMENT)


@pytest.mark.parametrize("told_by", ["transfer", "channel"])
async def test_memory_is_its_owner_s_again_when_who_received_into_it_met_an_error(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, told_by: str
) -> None:
    """An error keeps what it went through, as long as it is acted on from within."""
    take = MemoryStream._take
    memory, met = bytearray(FRAGMENT), list[int]()

    def break_in_the_data(stream: MemoryStream, buffer: memoryview) -> int | None:
        if buffer.obj is memory:
            part = buffer[1:]
            met.append(len(part))
            raise trio.BrokenResourceError(f"no record of {len(part)} bytes")
        return take(stream, buffer)

    monkeypatch.setattr(MemoryStream, "_take", break_in_the_data)
    async with open_pair(is_clean=False) as pair:

        def resize(_: Transfer | ChannelEvent) -> None:
            memory.extend(b"told of its end")

        if told_by == "transfer":
            pair.a.dma.start_pull(
                pair.b.register(bytes(FRAGMENT), Rights.READ).remote, memoryview(memory), on_done=resize
            )
        else:
            pair.a.channel.hear(lambda event: resize(event) if isinstance(event, Disconnected) else None, print)
            pair.b.push(pair.a.register(memory).remote, bytes(FRAGMENT))
        await until(lambda: bool(met))
        await until(lambda: len(memory) > FRAGMENT)


@pytest.mark.parametrize("uses", [None, 1])
@pytest.mark.parametrize("size", [COPIED_DATA_MAX, COPIED_DATA_MAX + 1, FRAGMENT, 3 * MIB + 1])
async def test_memory_that_another_thread_always_changes_is_copied_when_it_is_pulled_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, size: int, uses: int | None
) -> None:
    """And little of it at once: that would be copied in any case."""
    memory = bytearray(size)
    put = MemoryStream._put

    def change(stream: MemoryStream, pieces: list[memoryview]) -> int:
        memory[:] = bytes([memory[0] ^ 1]) * size
        return put(stream, pieces)

    monkeypatch.setattr(MemoryStream, "_put", change)
    async with open_pair() as pair:
        region = pair.b.dma.register(memory, epoch=5, rights=Rights.READ, uses=uses)

        def pull_once_more(transfer: Transfer) -> None:
            pair.a.on_done(transfer)
            pair.a.pull(region.remote, bytearray(size))

        pair.a.dma.start_pull(region.remote, memoryview(bytearray(size)), on_done=pull_once_more)
        await until(lambda: len(pair.a.done) == 2)
        changed = (SUCCESS, "") if size == COPIED_DATA_MAX else (ERROR, "changed")
        is_used = uses == 1 and size <= FRAGMENT
        assert pair.a.told == [changed, (ERROR, "used-key") if is_used else (SUCCESS, "")]


async def test_a_push_that_was_copied_beside_a_reply_is_in_nobody_s_hands(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Answers.take_pull
    started: list[Transfer] = []
    async with open_pair(buffer_bytes=1000) as pair:
        here, there = pair.a.register(bytearray(FRAGMENT)), pair.b.register(bytearray(FRAGMENT))
        data, into = bytearray(FRAGMENT), bytearray(FRAGMENT)

        def take_pull(answers: Answers, pull: PullRequest) -> None:
            take(answers, pull)
            started.append(pair.b.push(here.remote, data))

        monkeypatch.setattr(Answers, "take_pull", take_pull)
        pair.network.cut("b", "a")
        pair.a.pull(there.remote, into)
        await until(lambda: pair.b.link.statistics().pushed_bytes_out == FRAGMENT)
        await pair.quiet()
        started[0].cancel()
        assert pair.b.told == [(ERROR, "cancelled")]
        data.extend(b"resized")
        pair.network.heal()
        await until(lambda: bool(pair.a.done))
        assert pair.a.told == [(SUCCESS, "")]


@pytest.mark.parametrize("attempt", range(10))
async def test_a_burst_that_is_sent_between_a_pull_and_its_reply(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    """What there was no room for of it goes before the reply. Which task runs first is left to Trio."""
    asked = trio.Event()
    take = Answers.take_pull

    def take_pull(answers: Answers, pull: PullRequest) -> None:
        take(answers, pull)
        asked.set()

    monkeypatch.setattr(Answers, "take_pull", take_pull)
    async with open_pair(buffer_bytes=1000) as pair:
        pair.a.link.open_channel(2, slot_size=8192, slots=64)
        channel = pair.b.link.open_channel(2, slot_size=8192, slots=64)
        await pair.quiet()
        memory, into = bytearray(random_bytes(FRAGMENT)), bytearray(FRAGMENT)

        async def answer() -> None:
            await asked.wait()
            with suppress(BusyError):
                while True:
                    channel.send_nowait(bytes(8192))

        pair.nursery.start_soon(answer)
        await pair.quiet()
        pair.a.pull(pair.b.register(memory).remote, into)
        await until(lambda: bool(pair.a.done))
        assert (pair.a.told, into) == ([(SUCCESS, "")], memory)


async def test_replies_for_which_there_is_always_room_let_others_run() -> None:
    async with open_pair(buffer_bytes=1 << 40) as pair:
        pair.a.pull(pair.b.register(bytearray(32 * MIB)).remote, bytearray(32 * MIB))
        sent: list[int] = []
        while not pair.a.done:
            sent.append(pair.b.link.statistics().pulled_bytes_out)
            await trio.lowlevel.checkpoint()
        assert max(after - before for before, after in itertools.pairwise(sent)) <= 4 * MIB


# What the owner of the memory denies


@attrs.define(eq=False)
class Denied:
    """Memory of b that something is wrong with, and what was asked of it."""

    remote: RemoteBuffer
    size: int
    reason: str


async def prepare(pair: Pair, memory: bytearray, case: str, right: Rights) -> Denied:
    region = pair.b.register(memory, right)
    match case:
        case "unknown-key":
            return Denied(RemoteBuffer(bytes([region.key[0] ^ 1]) + region.key[1:]), 4, case)
        case "closed":
            region.close()
            return Denied(region.remote, 4, "unknown-key")
        case "expired-key":
            pair.b.link.announce(epoch=6, revision=6)
            return Denied(region.remote, 4, case)
        case "expired-with-session":
            pair.b.link.drop("test")
            await pair.online()
            return Denied(region.remote, 4, "expired-key")
        case "stale-epoch":
            pair.a.link.announce(epoch=6, revision=6)
            return Denied(region.remote, 4, case)
        case "rights":
            region.close()
            return Denied(pair.b.register(memory, BOTH & ~right).remote, 4, case)
        case "end":
            return Denied(region.remote.at(len(memory) - 3), 4, "out-of-range")
        case "behind":
            return Denied(region.remote.at(len(memory)), 1, "out-of-range")
        case "far":
            return Denied(region.remote.at(2**63 - 1), 4, "out-of-range")
        case "large":
            return Denied(region.remote, len(memory) + 1, "out-of-range")
    raise AssertionError(case)


CASES = [
    "unknown-key",
    "closed",
    "expired-key",
    "expired-with-session",
    "stale-epoch",
    "rights",
    "end",
    "behind",
    "far",
    "large",
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_a_denied_transfer_has_its_reason_and_harms_nothing(
    autojump_clock: trio.testing.MockClock, kind: str, case: str
) -> None:
    async with open_pair() as pair:
        memory = bytearray(b"\xaa" * (2 * FRAGMENT + 5))
        right = Rights.WRITE if kind == "push" else Rights.READ
        denied = await prepare(pair, memory, case, right)
        session, into = pair.session, bytearray(b"\xbb" * denied.size)
        if kind == "push":
            pair.a.push(denied.remote, b"\xee" * denied.size)
        else:
            pair.a.pull(denied.remote, into)
        await until(lambda: bool(pair.a.done))
        await pair.quiet()
        assert pair.a.told == [(ERROR, denied.reason)]
        assert memory == b"\xaa" * (2 * FRAGMENT + 5), "nothing was written"
        assert into == b"\xbb" * denied.size, "nothing was read"
        assert pair.session == session
        assert pair.b.link.statistics().pushed_bytes_in == pair.b.link.statistics().pulled_bytes_out == 0


async def test_a_denied_transfer_leaves_the_others_alone(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory, source = bytearray(3 * MIB), bytearray(random_bytes(3 * MIB))
        target, other = pair.b.register(memory), pair.b.register(source)
        unknown, into = RemoteBuffer(bytes(16)), [bytearray(MIB), bytearray(MIB)]
        data = random_bytes(3 * MIB)
        pair.a.push(target.remote, data[:MIB])
        pair.a.push(unknown, bytes(3 * MIB))
        pair.a.push(target.remote.at(MIB), data[MIB:])
        pair.a.pull(other.remote, into[0])
        pair.a.pull(unknown, bytearray(MIB))
        pair.a.pull(other.remote.at(MIB), into[1])
        await until(lambda: len(pair.a.done) == 6)
        by_request = sorted(pair.a.done, key=lambda transfer: transfer.request)
        assert [transfer.status for transfer in by_request] == [SUCCESS, ERROR, SUCCESS] * 2
        assert memory == data
        assert into[0] + into[1] == source[: 2 * MIB]
        assert 0 < pair.b.link.statistics().denied_bytes_in < 3 * MIB, "the rest was not sent"


async def test_the_data_of_a_denied_push_may_change_as_soon_as_it_is_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        session = pair.session
        data = bytearray(8 * MIB)
        told: list[str] = []

        def on_done(transfer: Transfer) -> None:
            told.append(transfer.reason)
            data[:] = b"\xff" * len(data)

        for _ in range(10):
            pair.a.dma.start_push(RemoteBuffer(bytes(16)), data, on_done=on_done)
        await until(lambda: len(told) == 10)
        await trio.sleep(1)
        assert told == ["unknown-key"] * 10
        assert pair.session == session


@pytest.mark.parametrize("kind", ["push", "pull"])
@pytest.mark.parametrize(
    ("how", "reason"), [("close", "unknown-key"), ("announce here", "expired-key"), ("announce there", "stale-epoch")]
)
async def test_a_key_that_dies_in_the_middle_ends_the_rest(
    autojump_clock: trio.testing.MockClock, kind: str, how: str, reason: str
) -> None:
    async with open_pair() as pair:
        session = pair.session
        memory, into = bytearray(8 * MIB), bytearray(8 * MIB)
        region = pair.b.register(memory)
        changed = memory if kind == "push" else into
        if kind == "push":
            pair.a.push(region.remote, b"\x01" * len(memory))
        else:
            memory[:] = b"\x01" * len(memory)
            pair.a.pull(region.remote, into)
        with trio.fail_after(1):
            while not changed[0]:
                await trio.lowlevel.checkpoint()
        match how:
            case "close":
                region.close()
            case "announce here":
                pair.b.link.announce(epoch=6, revision=6)
            case _:
                pair.a.link.announce(epoch=6, revision=6)
                pair.a.channel.send_nowait(message(1))  # a frame of any kind tells the owner of a pull
        await until(lambda: bool(pair.a.done))
        snapshot = bytes(changed)
        await pair.quiet()
        assert pair.a.told == [(ERROR, reason)]
        assert changed == snapshot, "nothing is written afterwards"
        assert changed[-1] == 0
        assert pair.session == session
        if how != "announce there":
            memory.extend(b"may be resized again")


# What cannot be started


async def test_what_cannot_be_transferred(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        remote = pair.b.register(bytearray(16)).remote
        for bad in (RemoteBuffer(b"short"), RemoteBuffer(remote.key, -1), RemoteBuffer(remote.key, 2**63)):
            with pytest.raises(InvalidError):
                pair.a.push(bad, b"data")
            with pytest.raises(InvalidError):
                pair.a.pull(bad, bytearray(4))
        for nothing in (b"", memoryview(b"data")[::2]):
            with pytest.raises(InvalidError):
                pair.a.push(remote, nothing)
        released = memoryview(b"data")
        released.release()
        for useless in (memoryview(bytearray(0)), memoryview(b"data"), memoryview(bytearray(4))[::2], released):
            with pytest.raises(InvalidError):
                pair.a.dma.start_pull(remote, useless, on_done=pair.a.on_done)
        with pytest.raises(TypeError):
            RemoteBuffer("k" * 16)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            pair.a.push(RemoteBuffer(remote.key, 1.0), b"data")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            pair.a.push(remote, "data")  # type: ignore[arg-type]
        with pytest.raises(InvalidError):
            pair.b.register(bytearray(1), Rights(0))
        for unfit in (b"read only", memoryview(bytearray(8))[::2], released):
            with pytest.raises(InvalidError):
                pair.b.register(unfit, Rights.WRITE)
        with pytest.raises(TypeError):
            pair.b.register(bytearray(1), 2)  # type: ignore[arg-type]
        pair.a.link.drop("test")
        with pytest.raises(DisconnectError):
            pair.a.push(remote, b"data")
        with pytest.raises(DisconnectError):
            pair.a.pull(remote, bytearray(4))
        await pair.online()
        assert pair.a.done == []


async def test_larger_items_are_counted_in_bytes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory, into = bytearray(16), bytearray(16)
        remote = pair.b.register(memory).remote
        pair.a.push(remote, memoryview(bytes(range(16))).cast("Q"))
        await until(lambda: len(pair.a.done) == 1)
        pair.a.dma.start_pull(remote, memoryview(into).cast("I"), on_done=pair.a.on_done)
        await until(lambda: len(pair.a.done) == 2)
        assert memory == into == bytes(range(16))


async def test_more_in_flight_than_allowed_are_busy(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory = bytearray(TRANSFERS_IN_FLIGHT_MAX)
        remote = pair.b.register(memory).remote
        for number in range(TRANSFERS_IN_FLIGHT_MAX):
            if number % 2:
                pair.a.push(remote.at(number), b"x")
            else:
                pair.a.pull(remote.at(number), bytearray(1))
        with pytest.raises(BusyError):
            pair.a.push(remote, b"x")
        with pytest.raises(BusyError):
            pair.a.pull(remote, bytearray(1))
        await until(lambda: len(pair.a.done) == TRANSFERS_IN_FLIGHT_MAX)
        assert {transfer.status for transfer in pair.a.done} == {SUCCESS}
        assert memory == b"\0x" * (TRANSFERS_IN_FLIGHT_MAX // 2)
        for number in range(TRANSFERS_IN_FLIGHT_MAX):
            pair.a.pull(remote.at(number), bytearray(1))
        await until(lambda: len(pair.a.done) == 2 * TRANSFERS_IN_FLIGHT_MAX)
        assert {transfer.status for transfer in pair.a.done} == {SUCCESS}, "an honest peer is never busy"


async def test_the_next_may_be_started_from_within(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        remote = pair.b.register(bytearray(FRAGMENT)).remote
        into = memoryview(bytearray(FRAGMENT))
        numbers: list[int] = []

        def pull_next(transfer: Transfer) -> None:
            assert transfer.status is SUCCESS
            numbers.append(transfer.request)
            if len(numbers) < 50:
                pair.a.dma.start_pull(remote, into, on_done=push_next)

        def push_next(transfer: Transfer) -> None:
            assert transfer.status is SUCCESS
            numbers.append(transfer.request)
            pair.a.dma.start_push(remote, into, on_done=pull_next)

        pair.a.dma.start_pull(remote, into, on_done=push_next)
        await until(lambda: len(numbers) == 50)
        assert numbers == list(range(1, 51))


# Deadlines and cancelling


@pytest.mark.parametrize("stage", range(0, 30, 3))
async def test_a_transfer_cancelled_at_any_stage_ends_once_and_its_memory_is_left_alone(
    autojump_clock: trio.testing.MockClock, stage: int
) -> None:
    async with open_pair() as pair:
        session = pair.session
        size = 2 * MIB + 1
        memory, source = bytearray(size), bytearray(random_bytes(size))
        target, other = pair.b.register(memory), pair.b.register(source)
        into, data = bytearray(size), bytearray(random_bytes(size))
        cancelled = [pair.a.push(target.remote, data), pair.a.pull(other.remote, into)]
        rest = [pair.a.push(target.remote, b"next"), pair.a.pull(other.remote, bytearray(4))]
        for _ in range(stage):
            await trio.lowlevel.checkpoint()
        for transfer in cancelled:
            transfer.cancel()
        assert cancelled[1] in pair.a.done, "a pull is given up at once"
        snapshot = bytes(into)
        await until(lambda: cancelled[0] in pair.a.done)
        data[:] = b"\xee" * size
        await until(lambda: len(pair.a.done) == 4)
        await pair.quiet()
        for transfer in cancelled:
            if transfer.status is ERROR:
                assert transfer.reason == "cancelled"
                assert transfer.left_bytes > 0
            else:
                assert transfer.left_bytes == 0
        assert [transfer.status for transfer in rest] == [SUCCESS, SUCCESS]
        assert into == snapshot, "nothing is written afterwards"
        assert bytes(memory[:4]) == b"next"
        assert b"\xee" * 16 not in memory, "nothing is read afterwards"
        assert pair.session == session
        for transfer in cancelled:
            transfer.cancel()
        assert len(pair.a.done) == 4


@pytest.mark.parametrize("end", ["cancelled", "unknown-key"])
async def test_who_is_told_of_a_push_that_was_just_being_sent_may_resize_its_memory(
    autojump_clock: trio.testing.MockClock, end: str
) -> None:
    async with open_pair() as pair:
        remote = RemoteBuffer(bytes(16)) if end == "unknown-key" else pair.b.register(bytearray(8 * MIB)).remote
        data = bytearray(8 * MIB)
        told: list[str] = []

        def resize(transfer: Transfer) -> None:
            told.append(transfer.reason)
            with suppress(BufferError):
                data.extend(b"more")

        transfer = pair.a.dma.start_push(remote, data, on_done=resize)
        if end == "cancelled":
            while not pair.a.link.statistics().pushed_bytes_out:
                await trio.lowlevel.checkpoint()
            transfer.cancel()
            assert transfer.status is WAIT, "a fragment is in the sender's hands"
        await until(lambda: bool(told))
        assert told == [end]
        assert data.endswith(b"more")


@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_a_transfer_that_is_not_done_by_its_deadline_is_cancelled_then(
    autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    async with open_pair() as pair:
        region = pair.b.register(bytearray(8))
        pair.network.cut("b", "a")
        began = trio.current_time()
        for after_s in (0.3, 0.1, 0.2):
            deadline_s = pair.a.dma.now() + after_s
            if kind == "push":
                pair.a.dma.start_push(region.remote, b"data", on_done=pair.a.on_done, deadline_s=deadline_s)
            else:
                into = memoryview(bytearray(4))
                pair.a.dma.start_pull(region.remote, into, on_done=pair.a.on_done, deadline_s=deadline_s)
            await trio.testing.wait_all_tasks_blocked()
        ended: list[float] = []
        for count in (1, 2, 3):
            await until(lambda: len(pair.a.done) >= len(ended) + 1)
            assert len(pair.a.done) == count
            ended.append(round(trio.current_time() - began, 2))
        assert ended == [0.1, 0.2, 0.3]
        assert [transfer.request for transfer in pair.a.done] == [2, 3, 1]
        assert pair.a.told == [(ERROR, "deadline")] * 3
        session = pair.session
        pair.network.heal()
        pair.a.push(region.remote, b"more")
        await until(lambda: len(pair.a.done) == 4)
        assert pair.a.told[3] == (SUCCESS, "")
        assert pair.session == session, "late answers are dropped"


async def test_a_deadline_that_is_not_reached_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        region = pair.b.register(bytearray(8))
        for _ in range(100):
            pair.a.dma.start_push(region.remote, b"data", on_done=pair.a.on_done, deadline_s=pair.a.dma.now() + 1000)
            await until(lambda: len(pair.a.done) == 1)
            assert pair.a.told == [(SUCCESS, "")]
            pair.a.done.clear()
        assert len(pair.a.link.deadlines) == 0
        await trio.sleep(2000)
        assert pair.a.done == []


async def test_what_begins_anew_whenever_its_time_is_over_keeps_nobody_from_a_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        region = pair.b.register(bytearray(8))
        ended: list[Transfer] = []

        def again(transfer: Transfer) -> None:
            ended.append(transfer)
            if len(ended) < 10_000 and not others_had_a_turn:
                pair.a.dma.start_push(region.remote, b"data", on_done=again, deadline_s=pair.a.dma.now())

        others_had_a_turn: list[bool] = []
        pair.a.dma.start_push(region.remote, b"data", on_done=again, deadline_s=pair.a.dma.now())
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        others_had_a_turn.append(True)
        await until(lambda: len(pair.a.link.deadlines) == 0)
        assert 1 < len(ended) < 200


async def test_a_deadline_that_is_no_number_begins_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        region = pair.b.register(bytearray(8))
        with pytest.raises(InvalidError, match="no number"):
            pair.a.dma.start_push(region.remote, b"data", on_done=pair.a.on_done, deadline_s=math.nan)
        into = memoryview(bytearray(4))
        with pytest.raises(InvalidError, match="no number"):
            pair.a.dma.start_pull(region.remote, into, on_done=pair.a.on_done, deadline_s=math.nan)
        await trio.sleep(1)
        assert pair.a.done == []
        pair.a.dma.start_push(region.remote, b"data", on_done=pair.a.on_done)
        await until(lambda: pair.a.told == [(SUCCESS, "")])


def resizing(side: Side, memory: bytearray) -> Callable[[Transfer], None]:
    """Told of the end of a transfer, it does what the memory's owner may do from then on."""

    def resize(transfer: Transfer) -> None:
        side.on_done(transfer)
        memory.extend(b"resized")

    return resize


async def test_memory_is_its_owner_s_again_within_a_cancel_though_nothing_was_due_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        region = pair.b.register(bytearray(8))
        pair.a.dma.register(bytearray(1), epoch=5, expires_s=pair.a.dma.now() + 50)
        await pair.quiet()
        into = bytearray(8)
        resize = resizing(pair.a, into)
        deadline_s = pair.a.dma.now() + 1
        transfer = pair.a.dma.start_pull(region.remote, memoryview(into), on_done=resize, deadline_s=deadline_s)
        transfer.cancel()
        into.extend(b"again")
        assert pair.a.told == [(ERROR, "cancelled")]


@pytest.mark.parametrize("is_awaited", [False, True])
async def test_memory_is_its_owner_s_again_at_a_deadline_that_has_passed(
    autojump_clock: trio.testing.MockClock, is_awaited: bool
) -> None:
    """Also in the step in which it comes to be seen, behind another that was awaited or none."""
    async with open_pair() as pair:
        region = pair.b.register(bytearray(8))
        if is_awaited:
            pair.a.dma.register(bytearray(1), epoch=5, expires_s=pair.a.dma.now() + 50)
            await pair.quiet()
        into = bytearray(8)
        resize = resizing(pair.a, into)
        pair.network.cut("b", "a")
        deadline_s = pair.a.dma.now()
        pair.a.dma.start_pull(region.remote, memoryview(into), on_done=resize, deadline_s=deadline_s)
        await until(lambda: bool(pair.a.done))
        assert pair.a.told == [(ERROR, "deadline")]


async def test_a_deadline_that_has_passed_ends_a_transfer_that_was_begun_in_vain(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        region = pair.b.register(bytearray(8 * MIB))
        pair.a.dma.start_push(region.remote, bytes(8 * MIB), on_done=pair.a.on_done, deadline_s=pair.a.dma.now())
        assert pair.a.done == [], "never within the start"
        await until(lambda: bool(pair.a.done))
        assert pair.a.told == [(ERROR, "deadline")]


# Keys for so many transfers, and for so long


@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_a_key_is_for_as_many_transfers_as_it_was_made_for(
    autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    async with open_pair() as pair:
        memory = bytearray(2 * FRAGMENT)
        region = pair.b.dma.register(memory, epoch=5, rights=BOTH, uses=2)
        pair.a.push(region.remote.at(1), bytes(2 * FRAGMENT))
        for _ in range(3):
            if kind == "push":
                pair.a.push(region.remote, bytes(2 * FRAGMENT))
            else:
                pair.a.pull(region.remote, bytearray(2 * FRAGMENT))
        await until(lambda: len(pair.a.done) == 4)
        by_request = sorted(pair.a.done, key=lambda transfer: transfer.request)
        told = [(transfer.status, transfer.reason, transfer.left_bytes) for transfer in by_request]
        left = 2 * FRAGMENT
        assert told[0] == (ERROR, "out-of-range", left), "what is denied is no use"
        assert told[1:] == [(SUCCESS, "", 0), (SUCCESS, "", 0), (ERROR, "used-key", left)]
        assert not region.alive
        memory.extend(b"may be resized again")
        assert pair.b.link.statistics().denied_transfers_in == 2


async def test_a_key_is_spent_before_anybody_hears_of_its_last_use(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(4), epoch=5, uses=1)
        alive: list[bool] = []
        pair.a.dma.start_push(region.remote, b"data", on_done=lambda _: alive.append(region.alive))
        await until(lambda: bool(alive))
        assert alive == [False]


async def test_a_pushed_message_uses_a_key_once_however_large(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        region = pair.b.dma.register(bytearray(3 * FRAGMENT), epoch=5, uses=2)
        await pair.a.dma.push_message(region.remote, bytes(3 * FRAGMENT), pair.a.channel, message(1))
        await pair.quiet()
        assert (region.alive, region.uses_left) == (True, 1)


@pytest.mark.parametrize("uses", [1, 2])
async def test_a_push_and_a_pushed_message_by_turns_each_use_a_key_once(
    autojump_clock: trio.testing.MockClock, uses: int
) -> None:
    """Where it is for one of them, the first to be done is that one, and the other is denied."""
    async with open_pair() as pair:
        memory = bytearray(3 * FRAGMENT)
        region = pair.b.dma.register(memory, epoch=5, uses=uses)
        pushed, data = random_bytes(3 * FRAGMENT), b"short"
        pair.a.push(region.remote, pushed)
        pair.a.dma.push_message_nowait(region.remote.at(FRAGMENT), data, pair.a.channel, message(1))
        await until(lambda: len(pair.a.done) == 1)
        await pair.quiet()
        assert pair.b.channel.receive_nowait() == message(1)
        assert not region.alive
        if uses == 2:
            assert pair.a.told == [(SUCCESS, "")]
            assert memory in (pushed, pushed[:FRAGMENT] + data + pushed[FRAGMENT + len(data) :])
        else:
            assert pair.a.told == [(ERROR, "used-key")]
            assert memory[FRAGMENT : FRAGMENT + len(data)] == data
        assert pair.session


@pytest.mark.parametrize("kind", ["push", "pull"])
async def test_a_key_dies_when_its_time_is_over(autojump_clock: trio.testing.MockClock, kind: str) -> None:
    async with open_pair() as pair:
        memory = bytearray(4)
        region = pair.b.dma.register(memory, epoch=5, rights=BOTH, expires_s=pair.b.dma.now() + 1)
        pair.a.push(region.remote, b"data")
        await until(lambda: len(pair.a.done) == 1)
        alive = [region.alive]
        await trio.sleep(1)
        alive.append(region.alive)
        assert alive == [True, False], "whether or not anybody comes"
        memory.extend(b"may be resized again")
        if kind == "push":
            pair.a.push(region.remote, b"late")
        else:
            pair.a.pull(region.remote, bytearray(4))
        await until(lambda: len(pair.a.done) == 2)
        assert pair.a.told == [(SUCCESS, ""), (ERROR, "overdue-key")]
        assert memory.startswith(b"data")
        assert pair.b.link.statistics().denied_transfers_in == 1


@pytest.mark.parametrize("kind", ["push", "pull"])
def test_an_overdue_key_is_of_no_use_though_its_end_was_not_acted_on(kind: str) -> None:
    """As when the process was held up, and then looks at what has come before it looks at the time."""
    now = 1.0
    regions = RegionTable(random.Random(1).randbytes, lambda: now)
    memory = bytearray(b"data")
    region = regions.add(memory, epoch=5, rights=BOTH, expires_s=2.0)
    now = 2.0
    if kind == "push":
        assert regions.open(region.key, 0, 4, span=4, epoch=5) is Denial.OVERDUE_KEY
    else:
        assert regions.fetch(region.key, 0, 4, span=4, epoch=5) is Denial.OVERDUE_KEY
    assert not region.alive
    memory.extend(b"may be resized again")


def test_memory_that_is_lent_no_more_is_copied() -> None:
    table, copied = RegionTable(random.Random(1).randbytes, lambda: 0.0), list[bool]()
    memory = bytearray(4)
    key = table.add(memory, epoch=1, rights=Rights.READ).key
    for _ in range(2):
        data = table.fetch(key, 0, 4, span=4, epoch=1)
        assert not isinstance(data, Denial)
        before = bytes(data)
        memory[0] += 1
        copied.append(bytes(data) == before)
        table.lend_no_more(key)
    assert copied == [False, True]
    table.forget(key)
    table.lend_no_more(key)


def test_only_so_many_dead_keys_are_called_by_their_right_names() -> None:
    regions = RegionTable(random.Random(1).randbytes, lambda: 1.0)
    keys = [regions.add(bytearray(4), epoch=5, rights=BOTH, uses=1).key for _ in range(REGIONS_MAX)]
    for key in keys:
        assert isinstance(regions.fetch(key, 0, 4, span=4, epoch=5), memoryview)
    keys.append(regions.add(bytearray(4), epoch=5, rights=BOTH, uses=1).key)
    assert isinstance(regions.fetch(keys[-1], 0, 4, span=4, epoch=5), memoryview)
    denials = [regions.fetch(key, 0, 4, span=4, epoch=5) for key in keys]
    assert denials == [Denial.UNKNOWN_KEY] + [Denial.USED_KEY] * REGIONS_MAX


async def test_a_key_for_nothing_is_not_made(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        for limits in ({"uses": 0}, {"uses": -1}, {"expires_s": pair.b.dma.now()}):
            with pytest.raises(InvalidError):
                pair.b.dma.register(bytearray(4), epoch=5, **limits)
        for _ in range(2000):
            pair.b.dma.register(bytearray(4), epoch=5, uses=1, expires_s=pair.b.dma.now() + 1000).close()
        assert len(pair.b.link.deadlines) == 0


# Loss


async def end_session(pair: Pair, how: str) -> None:
    match how:
        case "drop here":
            pair.a.link.drop("test")
        case "drop there":
            pair.b.link.drop("test")
        case "reset":
            pair.network.reset("a", "b")
        case "silence":
            pair.network.cut("a", "b")
            pair.network.cut("b", "a")
        case "deaf":
            pair.network.cut("b", "a")
        case "goodbye here":
            await pair.a.link.goodbye("bye")
        case "goodbye there":
            await pair.b.link.goodbye("bye")
        case "stop":
            pair.nursery.cancel_scope.cancel()


ENDS = ["drop here", "drop there", "reset", "silence", "deaf", "goodbye here", "goodbye there", "stop"]


@pytest.mark.parametrize("stage", range(0, 36, 3))
@pytest.mark.parametrize("how", ENDS)
async def test_a_session_cut_at_any_stage_ends_each_transfer_once(
    autojump_clock: trio.testing.MockClock, how: str, stage: int
) -> None:
    async with open_pair(is_clean=False) as pair:
        memory, source = bytearray(2 * MIB + 1), bytearray(random_bytes(2 * MIB + 1))
        target, other = pair.b.register(memory, Rights.WRITE), pair.b.register(source, Rights.READ)
        into, late = bytearray(len(source)), bytearray(len(source))
        data = random_bytes(len(memory))
        transfers = [
            pair.a.push(target.remote, data),
            pair.a.pull(other.remote, into),
            pair.a.push(RemoteBuffer(bytes(16)), data),
            pair.a.pull(other.remote, late),
        ]
        for _ in range(stage):
            await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await end_session(pair, how)
            await trio.sleep(2)
            assert sorted(transfer.request for transfer in pair.a.done) == [1, 2, 3, 4]
            pushed, pulled, denied, second = transfers
            for transfer in transfers:
                assert transfer.status in {SUCCESS if transfer is not denied else ERROR, DISCONNECT}
                assert transfer.reason or transfer.status is SUCCESS
            if pushed.status is SUCCESS:
                assert memory == data
            if pulled.status is SUCCESS:
                assert into == source
            if second.status is SUCCESS:
                assert late == source
            for kind in ([pushed, denied], [pulled, second]):
                assert [transfer for transfer in pair.a.done if transfer in kind] == kind
            events = await pair.a.channel.receive_events()
            assert [type(event) for event in events[:2]] == [Connected, Disconnected]
            pair.network.heal()
            snapshot = [bytes(into), bytes(late), bytes(memory)]
            await trio.sleep(5)
            assert [bytes(into), bytes(late), bytes(memory)] == snapshot, "nothing of a dead session is written"
            assert len(pair.a.done) == 4


@pytest.mark.parametrize(
    ("how", "reason"), [("drop here", "closed"), ("silence", "silent"), ("goodbye there", "goodbye")]
)
async def test_a_loss_has_its_reason(autojump_clock: trio.testing.MockClock, how: str, reason: str) -> None:
    async with open_pair() as pair:
        remote = pair.b.register(bytearray(8 * MIB)).remote
        pair.network.cut("b", "a")
        pair.a.push(remote, bytes(8 * MIB))
        pair.a.pull(remote, bytearray(8 * MIB))
        await pair.quiet()
        if how != "silence":
            pair.network.heal()
        await end_session(pair, how)
        await until(lambda: len(pair.a.done) == 2)
        await pair.quiet()
        expected = {(DISCONNECT, reason)}
        if how == "goodbye there":
            expected |= {(DISCONNECT, "closed"), (SUCCESS, "")}
        assert set(pair.a.told) <= expected


async def test_nothing_can_be_started_behind_a_farewell(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        remote = pair.b.register(bytearray(MIB)).remote
        pair.network.cut("a", "b")
        pair.a.push(remote, bytes(MIB))
        pair.nursery.start_soon(pair.a.link.goodbye, "bye")
        await pair.quiet()
        assert pair.a.link.session is not None
        with pytest.raises(DisconnectError):
            pair.a.push(remote, b"data")
        with pytest.raises(DisconnectError):
            pair.a.pull(remote, bytearray(4))
        await until(lambda: bool(pair.a.done))
        assert pair.a.told == [(DISCONNECT, "closed")]


async def test_a_farewell_goes_behind_pushes_that_wait_for_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        memory, data = bytearray(4 * MIB), random_bytes(4 * MIB)
        remote = pair.b.register(memory).remote
        for start in range(0, 4 * MIB, MIB):
            pair.a.push(remote.at(start), data[start : start + MIB])
        pair.network.delay("b", "a", 0.05)
        await pair.a.link.goodbye("bye")
        assert memory == data


async def test_a_farewell_does_not_wait_for_a_push_that_was_taken_back(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        remote = pair.b.register(bytearray(4 * MIB)).remote
        pair.network.delay("b", "a", 10.0)
        pushes = [pair.a.push(remote, bytes(2 * MIB)) for _ in range(3)]
        pair.nursery.start_soon(pair.a.link.goodbye, "bye")
        await pair.quiet()
        pushes[1].cancel()
        await pair.quiet()
        assert pair.b.link.session is not None, "the last push has still to be sent"
        pushes[2].cancel()
        await pair.quiet()
        assert pair.b.link.session is None


async def test_nothing_can_be_started_from_within_a_loss(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        remote = pair.b.register(bytearray(MIB)).remote
        refused: list[type[CtlHaError]] = []

        def try_again(transfer: Transfer) -> None:
            assert transfer.status is DISCONNECT
            for start in (
                lambda: pair.a.push(remote, b"data"),
                lambda: pair.a.pull(remote, bytearray(4)),
                lambda: pair.a.register(bytearray(4)),
                lambda: pair.a.channel.send_nowait(message(1)),
            ):
                with pytest.raises(DisconnectError) as caught:
                    start()
                refused.append(caught.type)
            pair.a.link.drop("again")

        for _ in range(3):
            pair.a.dma.start_push(remote, bytes(MIB), on_done=try_again)
        pair.a.link.drop("test")
        assert refused == [DisconnectError] * 12
        await pair.online()
        events = await pair.a.channel.receive_events()
        assert [type(event) for event in events] == [Connected, Disconnected]


async def test_who_is_told_may_end_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        remote = pair.b.register(bytearray(MIB)).remote
        first: list[Transfer] = []

        def drop(transfer: Transfer) -> None:
            first.append(transfer)
            pair.a.link.drop("from within")

        pair.a.dma.start_pull(remote, memoryview(bytearray(MIB)), on_done=drop)
        pair.a.pull(remote, bytearray(MIB))
        pair.a.push(remote, bytes(MIB))
        await until(lambda: bool(first))
        assert first[0].status is SUCCESS
        assert sum(transfer.status is DISCONNECT for transfer in pair.a.done) >= 1
        assert len(pair.a.done) == 2
        await pair.online()


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError, DisconnectError, ValueError])
@pytest.mark.parametrize("told_by", ["reader", "writer"])
@pytest.mark.parametrize("node", ["a", "b"])
async def test_what_they_raise_who_are_told_is_not_taken_for_the_end_of_the_connection(
    autojump_clock: trio.testing.MockClock, node: str, told_by: str, error: type[Exception]
) -> None:
    """As of a channel of their own whose receiver has gone. Either node may be the one that has dialled."""

    def fail(_: Transfer) -> None:
        raise error("a bug")

    async def be_told() -> None:
        async with open_pair(is_clean=False) as pair:
            asker, owner = (pair.a, pair.b) if node == "a" else (pair.b, pair.a)
            remote = owner.register(bytearray(8 * MIB)).remote
            if told_by == "reader":
                asker.dma.start_pull(remote, memoryview(bytearray(8)), on_done=fail)
            else:
                transfer = asker.dma.start_push(remote, bytes(8 * MIB), on_done=fail)
                while not asker.link.statistics().pushed_bytes_out:
                    await trio.lowlevel.checkpoint()
                transfer.cancel()
            await trio.sleep(10)

    with pytest.raises(ExceptionGroup) as caught:
        await be_told()
    assert error in set(kinds_of(caught.value))


def kinds_of(error: BaseException | None) -> Iterator[type[BaseException]]:
    """Of all that is in a group, and of what caused it."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from kinds_of(each)
    elif error is not None:
        yield type(error)
    if error is not None:
        yield from kinds_of(error.__cause__)


async def test_a_new_session_numbers_anew_and_answers_of_the_old_do_not_count(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        memory = bytearray(MIB)
        old = pair.a.push(pair.b.register(memory).remote, bytes(MIB))
        await trio.lowlevel.checkpoint()
        pair.a.link.drop("test")
        await pair.online()
        new = pair.a.push(pair.b.register(memory).remote, b"data")
        await until(lambda: len(pair.a.done) == 2)
        assert (old.request, new.request) == (1, 1)
        assert (old.status, new.status) == (DISCONNECT, SUCCESS)


async def test_transfers_make_no_events_of_their_own(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        remote = pair.b.register(bytearray(4)).remote
        pair.a.push(remote, b"data")
        pair.a.pull(remote, bytearray(4))
        await until(lambda: len(pair.a.done) == 2)
        pair.a.channel.send_nowait(message(1))
        await pair.quiet()
        for side, event in ((pair.a, ctl_ha_event.CTL_HA_EVT_MSG_SENT), (pair.b, ctl_ha_event.CTL_HA_EVT_MSG_RECV)):
            events = [event for event in await side.channel.receive_events() if isinstance(event, EventRange)]
            assert [each.event for each in events] == [event]
