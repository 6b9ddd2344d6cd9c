"""Whole nodes of which one returns: what is compared, and what is left to do when that is interrupted."""

from collections.abc import Sequence

import pytest
from trio.testing import MockClock

from ctlha_trio._errors import DamagedBlockError
from ctlha_trio.ha._disk_work import READ_TOGETHER_BYTES
from ctlha_trio.ha._outbox import Outbox
from ctlha_trio.pair import Grant
from ctlha_trio.pair.messages import Compare, Message
from ctlha_trio.store import DIRTY_BYTES, GROUP_BYTES, BlockStore
from ctlha_trio.testing import MemoryPair, open_pair

SIZE = 4 * GROUP_BYTES
UNIT = DIRTY_BYTES


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Every range that a source has asked about."""
    ranges: list[tuple[int, int]] = []
    plain = Outbox.say

    def say(outbox: Outbox, message: Message | Grant) -> None:
        if isinstance(message, Compare):
            ranges.append((message.offset, message.size))
        plain(outbox, message)

    monkeypatch.setattr(Outbox, "say", say)
    return ranges


async def returned(pair: MemoryPair, name: str) -> None:
    await pair.start(name)
    await pair.wait_protected()
    assert pair.copy("a") == pair.copy("b")


async def test_only_what_was_written_meanwhile_is_compared(
    autojump_clock: MockClock, compared: list[tuple[int, int]]
) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        await pair.nodes["a"].volume.write(0, b"before")
        await pair.stop("b")
        a = await pair.wait_alone("a")
        await a.volume.write(2 * UNIT + 1, b"x")
        await a.volume.write(SIZE - 1, b"y")
        compared.clear()
        await returned(pair, "b")
        # When it left, the secondary did not know yet that the primary had the last write too.
        assert sorted(compared) == [(0, UNIT), (2 * UNIT, UNIT), (SIZE - UNIT, UNIT)]
        assert pair.nodes["a"].status().resync_bytes_left == 0


async def test_a_source_that_restarts_still_knows_what_to_copy(
    autojump_clock: MockClock, compared: list[tuple[int, int]]
) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        await pair.stop("b")
        a = await pair.wait_alone("a")
        await a.volume.write(UNIT, b"x")
        await pair.stop("a")
        compared.clear()
        await pair.start("a")
        await pair.wait_alone("a")
        await returned(pair, "b")
        assert compared == [(UNIT, UNIT)]


async def test_after_a_crash_of_the_primary_its_open_extents_are_compared(
    autojump_clock: MockClock, compared: list[tuple[int, int]]
) -> None:
    async with open_pair(size_bytes=SIZE) as pair:
        await pair.nodes["a"].volume.write(GROUP_BYTES, b"x")
        pair.crash("a")
        await pair.wait_alone("b")
        compared.clear()
        await pair.restart("a")
        await pair.wait_protected()
        assert compared == [(GROUP_BYTES, GROUP_BYTES)]


async def test_an_interrupted_resync_goes_on_with_what_is_left(
    autojump_clock: MockClock, compared: list[tuple[int, int]]
) -> None:
    size_bytes = 12 * GROUP_BYTES
    async with open_pair(size_bytes=size_bytes) as pair:
        await pair.stop("b")
        a = await pair.wait_alone("a")
        for offset in range(0, size_bytes, GROUP_BYTES):
            await a.volume.write(offset, b"x" * GROUP_BYTES)
        pair.slow("b", disk_call_s=0.05)
        await pair.start("b")
        await pair.wait_until(lambda: 0 < a.status().resync_bytes_left <= 4 * GROUP_BYTES)
        compared.clear()
        pair.break_link()
        await pair.wait_protected()
        assert pair.copy("a") == pair.copy("b")
        assert compared
        assert len(compared) <= 8, "what was left, and what was under way"


async def test_small_ranges_are_read_together_on_both_nodes_a_mib_at_most(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a range by itself costs is its way to the disk's thread and back."""
    calls: dict[BlockStore, list[list[int]]] = {}
    plain = BlockStore.read_all

    async def read_all(store: BlockStore, ranges: Sequence[tuple[int, int]]) -> list[bytes | DamagedBlockError]:
        calls.setdefault(store, []).append([size for _, size in ranges])
        return await plain(store, ranges)

    async with open_pair(size_bytes=SIZE) as pair:
        await pair.stop("b")
        a = await pair.wait_alone("a")
        for place in range(10):
            await a.volume.write(3 * place * UNIT, b"x" * (2 * UNIT))
        monkeypatch.setattr(BlockStore, "read_all", read_all)
        await returned(pair, "b")
        together = READ_TOGETHER_BYTES // (2 * UNIT)
        source, target = calls.values()
        assert sorted(source) == [[2 * UNIT] * (10 - together), [2 * UNIT] * together]
        # Here it depends on how they come: the first leaves by itself, whichever task of the source runs first.
        assert [size for sizes in target for size in sizes] == [2 * UNIT] * 10
        assert max(map(len, target)) in {together - 1, together}
        assert len(target) <= 4
