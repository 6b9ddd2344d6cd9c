from collections.abc import Callable

import pytest
from trio.testing import MockClock

from ctlha_trio.store import BLOCK_BYTES, Layout
from ctlha_trio.testing import MemoryPair, open_pair
from ctlha_trio.testing._drivers.atlas import ATLAS, DRAWN, FATAL_TO_COPY, RESTORED, Fault, Stand, Survival
from ctlha_trio.testing._drivers.swarm import draw_swarm
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.testing._pairs.pair_view import VOLUME


def stand(members: tuple[str, ...], dead: str = "", claiming: str = "", damaged: str = "") -> Stand:
    return Stand(members=members, dead=frozenset(dead), claiming=frozenset(claiming), damaged=frozenset(damaged))


def test_the_atlas_says_something_of_every_fault() -> None:
    assert set(ATLAS) == set(Fault)
    assert all(entry.why for entry in ATLAS.values())


def test_no_run_draws_what_only_a_halt_or_a_person_answers() -> None:
    left_out = set(Fault) - {*DRAWN, *FATAL_TO_COPY}
    answers = {fault: ATLAS[fault].survival for fault in left_out}
    assert answers == {
        Fault.FORCE: Survival.FORCED,
        **dict.fromkeys(RESTORED, Survival.HALT),
        Fault.COPY_CHANGED: Survival.NAMED,
    }
    drawn = {fault for seed in range(300) for fault in draw_swarm(seed, NAMES).intervals_s}
    assert drawn == {*DRAWN, *FATAL_TO_COPY, Fault.FORCE}


@pytest.mark.parametrize(
    ("what", "survives"),
    [
        (stand(("a", "b")), True),
        (stand(("b",)), True),
        (stand(("a",)), False),
        (stand(("a", "b"), dead="b"), False),
        (stand(("b",), dead="b"), False),
        (stand(("a", "b"), damaged="b"), False),
        (stand(("a", "b"), damaged="a"), True),
        (stand(("a", "b"), claiming="a"), False),
        (stand(("a", "b"), claiming="b"), True),
    ],
)
def test_a_copy_may_die_only_if_another_is_left(what: Stand, *, survives: bool) -> None:
    assert what.survives_death_of("a") is survives


def test_a_block_may_decay_although_another_block_of_the_other_copy_has() -> None:
    assert stand(("a", "b"), damaged="b").leaves_another("a")
    assert not stand(("a", "b"), dead="b").leaves_another("a")


def test_a_pair_must_halt_when_every_copy_that_counts_is_dead() -> None:
    assert stand(("a",), dead="a").must_halt
    assert stand(("a", "b"), dead="ab").must_halt
    assert not stand(("a",), dead="b").must_halt
    assert not stand(("a", "b"), dead="a").must_halt


def decay(pair: MemoryPair, block: int) -> None:
    pair.disks["a"]._medium.seen(VOLUME)[Layout(pair.size_bytes).file_offset(block * BLOCK_BYTES)] ^= 1


def misdirect(pair: MemoryPair, block: int) -> None:
    """What was written to the block lies in the next one, where the write before has left it as it was."""
    layout, seen = Layout(pair.size_bytes), pair.disks["a"]._medium.seen(VOLUME)
    here, there = (layout.file_offset((block + step) * BLOCK_BYTES) for step in (0, 1))
    seen[there : there + BLOCK_BYTES] = seen[here : here + BLOCK_BYTES]


@pytest.mark.parametrize(("strike", "read_at"), [(decay, 0), (misdirect, BLOCK_BYTES)])
async def test_a_bad_block_is_found_when_it_is_read_and_repaired_from_the_other_copy(
    autojump_clock: MockClock, strike: Callable[[MemoryPair, int], None], read_at: int
) -> None:
    async with open_pair() as pair:
        node = pair.nodes["a"]
        for offset, byte in ((0, b"1"), (BLOCK_BYTES, b"2")):
            await node.volume.write(offset, byte * BLOCK_BYTES)
        strike(pair, 0)
        assert await node.volume.read(read_at, BLOCK_BYTES) == (b"2" if read_at else b"1") * BLOCK_BYTES
        assert (node.status().reasons, node.status().repaired_blocks) == ((), 1)


def test_a_swarm_is_that_of_its_seed() -> None:
    assert draw_swarm(5, NAMES) == draw_swarm(5, NAMES)
    assert draw_swarm(5, NAMES) != draw_swarm(6, NAMES)
