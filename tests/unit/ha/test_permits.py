"""Permits by the clock: how long one lasts for who holds it, how long for who granted it, and reads in between."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import NotPrimaryError
from ctlha_trio.ha._permits import IDLE_S, RENEW_S, HeldPermit, PermittedReads
from ctlha_trio.ha._timers import Timers
from ctlha_trio.pair import PERMIT_OUT_S, PERMIT_S
from ctlha_trio.pair.events import Timer
from ctlha_trio.pair.messages import Permit, PermitRequest
from ctlha_trio.seams import Clock
from ctlha_trio.testing import MemoryPair, open_pair
from ctlha_trio.testing._drivers.clock import NodeClock
from ctlha_trio.testing._pairs.virtual_clock import VirtualClock

BLOCK = 4096


class Hands:
    """A clock that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_permit_counts_from_the_sending_of_its_request() -> None:
    clock = Hands()
    held = HeldPermit(clock)
    request = held.request(4)
    clock.now_s += 0.75 * PERMIT_S
    held.take(Permit(4, request.number))
    assert held.is_live(4)
    clock.now_s += 0.3 * PERMIT_S
    assert not held.is_live(4)


def test_a_permit_is_of_one_epoch() -> None:
    held = HeldPermit(Hands())
    held.take(Permit(4, held.request(4).number))
    assert (held.is_live(3), held.is_live(4), held.is_live(5)) == (False, True, False)


def test_a_permit_ends_with_its_session_and_none_asked_for_before_comes_to_count() -> None:
    held = HeldPermit(Hands())
    first, second = held.request(4), held.request(4)
    held.take(Permit(4, first.number))
    held.void()
    assert not held.is_live(4)
    held.take(Permit(4, second.number))
    assert not held.is_live(4)


def test_a_permit_that_nobody_asked_for_is_none() -> None:
    held = HeldPermit(Hands())
    held.take(Permit(4, 1))
    assert not held.is_live(4)


