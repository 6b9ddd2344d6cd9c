"""Whole nodes beside an arbiter or on a disk that neither answers nor fails."""

import trio
from trio.testing import MockClock

from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.pair import Record
from ctlha_trio.seams import SwapAnswer, Versioned
from ctlha_trio.testing import open_pair


class HangingArbiter(MemoryArbiter):
    """An arbiter whose reads, or whose swaps, do not return while they hang."""

    hanging_reads = False
    hanging_swaps = False
    hung = 0

    async def read(self) -> Versioned:
        if self.hanging_reads:
            self.hung += 1
            await trio.sleep_forever()
        return await super().read()

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        if self.hanging_swaps:
            self.hung += 1
            await trio.sleep_forever()
        return await super().cas(expected_revision, record)


def hanging_client(arbiter: MemoryArbiter) -> HangingArbiter:
    """A client of the same record."""
    client = HangingArbiter.__new__(HangingArbiter)
    client.__attrs_init__(arbiter._cell)
    return client


async def test_an_arbiter_that_hangs_is_not_called_online(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        pair.arbiters["b"] = arbiter = hanging_client(pair.arbiter)
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_protected()
        arbiter.hanging_reads = True
        await trio.sleep(6.0)
        status = pair.nodes["b"].status()
        assert (status.verdict, status.reasons, status.arbiter) == ("degraded", ("arbiter-silent",), "unknown")
        assert pair.nodes["a"].status().verdict == "protected"


async def test_a_hanging_read_does_not_keep_the_swap_from_being_made(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        pair.arbiters["b"] = arbiter = hanging_client(pair.arbiter)
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_protected()
        await pair.nodes["a"].volume.write(0, b"kept")
        arbiter.hanging_reads = True
        await trio.sleep(30.0)
        assert 3 <= arbiter.hung <= 10, "one call at a time, each with its limit"
        pair.crash("a")
        arbiter.hanging_reads = False
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, 4) == b"kept"


async def test_a_swap_that_hangs_is_unknown_and_nobody_acknowledges(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        pair.arbiters["b"] = arbiter = hanging_client(pair.arbiter)
        for name in ("a", "b"):
            await pair.start(name)
        await pair.wait_protected()
        arbiter.hanging_swaps = True
        pair.crash("a")
        await trio.sleep(10.0)
        b = pair.nodes["b"]
        assert b.status().verdict == "at-risk"
        assert b.status().role == "secondary"
        arbiter.hanging_swaps = False
        await pair.wait_alone("b")
