"""How often a link may be lost before a peer that returns has to wait, and for how long."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.ha import Node
from ctlha_trio.ha._peer_returns import (
    FIRST_QUIET_S,
    QUIET_MAX_S,
    RETURN_WINDOW_S,
    RETURNS_KEPT,
    RETURNS_LIMIT,
    PeerReturns,
    ReturnCount,
)
from ctlha_trio.link._writing import FrameWriter
from ctlha_trio.pair import Phase
from ctlha_trio.pair.events import BEGUN_ANEW
from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.testing import MemoryPair, open_pair

PEER = 7
VOLUME_BYTES = 16 * BLOCK_BYTES


def flapped(count: int, *, every_s: float = 1.0) -> tuple[ReturnCount, float]:
    """As often as that, and the time of the last loss."""
    returns = PeerReturns()
    returns.returned(0.0, PEER)
    assert returns.flaps.count(0.0) == 0, "the first session is none that returned"
    for number in range(count):
        returns.returned(number * every_s, PEER)
    assert returns.restarts.count(count * every_s) == 0
    return returns.flaps, (count - 1) * every_s


@pytest.mark.parametrize("count", range(RETURNS_LIMIT))
def test_below_the_limit_nothing_waits(count: int) -> None:
    flaps, now_s = flapped(count)
    assert not flaps.too_many(now_s)
    assert flaps.quiet_at_s(now_s) <= now_s


def test_each_loss_beyond_the_limit_doubles_the_wait_up_to_its_bound() -> None:
    waits = []
    for count in range(RETURNS_LIMIT, RETURNS_KEPT + 10):
        flaps, now_s = flapped(count)
        assert flaps.too_many(now_s)
        waits.append(flaps.quiet_at_s(now_s) - now_s)
    assert waits[:3] == [FIRST_QUIET_S, 2 * FIRST_QUIET_S, 4 * FIRST_QUIET_S]
    assert waits == sorted(waits)
    assert max(waits) == waits[-1] == QUIET_MAX_S


def test_losses_that_are_long_ago_do_not_count() -> None:
    flaps, now_s = flapped(RETURNS_LIMIT + 3)
    later_s = now_s + RETURN_WINDOW_S
    assert (flaps.count(later_s), flaps.too_many(later_s)) == (0, False)
    assert flaps.quiet_at_s(later_s) <= later_s


def test_losses_that_are_far_apart_never_add_up() -> None:
    flaps, now_s = flapped(50, every_s=RETURN_WINDOW_S / (RETURNS_LIMIT - 1))
    assert not flaps.too_many(now_s)


def test_a_peer_that_runs_anew_is_no_flap_and_counted_for_itself() -> None:
    returns = PeerReturns()
    for number in range(RETURNS_LIMIT + 1):
        assert returns.quiet_at_s(float(number)) <= number
        returns.returned(float(number), PEER + number)
    assert (returns.flaps.count(5.0), returns.restarts.count(5.0)) == (0, RETURNS_LIMIT)
    assert returns.quiet_at_s(RETURNS_LIMIT) == RETURNS_LIMIT + FIRST_QUIET_S
    returns.returned(5.0, PEER + RETURNS_LIMIT)
    assert returns.flaps.count(5.0) == 1
    assert not returns.flaps.too_many(5.0)


def test_a_session_that_was_ended_on_purpose_is_no_flap_and_a_peer_that_runs_anew_is_a_restart_all_the_same() -> None:
    returns = PeerReturns()
    for peer in (PEER, PEER, PEER + 1):
        returns.returned(0.0, peer, on_purpose=True)
    assert (returns.flaps.count(0.0), returns.restarts.count(0.0)) == (0, 1)
    returns.returned(0.0, PEER + 1)
    assert returns.flaps.count(0.0) == 1


# In whole nodes.


async def lose_and_return(pair: MemoryPair) -> None:
    """The link is lost for long enough that ``a`` goes on alone, and returns."""
    pair.partition()
    await pair.wait_alone("a")
    pair.heal()


async def flap_too_often(pair: MemoryPair) -> float:
    """The last loss has just been; the time at which it was noticed."""
    for _ in range(RETURNS_LIMIT - 1):
        await lose_and_return(pair)
        await pair.wait_protected()
    await lose_and_return(pair)
    a = pair.nodes["a"]
    await pair.wait_until(lambda: a.pair.resync is not None)
    return trio.current_time()


async def test_a_peer_that_comes_and_goes_becomes_a_member_only_after_some_quiet(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        returned_s = await flap_too_often(pair)
        a = pair.nodes["a"]
        await a.volume.write(0, b"x" * 4096)
        await trio.sleep(0.5)
        assert a.pair.phase is Phase.ALONE
        assert a.status().verdict == "degraded"
        assert a.status().reasons == ("resyncing", "link-flaps")
        assert a.status().flaps == RETURNS_LIMIT
        assert pair.copy("b")[:4096] == b"x" * 4096, "what differs is copied meanwhile, and what is written"
        await pair.wait_protected()
        assert FIRST_QUIET_S - 2.0 <= trio.current_time() - returned_s <= FIRST_QUIET_S + 1.0
        assert a.status().notes == ("link-flaps",)
        await trio.sleep(RETURN_WINDOW_S)
        assert (a.status().notes, a.status().flaps) == ((), 0)


async def test_a_loss_while_the_peer_waits_costs_no_swap_and_no_pause(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await flap_too_often(pair)
        a, before = pair.nodes["a"], pair.record
        pair.break_link()
        began_s = trio.current_time()
        await a.volume.write(0, b"y" * 4096)
        assert trio.current_time() - began_s < 0.1
        assert (pair.record, a.status().state) == (before, "CTL_HA_STATE_SINGLE")
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")
        assert trio.current_time() - began_s >= 2 * FIRST_QUIET_S


async def restart_too_often(pair: MemoryPair) -> float:
    """``b`` has died as often, and is back; when it came."""
    a, began_s = pair.nodes["a"], 0.0
    for _ in range(RETURNS_LIMIT):
        pair.crash("b")
        await pair.wait_alone("a")
        began_s = trio.current_time()
        await pair.restart("b")
        await pair.wait_until(lambda: a.pair.resync is not None or a.pair.phase is Phase.MIRRORING)
    return began_s


async def test_a_node_that_dies_again_and_again_becomes_a_member_later(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        began_s = await restart_too_often(pair)
        a = pair.nodes["a"]
        await a.volume.write(0, b"x" * 4096)
        await trio.sleep(0.5)
        assert (a.status().verdict, a.status().reasons) == ("degraded", ("resyncing", "peer-restarts"))
        assert (a.status().flaps, a.status().peer_restarts) == (0, RETURNS_LIMIT)
        assert pair.copy("b")[:4096] == b"x" * 4096, "it is kept up to date meanwhile"
        await pair.wait_protected()
        assert FIRST_QUIET_S - 2.0 <= trio.current_time() - began_s <= FIRST_QUIET_S + 1.0
        assert a.status().notes == ("peer-restarts",)
        await trio.sleep(RETURN_WINDOW_S)
        assert (a.status().notes, a.status().peer_restarts) == ((), 0)
        pair.crash("b")
        await pair.wait_alone("a")
        began_s = trio.current_time()
        await pair.restart("b")
        await pair.wait_protected()
        assert trio.current_time() - began_s < FIRST_QUIET_S / 2, "it is trusted again"


async def test_a_death_while_it_waits_costs_no_swap(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await restart_too_often(pair)
        a, before = pair.nodes["a"], pair.record
        pair.crash("b")
        began_s = trio.current_time()
        await a.volume.write(0, b"y" * 4096)
        assert trio.current_time() - began_s < 0.1
        await pair.restart("b")
        await trio.sleep(FIRST_QUIET_S + 1.0)
        assert pair.record == before
        await pair.wait_protected()
        assert trio.current_time() - began_s >= 2 * FIRST_QUIET_S - 1.0
        assert pair.copy("a") == pair.copy("b")


async def test_failover_never_waits(autojump_clock: MockClock) -> None:
    """A flapping link slows down nothing but the return of a member."""
    async with open_pair() as pair:
        await flap_too_often(pair)
        await pair.wait_protected()
        died_s = trio.current_time()
        pair.crash("a")
        b = await pair.wait_alone("b")
        assert trio.current_time() - died_s < 1.0
        await b.volume.write(0, b"z" * 4096)


# Ended on purpose.


def is_copied(node: Node) -> bool:
    """All but what may yet be copied again: the peer could be a member, if it were not held back."""
    state = node.pair
    return state.resync is not None and state.resync.cursor >= state.size_bytes and not state.flights


def is_copied_since(node: Node, sessions: int) -> bool:
    """In a session behind those."""
    return node.pair.sessions > sessions and is_copied(node)


@asynccontextmanager
async def held_back() -> AsyncGenerator[MemoryPair]:
    """``b`` has all that ``a`` has, and does not become a member: what it is sent, it may refuse."""
    async with open_pair(size_bytes=VOLUME_BYTES) as pair:
        await pair.nodes["a"].volume.write(0, b"o" * VOLUME_BYTES)
        pair.crash("b")
        a = await pair.wait_alone("a")
        a._driver.roles.hold_admission(held=True)
        await pair.restart("b")
        await pair.wait_until(lambda: is_copied(a))
        yield pair


async def refuse_writes(pair: MemoryPair, count: int) -> None:
    """Each is of a part of a block that ``b`` has lost."""
    a = pair.nodes["a"]
    for block in range(count):
        pair.decay("b", block * BLOCK_BYTES)
        before = a.pair.sessions
        await a.volume.write(block * BLOCK_BYTES + 1, b"part")
        await pair.wait_until(partial(is_copied_since, a, before))


def ends(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What was logged of those of sessions."""
    return [(each.levelno, each.getMessage()) for each in caplog.records if each.name.endswith("._inbox")]


