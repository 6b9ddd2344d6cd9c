import pytest
from trio.testing import MockClock

from ctlha_trio.store import DATA_OFFSET
from ctlha_trio.testing import open_pair
from ctlha_trio.testing._driver_atlas import ATLAS, DRAWN, FATAL_TO_COPY, Fault, Stand, Survival
from ctlha_trio.testing._driver_swarm import draw_swarm
from ctlha_trio.testing._memory_pair import NAMES, VOLUME


def stand(members: tuple[str, ...], dead: str = "", claiming: str = "") -> Stand:
    return Stand(members=members, dead=frozenset(dead), claiming=frozenset(claiming))


def test_the_atlas_says_something_of_every_fault() -> None:
    assert set(ATLAS) == set(Fault)
    assert all(entry.why for entry in ATLAS.values())


def test_no_run_draws_what_no_read_can_detect_or_only_a_halt_answers() -> None:
    left_out = set(Fault) - {*DRAWN, *FATAL_TO_COPY}
    assert {ATLAS[fault].survival for fault in left_out} == {Survival.HALT, Survival.UNDETECTED}
    assert left_out == {Fault.ARBITER_RESTORED, Fault.BIT_ROT, Fault.MISDIRECTED}
    drawn = {fault for seed in range(300) for fault in draw_swarm(seed, NAMES).intervals_s}
    assert drawn == {*DRAWN, *FATAL_TO_COPY}


@pytest.mark.parametrize(
    ("what", "survives"),
    [
        (stand(("a", "b")), True),
        (stand(("b",)), True),
        (stand(("a",)), False),
        (stand(("a", "b"), dead="b"), False),
        (stand(("b",), dead="b"), False),
        (stand(("a", "b"), claiming="a"), False),
        (stand(("a", "b"), claiming="b"), True),
    ],
)
def test_a_copy_may_die_only_if_another_is_left(what: Stand, *, survives: bool) -> None:
    assert what.survives_death_of("a") is survives


def test_a_pair_must_halt_when_every_copy_that_counts_is_dead() -> None:
    assert stand(("a",), dead="a").must_halt
    assert stand(("a", "b"), dead="ab").must_halt
    assert not stand(("a",), dead="b").must_halt
    assert not stand(("a", "b"), dead="a").must_halt


async def test_a_decayed_block_cannot_be_told_from_a_good_one(autojump_clock: MockClock) -> None:
    """Why the atlas leaves it out: once blocks carry checksums this fails, and the fault can be drawn."""
    async with open_pair() as pair:
        node = pair.nodes["a"]
        await node.volume.write(0, b"good")
        pair.disks["a"]._medium.seen(VOLUME)[DATA_OFFSET] ^= 1
        assert await node.volume.read(0, 4) == b"food"
        assert node.status().verdict == "protected"


def test_a_swarm_is_that_of_its_seed() -> None:
    assert draw_swarm(5, NAMES) == draw_swarm(5, NAMES)
    assert draw_swarm(5, NAMES) != draw_swarm(6, NAMES)
