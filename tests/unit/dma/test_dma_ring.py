"""The bookkeeping of a ring: pieces never overlap, and a ring that was given back whole can be taken whole."""

from random import Random

from hypothesis import given, strategies as st

from ctlha_trio.dma import Ring

SIZE = 64
STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, SIZE), st.integers(0, 1000)), max_size=60)


@given(STEPS)
def test_pieces_lie_in_the_ring_and_never_overlap(steps: list[tuple[bool, int, int]]) -> None:
    ring = Ring(SIZE)
    taken: dict[int, int] = {}
    for take, size, choice in steps:
        if take:
            start = ring.take(size)
            if start is None:
                continue
            assert start >= 0
            assert start + size <= SIZE
            assert all(start + size <= other or other + length <= start for other, length in taken.items())
            taken[start] = size
        elif taken:
            start = sorted(taken)[choice % len(taken)]
            del taken[start]
            ring.give_back(start)


@given(STEPS, st.randoms(use_true_random=False))
def test_a_ring_given_back_in_any_order_is_empty(steps: list[tuple[bool, int, int]], random: Random) -> None:
    ring = Ring(SIZE)
    taken = [start for _, size, _ in steps if (start := ring.take(size)) is not None]
    random.shuffle(taken)
    for start in taken:
        ring.give_back(start)
    assert ring.take(SIZE) == 0


@given(STEPS)
def test_an_empty_ring_takes_whatever_fits(steps: list[tuple[bool, int, int]]) -> None:
    for _, size, _ in steps:
        ring = Ring(SIZE)
        assert ring.take(size) == 0


def test_what_does_not_fit_in_one_piece_waits() -> None:
    ring = Ring(10)
    assert ring.take(4) == 0
    assert ring.take(4) == 4
    assert ring.take(4) is None
    ring.give_back(0)
    assert ring.take(5) is None
    assert ring.take(4) == 0
    assert ring.take(1) is None


def test_pieces_are_free_once_those_before_them_are() -> None:
    ring = Ring(10)
    first, second, third = ring.take(2), ring.take(6), ring.take(2)
    assert (first, second, third) == (0, 2, 8)
    ring.give_back(2)
    assert ring.take(1) is None
    ring.give_back(0)
    assert ring.take(8) == 0


def test_more_than_the_ring_is_never_taken() -> None:
    assert Ring(10).take(11) is None
    assert Ring(0).take(1) is None


def test_giving_back_what_was_not_taken_changes_nothing() -> None:
    ring = Ring(10)
    assert ring.take(10) == 0
    ring.give_back(5)
    assert ring.take(1) is None
    ring.give_back(0)
    ring.give_back(0)
    assert ring.take(10) == 0