async def test_a_resync_that_begins_anew_is_no_fault_of_the_link(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with held_back() as pair:
        a, b = (pair.nodes[name] for name in "ab")
        caplog.clear()
        await refuse_writes(pair, RETURNS_LIMIT + 1)
        assert (a.status().flaps, b.status().flaps) == (0, 0)
        assert a.status().reasons == b.status().reasons == ("resyncing",)
        assert a.status().notes == b.status().notes == ()
        assert ends(caplog) == [
            (logging.INFO, f"the session ends, and another one begins: {BEGUN_ANEW}"),
            (logging.INFO, f"node a ends the session, and another one begins: {BEGUN_ANEW}"),
        ] * (RETURNS_LIMIT + 1)
        a._driver.roles.hold_admission(held=False)
        began_s = trio.current_time()
        await pair.wait_protected()
        assert trio.current_time() - began_s < 1.0
        assert pair.copy("a") == pair.copy("b")


async def test_a_source_that_cannot_say_why_it_ends_the_session_counts_for_no_flap_at_its_target(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else was being sent, or it is of a version that does not say such."""
    monkeypatch.setattr(FrameWriter, "write_drop", lambda *_: None)
    async with held_back() as pair:
        await refuse_writes(pair, 2)
        assert [node.status().flaps for node in pair.nodes.values()] == [0, 0]


async def test_a_loss_of_the_link_right_after_a_resync_began_anew_is_a_flap(autojump_clock: MockClock) -> None:
    async with held_back() as pair:
        await refuse_writes(pair, 1)
        pair.break_link()
        await pair.wait_until(lambda: pair.nodes["a"].status().link == "unknown")
        await pair.wait_until(lambda: is_copied(pair.nodes["a"]))
        assert [node.status().flaps for node in pair.nodes.values()] == [1, 1]
