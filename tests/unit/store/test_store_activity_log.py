import pytest
from hypothesis import given, strategies as st

from ctlha_trio._errors import StoreError
from ctlha_trio.store._activity_log import (
    ACTIVITY_PAGES,
    EXTENTS_OPEN_MAX,
    ActivityPage,
    OpenExtents,
    choose_activity,
    decode_activity,
    encode_activity,
    new_activity_pages,
)
from ctlha_trio.store._layout import ACTIVITY_OFFSET, PAGE_BYTES

PAGES = st.builds(
    ActivityPage,
    generation=st.integers(0, 2**64 - 1),
    base_epoch=st.none() | st.integers(0, 2**64 - 2),
    tracking=st.booleans(),
    extents=st.lists(st.integers(0, 2**32 - 1), max_size=EXTENTS_OPEN_MAX, unique=True).map(tuple),
)


@given(PAGES)
def test_page_comes_back(page: ActivityPage) -> None:
    raw = encode_activity(page)
    assert len(raw) == PAGE_BYTES
    assert decode_activity(raw) == page


def test_every_flipped_bit_is_found() -> None:
    raw = bytearray(encode_activity(ActivityPage(7, 3, True, tuple(range(EXTENTS_OPEN_MAX)))))
    for at in range(PAGE_BYTES):
        for bit in range(8):
            raw[at] ^= 1 << bit
            assert decode_activity(bytes(raw)) is None, (at, bit)
            raw[at] ^= 1 << bit


@given(PAGES.filter(lambda page: page.generation < 2**64 - 1), PAGES)
def test_pages_take_turns_and_the_higher_generation_counts(page: ActivityPage, later: ActivityPage) -> None:
    following = page.succeed(later.extents)
    assert (following.base_epoch, following.tracking, following.extents) == (
        page.base_epoch,
        page.tracking,
        later.extents,
    )
    assert {page.offset, following.offset} == {ACTIVITY_OFFSET, ACTIVITY_OFFSET + PAGE_BYTES}
    pages = sorted([page, following], key=lambda each: each.offset)
    assert choose_activity("file", b"".join(map(encode_activity, pages))) == following


@pytest.mark.parametrize("lost", range(ACTIVITY_PAGES))
def test_new_file_survives_the_loss_of_either_page(lost: int) -> None:
    raw = bytearray(new_activity_pages())
    raw[lost * PAGE_BYTES : (lost + 1) * PAGE_BYTES] = bytes(PAGE_BYTES)
    page = choose_activity("file", bytes(raw))
    assert (page.base_epoch, page.tracking, page.extents) == (None, False, ())
    assert page.succeed(()).offset == ACTIVITY_OFFSET + lost * PAGE_BYTES, "the one that counts would be overwritten"


def test_what_is_open_is_never_guessed() -> None:
    with pytest.raises(StoreError, match="file: both pages of the activity log are damaged"):
        choose_activity("file", bytes(ACTIVITY_PAGES * PAGE_BYTES))


def test_torn_page_is_the_old_one_the_new_one_or_damaged() -> None:
    old = encode_activity(ActivityPage(1, None, False, tuple(range(0, 512, 2))))
    new = encode_activity(ActivityPage(3, 1, True, tuple(range(1, 512, 2))))
    for mixture in range(256):
        raw = b"".join((new if mixture >> n & 1 else old)[n * 512 : (n + 1) * 512] for n in range(8))
        assert decode_activity(raw) is None or raw in {old, new}


def test_least_recently_used_is_closed_for_want_of_room() -> None:
    extents = OpenExtents()
    assert extents.use(range(EXTENTS_OPEN_MAX))
    assert not extents.use([0, 5])
    assert extents.use([1000, 1001])
    assert len(extents) == EXTENTS_OPEN_MAX
    assert set(extents) == {*range(EXTENTS_OPEN_MAX), 1000, 1001} - {1, 2}


@given(st.lists(st.lists(st.integers(0, 600), min_size=1, max_size=EXTENTS_OPEN_MAX, unique=True)))
def test_what_is_used_is_open(uses: list[list[int]]) -> None:
    extents = OpenExtents()
    for use in uses:
        before = set(extents)
        assert extents.use(use) is not before.issuperset(use)
        assert set(extents) <= before | set(use)
        assert set(extents) >= set(use)
        assert len(extents) <= EXTENTS_OPEN_MAX
    extents.clear()
    assert list(extents) == []
