import pytest
from hypothesis import given, strategies as st

from ctlha_trio.store import BLOCK_BYTES, GROUP_BYTES, Layout, volume_in
from ctlha_trio.store._layout import BITMAP_OFFSET, BITMAP_PAGE_GROUPS, PAGE_BYTES, groups_of, volume_bytes

SIZES = st.one_of(
    st.integers(1, 2**40),
    st.integers(0, 10_000).flatmap(lambda groups: st.integers(groups * GROUP_BYTES + 1, groups * GROUP_BYTES + 3)),
)


@given(SIZES)
def test_size_of_a_file_tells_that_of_its_volume(size_bytes: int) -> None:
    assert volume_bytes(Layout(size_bytes).file_bytes) == size_bytes


@given(SIZES)
def test_parts_lie_one_behind_the_other(size_bytes: int) -> None:
    layout = Layout(size_bytes)
    assert layout.bitmap_pages * BITMAP_PAGE_GROUPS >= layout.groups
    end = layout.entry_page_offset(0)
    assert end >= BITMAP_OFFSET + layout.bitmap_pages * 512
    assert end % PAGE_BYTES == 0
    for group in {0, layout.groups // 2, layout.groups - 1}:
        start = layout.entry_page_offset(group)
        assert layout.file_offset(group * GROUP_BYTES) == start + PAGE_BYTES
        last = group * GROUP_BYTES + layout.group_bytes(group) - 1
        end = layout.entry_page_offset(group + 1) if group + 1 < layout.groups else layout.file_bytes
        assert layout.file_offset(last) + 1 == end
    last_block = (size_bytes - 1) // BLOCK_BYTES
    assert last_block * BLOCK_BYTES + layout.block_bytes(last_block) == size_bytes


@pytest.mark.parametrize("file_bytes", [-1, 0, 1, BITMAP_OFFSET, BITMAP_OFFSET + 2 * PAGE_BYTES])
def test_file_that_is_too_small_for_any_volume(file_bytes: int) -> None:
    assert volume_bytes(file_bytes) is None


def test_file_that_ends_within_a_page_of_entries_is_of_no_volume() -> None:
    whole = Layout(GROUP_BYTES).file_bytes
    assert [volume_bytes(whole + more) for more in (0, 1, PAGE_BYTES, PAGE_BYTES + 1)] == [
        GROUP_BYTES,
        None,
        None,
        GROUP_BYTES + 1,
    ]


def test_volume_in_a_file_leaves_the_entries_out() -> None:
    size_bytes = GROUP_BYTES + 10
    layout = Layout(size_bytes)
    content = bytearray(b"\xff" * layout.file_bytes)
    for offset in range(0, size_bytes, 2):
        content[layout.file_offset(offset)] = offset % 251
    assert volume_in(bytes(content), size_bytes)[::2] == bytes(offset % 251 for offset in range(0, size_bytes, 2))


@given(st.integers(0, 5 * GROUP_BYTES), st.integers(0, 5 * GROUP_BYTES))
def test_groups_of_a_range_are_those_of_its_bytes(offset: int, size: int) -> None:
    groups = groups_of(offset, size)
    assert list(groups) == sorted(
        {at // GROUP_BYTES for at in (*range(offset, offset + size, GROUP_BYTES), offset + size - 1)} if size else ()
    )
