"""How often a link may be lost before a peer that returns has to wait, and for how long."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.ha._flaps import (
    FIRST_QUIET_S,
    FLAP_WINDOW_S,
    FLAPS_KEPT,
    FLAPS_LIMIT,
    QUIET_MAX_S,
    Flaps,
)
from ctlha_trio.pair import Phase
from ctlha_trio.testing import MemoryPair, open_pair

PEER = 7


def flapped(count: int, *, every_s: float = 1.0) -> tuple[Flaps, float]:
    """As often as that, and the time of the last loss."""
    flaps = Flaps()
    assert not flaps.returned(0.0, PEER), "the first session is none that returned"
    for number in range(count):
        assert flaps.returned(number * every_s, PEER)
    return flaps, (count - 1) * every_s


@pytest.mark.parametrize("count", range(FLAPS_LIMIT))
def test_below_the_limit_nothing_waits(count: int) -> None:
    flaps, now_s = flapped(count)
    assert not flaps.too_many(now_s)
    assert flaps.quiet_at_s(now_s) <= now_s


def test_each_loss_beyond_the_limit_doubles_the_wait_up_to_its_bound() -> None:
    waits = []
    for count in range(FLAPS_LIMIT, FLAPS_KEPT + 10):
        flaps, now_s = flapped(count)
        assert flaps.too_many(now_s)
        waits.append(flaps.quiet_at_s(now_s) - now_s)
    assert waits[:3] == [FIRST_QUIET_S, 2 * FIRST_QUIET_S, 4 * FIRST_QUIET_S]
    assert waits == sorted(waits)
    assert max(waits) == waits[-1] == QUIET_MAX_S


def test_losses_that_are_long_ago_do_not_count() -> None:
    flaps, now_s = flapped(FLAPS_LIMIT + 3)
    later_s = now_s + FLAP_WINDOW_S
    assert (flaps.count(later_s), flaps.too_many(later_s)) == (0, False)
    assert flaps.quiet_at_s(later_s) <= later_s


def test_losses_that_are_far_apart_never_add_up() -> None:
    flaps, now_s = flapped(50, every_s=FLAP_WINDOW_S / (FLAPS_LIMIT - 1))
    assert not flaps.too_many(now_s)


def test_a_peer_that_runs_anew_is_no_flap() -> None:
    flaps = Flaps()
    assert not any(flaps.returned(float(incarnation), incarnation) for incarnation in range(1, 20))
    assert flaps.count(20.0) == 0


# In whole nodes.


async def lose_and_return(pair: MemoryPair) -> None:
    """The link is lost for long enough that ``a`` goes on alone, and returns."""
    pair.partition()
    await pair.wait_alone("a")
    pair.heal()


async def flap_too_often(pair: MemoryPair) -> float:
    """The last loss has just been; the time at which it was noticed."""
    for _ in range(FLAPS_LIMIT - 1):
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
        assert a.status().flaps == FLAPS_LIMIT
        assert pair.copy("b")[:4096] == b"x" * 4096, "what differs is copied meanwhile, and what is written"
        await pair.wait_protected()
        assert FIRST_QUIET_S - 2.0 <= trio.current_time() - returned_s <= FIRST_QUIET_S + 1.0
        assert a.status().notes == ("link-flaps",)
        await trio.sleep(FLAP_WINDOW_S)
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


async def test_a_node_that_is_killed_again_and_again_returns_at_once(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        for _ in range(FLAPS_LIMIT + 2):
            pair.crash("b")
            await pair.wait_alone("a")
            await pair.restart("b")
            began_s = trio.current_time()
            await pair.wait_protected()
            assert trio.current_time() - began_s < FIRST_QUIET_S / 2
        assert pair.nodes["a"].status().flaps == 0


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