@pytest.mark.parametrize(("holder", "granter"), [(0.9, 1.12), (1.12, 0.9), (1.0, 1.0)])
async def test_who_waits_until_it_is_over_waits_longer_than_it_lasts(
    holder: float, granter: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    held = HeldPermit(NodeClock(0.0, holder).boottime)
    over: list[tuple[bool, float]] = []
    timers = Timers(NodeClock(1e6, granter), lambda _: over.append((held.is_live(4), trio.current_time())))
    nursery.start_soon(timers.run)
    request = held.request(4)
    timers.set(Timer.PERMIT_OUT, PERMIT_OUT_S)
    held.take(Permit(4, request.number))
    await trio.sleep(0.19)
    assert held.is_live(4) == (holder <= 1.0)
    assert over == []
    await trio.sleep(1.0)
    [(was_live, at_s)] = over
    assert not was_live
    assert at_s < 1.5 * PERMIT_OUT_S
    nursery.cancel_scope.cancel()


async def test_the_wait_is_not_cut_short_by_a_clock_that_jumps(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    clock = NodeClock(0.0)
    over: list[float] = []
    timers = Timers(clock, lambda _: over.append(trio.current_time()))
    nursery.start_soon(timers.run)
    timers.set(Timer.PERMIT_OUT, PERMIT_OUT_S)
    await trio.sleep(0.1)
    clock.jump(60.0)
    await trio.sleep(1.0)
    assert over == [pytest.approx(PERMIT_OUT_S, abs=0.01)]
    nursery.cancel_scope.cancel()


class Reads:
    """Reads of a node whose peer answers when the test wants it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.asked: list[PermitRequest] = []
        self.epoch = 4
        self.found = b"data"
        self.fetches = 0
        self.gate = trio.Event()
        self.gate.set()
        self.reads = PermittedReads(clock or VirtualClock(), self.asked.append, lambda: self.epoch)

    async def fetch(self) -> bytes:
        self.fetches += 1
        await self.gate.wait()
        return self.found

    def grant(self) -> None:
        self.reads.take(Permit(4, self.asked[-1].number))


async def test_a_read_waits_for_a_permit_and_those_after_it_do_not(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    node = Reads()
    nursery.start_soon(node.reads.run)
    found: list[bytes | None] = []

    async def read() -> None:
        found.append(await node.reads.read(4, node.fetch, lambda: True))

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert (len(node.asked), found) == (1, [])
    node.grant()
    await wait_all_tasks_blocked()
    await read()
    assert (len(node.asked), found) == (1, [b"data", b"data"])
    nursery.cancel_scope.cancel()


async def test_it_is_renewed_while_there_are_reads_and_not_longer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    node = Reads()
    nursery.start_soon(node.reads.run)
    await trio.sleep(10.0)
    assert node.asked == [], "nobody reads"
    nursery.start_soon(node.reads.read, 4, node.fetch, lambda: True)
    await wait_all_tasks_blocked()
    node.grant()
    await trio.sleep(10.0)
    assert len(node.asked) == pytest.approx(IDLE_S / RENEW_S, abs=2)
    nursery.cancel_scope.cancel()


def test_a_permit_counts_from_its_own_request_however_late_it_comes() -> None:
    clock = Hands()
    held = HeldPermit(clock)
    first = held.request(4)
    clock.now_s += 0.75 * PERMIT_S
    held.request(4)
    clock.now_s += 0.15 * PERMIT_S
    held.take(Permit(4, first.number))
    assert held.is_live(4)
    clock.now_s += 0.2 * PERMIT_S
    assert not held.is_live(4), "the newer request is not answered"


def test_a_grant_asked_for_since_covers_a_read_although_it_comes_when_the_permit_is_over() -> None:
    clock = Hands()
    held = HeldPermit(clock)
    before = held.request(4)
    since = held.newest
    after = held.request(4)
    clock.now_s += 3 * PERMIT_S
    held.request(4)
    held.take(Permit(4, before.number))
    assert not held.covers(4, since), "the other one may have gone on alone before the read began"
    held.take(Permit(4, after.number))
    assert not held.is_live(4)
    assert (held.covers(4, since), held.covers(5, since), held.covers(4, after.number)) == (True, False, False)
    held.void()
    assert not held.covers(4, since)


def test_a_late_grant_of_an_earlier_session_covers_nothing() -> None:
    held = HeldPermit(Hands())
    since = held.newest
    request = held.request(4)
    held.void()
    held.take(Permit(4, request.number))
    assert not held.covers(4, since)


async def test_the_permit_is_looked_at_again_when_the_data_was_read(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    node = Reads()
    found: list[bytes | None] = []

    async def read() -> None:
        found.append(await node.reads.read(4, node.fetch, lambda: True))

    await _hold_a_permit(node, nursery)
    node.gate = trio.Event()
    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert (len(node.asked), node.fetches) == (1, 2)
    await trio.sleep(2 * PERMIT_S)
    node.gate.set()
    await wait_all_tasks_blocked()
    assert found == [], "what was read is as old as the permit"
    node.grant()
    await wait_all_tasks_blocked()
    assert (len(node.asked), node.fetches, found) == (2, 2, [b"data"])


async def _hold_a_permit(node: Reads, nursery: trio.Nursery) -> None:
    nursery.start_soon(node.reads.read, 4, node.fetch, lambda: True)
    await wait_all_tasks_blocked()
    node.grant()
    await wait_all_tasks_blocked()


async def test_a_permit_is_renewed_while_data_is_being_read(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    node = Reads()
    nursery.start_soon(node.reads.run)
    node.gate = trio.Event()
    nursery.start_soon(node.reads.read, 4, node.fetch, lambda: True)
    await trio.sleep(10 * IDLE_S)
    assert len(node.asked) == pytest.approx(10 * IDLE_S / RENEW_S, abs=4)
    nursery.cancel_scope.cancel()


async def test_a_permit_ends_although_the_clock_stood_with_the_machine(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    clock = NodeClock(0.0)
    node = Reads(clock)
    found: list[bytes | None] = []

    async def read() -> None:
        found.append(await node.reads.read(4, node.fetch, lambda: True))

    await _hold_a_permit(node, nursery)
    clock.stop()
    await trio.sleep(2 * PERMIT_S)
    clock.go_on(jumps=False)
    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert found == []
    nursery.cancel_scope.cancel()


async def test_a_read_that_is_not_wanted_any_more_ends(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    node = Reads()
    wanted = True
    found: list[bytes | None] = []

    async def read() -> None:
        found.append(await node.reads.read(4, node.fetch, lambda: wanted))

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    wanted = False
    node.reads.wake()
    await wait_all_tasks_blocked()
    assert found == [None]


# Whole nodes.


async def test_both_nodes_read_what_was_written_last(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        for number in range(20):
            data = bytes([number]) * BLOCK
            await pair.nodes["a"].volume.write(BLOCK * (number % 3), data)
            for node in pair.nodes.values():
                assert await node.volume.read(BLOCK * (number % 3), BLOCK) == data


@pytest.mark.parametrize("node", ["a", "b"])
async def test_a_read_of_a_slow_disk_ends(autojump_clock: MockClock, node: str) -> None:
    async with open_pair() as pair:
        await pair.nodes["a"].volume.write(0, b"x" * BLOCK)
        pair.slow(node, disk_call_s=1.5)
        with trio.fail_after(10):
            assert await pair.nodes[node].volume.read(0, BLOCK) == b"x" * BLOCK


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize("network_s", [0.105, 0.4])
async def test_a_read_over_a_long_line_ends(autojump_clock: MockClock, network_s: float, node: str) -> None:
    async with open_pair() as pair:
        pair.slow(network_s=network_s)
        await pair.nodes["a"].volume.write(0, b"y" * BLOCK)
        with trio.fail_after(6 * network_s):
            assert await pair.nodes[node].volume.read(0, BLOCK) == b"y" * BLOCK


@pytest.mark.parametrize("disk_call_s", [0.0, 0.001])
@pytest.mark.parametrize("writers", [1, 2])
async def test_the_secondary_reads_a_block_that_is_written_all_the_time(
    autojump_clock: MockClock, writers: int, disk_call_s: float
) -> None:
    async with open_pair(disk_call_s={"a": 0.001, "b": disk_call_s}) as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        pair.slow(network_s=0.001)

        async def write() -> None:
            while True:
                await a.volume.write(0, b"z" * BLOCK)

        async with trio.open_nursery() as nursery:
            for _ in range(writers):
                nursery.start_soon(write)
            await trio.sleep(0.05)
            with trio.fail_after(0.1):
                assert await b.volume.read(0, BLOCK) == b"z" * BLOCK
            nursery.cancel_scope.cancel()


async def test_a_secondary_that_was_left_behind_answers_no_read(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        await a.volume.write(0, b"old!")
        assert await b.volume.read(0, 4) == b"old!"
        _part(pair)
        pair.arbiters["b"].unavailable = True
        await pair.wait_alone("a")
        await a.volume.write(0, b"new!")
        with pytest.raises(NotPrimaryError):
            await b.volume.read(0, 4)


async def test_a_takeover_after_a_cut_waits_for_permits_no_longer_than_it_waits_anyway(
    autojump_clock: MockClock,
) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        await a.volume.write(0, b"old!")
        await a.volume.read(0, 4)
        began_s = trio.current_time()
        pair.crash("a")
        await pair.wait_alone("b")
        assert trio.current_time() - began_s < PERMIT_OUT_S + 0.1
        await b.volume.write(0, b"new!")


async def test_a_primary_that_was_read_around_waits_until_the_permit_is_over(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        a, b = pair.nodes["a"], pair.nodes["b"]
        await a.volume.write(0, b"old!")
        asked_s = trio.current_time()
        await b.volume.read(0, 4)
        pair.crash("b")
        await pair.wait_alone("a")
        assert trio.current_time() - asked_s >= PERMIT_OUT_S, "without the permit it takes a tenth of a second"


def _part(pair: MemoryPair) -> None:
    pair.network.cut("a", "b")
    pair.network.cut("b", "a")
