from random import Random

import pytest
from hypothesis import given, strategies as st

from ctlha_trio.store import DIRTY_BYTES, GROUP_BYTES, Layout
from ctlha_trio.store._dirty_bitmap import DirtyBitmap, decode_bitmap_page, encode_bitmap_page
from ctlha_trio.store._layout import BITMAP_OFFSET, BITMAP_PAGE_BYTES, BITMAP_PAGE_GROUPS

BITS_BYTES = BITMAP_PAGE_BYTES - 16
PAGE_VOLUME = BITMAP_PAGE_GROUPS * GROUP_BYTES
SIZE_BYTES = 2 * PAGE_VOLUME + 5 * DIRTY_BYTES + 100
UNITS = -(-SIZE_BYTES // DIRTY_BYTES)


def in_use(size_bytes: int = SIZE_BYTES) -> DirtyBitmap:
    bitmap = DirtyBitmap(Layout(size_bytes))
    bitmap.reset(3)
    return bitmap


def units(bitmap: DirtyBitmap) -> set[int]:
    found: set[int] = set()
    last = -1
    for offset, size in bitmap.ranges():
        assert offset > last, "two ranges that are one, or out of order"
        last = offset + size
        found.update(range(offset // DIRTY_BYTES, -(-last // DIRTY_BYTES)))
        assert last == SIZE_BYTES or last % DIRTY_BYTES == 0
    return found


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 2), st.binary(min_size=BITS_BYTES, max_size=BITS_BYTES))
def test_page_comes_back(number: int, base_epoch: int, bits: bytes) -> None:
    raw = encode_bitmap_page(number, base_epoch, bits)
    assert len(raw) == BITMAP_PAGE_BYTES
    assert decode_bitmap_page(raw, number, base_epoch) == bits
    assert decode_bitmap_page(raw, number ^ 1, base_epoch) is None
    assert decode_bitmap_page(raw, number, base_epoch ^ 1) is None


def test_every_flipped_bit_is_found() -> None:
    raw = bytearray(encode_bitmap_page(2, 5, Random(1).randbytes(BITS_BYTES)))
    for at in range(BITMAP_PAGE_BYTES):
        for bit in range(8):
            raw[at] ^= 1 << bit
            assert decode_bitmap_page(bytes(raw), 2, 5) is None, (at, bit)
            raw[at] ^= 1 << bit


RANGES = st.tuples(st.integers(0, SIZE_BYTES), st.integers(0, SIZE_BYTES), st.booleans(), st.integers(1, 10**6)).map(
    lambda drawn: (drawn[0], min(drawn[1] if drawn[2] else drawn[3], SIZE_BYTES - drawn[0]))
)


@given(st.lists(st.tuples(st.booleans(), RANGES), max_size=12))
def test_marked_and_cleared_as_a_set_of_units(changes: list[tuple[bool, tuple[int, int]]]) -> None:
    bitmap, expected = in_use(), set[int]()
    disk = bytearray(3 * BITMAP_PAGE_BYTES)
    for marks, (offset, size) in changes:
        end = offset + size
        if marks:
            bitmap.mark(offset, size)
            expected.update(range(offset // DIRTY_BYTES, -(-end // DIRTY_BYTES)) if size else ())
        else:
            bitmap.clear(offset, size)
            last = UNITS if end == SIZE_BYTES else end // DIRTY_BYTES
            expected.difference_update(range(-(-offset // DIRTY_BYTES), last))
        for place, page in bitmap.take_changed():
            disk[place - BITMAP_OFFSET : place - BITMAP_OFFSET + len(page)] = page
        assert bitmap.take_changed() == []
    loaded = DirtyBitmap(Layout(SIZE_BYTES))
    loaded.load(bytes(disk) if changes else b"".join(page for _, page in bitmap.take_changed()), 3)
    for each in (bitmap, loaded):
        assert units(each) == expected
        assert each.dirty_bytes_from(0) == sum(size for _, size in each.ranges())
        for start in (0, 5 * DIRTY_BYTES + 1, PAGE_VOLUME, SIZE_BYTES - 1):
            later = {unit for unit in expected if unit >= start // DIRTY_BYTES}
            assert sum(-(-size // DIRTY_BYTES) for _, size in each.ranges(start)) == len(later)


def test_range_of_one_byte_dirties_and_cleans_as_it_must() -> None:
    bitmap = in_use()
    bitmap.mark(DIRTY_BYTES - 1, 2)
    assert list(bitmap.ranges()) == [(0, 2 * DIRTY_BYTES)]
    bitmap.clear(1, 2 * DIRTY_BYTES - 1)
    assert list(bitmap.ranges()) == [(0, DIRTY_BYTES)]


@pytest.mark.parametrize("unreadable", [0, 1, 2])
def test_page_that_cannot_be_believed_is_all_dirty(unreadable: int) -> None:
    bitmap = in_use()
    pages = [page for _, page in bitmap.take_changed()]
    for page in (bytes(BITMAP_PAGE_BYTES), encode_bitmap_page(unreadable, 2, bytes(BITS_BYTES))):
        pages[unreadable] = page
        loaded = DirtyBitmap(Layout(SIZE_BYTES))
        loaded.load(b"".join(pages), 3)
        start = unreadable * PAGE_VOLUME
        assert list(loaded.ranges()) == [(start, min(PAGE_VOLUME, SIZE_BYTES - start))]
        assert [place for place, _ in loaded.take_changed()] == [BITMAP_OFFSET + unreadable * BITMAP_PAGE_BYTES]


def test_bitmap_out_of_use_says_nothing() -> None:
    bitmap = in_use()
    bitmap.mark(0, SIZE_BYTES)
    bitmap.forget()
    assert (bitmap.base_epoch, bitmap.dirty_bytes_from(0), list(bitmap.ranges()), bitmap.take_changed()) == (
        None,
        0,
        [],
        [],
    )


def test_ranges_are_as_they_are_when_asked_for() -> None:
    bitmap = in_use()
    for number in (0, 2, 4):
        bitmap.mark(number * DIRTY_BYTES, 1)
    found = []
    for offset, size in bitmap.ranges():
        found.append(offset // DIRTY_BYTES)
        bitmap.clear(2 * DIRTY_BYTES, size)
    assert found == [0, 4]
