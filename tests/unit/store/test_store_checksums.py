import struct
from random import Random

import pytest
from crc32c import crc32c
from hypothesis import given, strategies as st

from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.store._checksums import ENTRY_BYTES, damaged_blocks, seal_blocks
from ctlha_trio.store._layout import GROUP_BLOCKS, PAGE_BYTES

EPOCHS = st.integers(0, 2**64 - 2)
GROUPS = st.integers(0, 2**32 // GROUP_BLOCKS - 1)


def blocks(seed: int, count: int, short_by: int = 0) -> bytes:
    return Random(seed).randbytes(count * BLOCK_BYTES - short_by)


def found(page: bytes | bytearray, first: int, data: bytes | bytearray) -> list[int]:
    return list(damaged_blocks(page, first, memoryview(data)))


@given(
    GROUPS, st.integers(0, GROUP_BLOCKS - 4), st.tuples(EPOCHS, EPOCHS), st.integers(0, BLOCK_BYTES - 1), st.integers()
)
def test_what_was_sealed_is_whole(group: int, at: int, epochs: tuple[int, int], short_by: int, seed: int) -> None:
    epoch, later = epochs
    first, data = group * GROUP_BLOCKS + at, blocks(seed, 4, short_by)
    page = bytearray(PAGE_BYTES)
    seal_blocks(page, first, memoryview(data), epoch)
    assert found(page, first, data) == []
    newer = blocks(seed + 1, 2)
    seal_blocks(page, first + 1, memoryview(newer), later)
    assert found(page, first, data[:BLOCK_BYTES] + newer + data[3 * BLOCK_BYTES :]) == []
    assert found(page, first, data) == [first + 1, first + 2]


@given(GROUPS, st.integers(0, GROUP_BLOCKS - 3), EPOCHS, st.integers(0, BLOCK_BYTES), st.integers())
def test_a_checksum_begins_with_epoch_and_address(group: int, at: int, epoch: int, short_by: int, seed: int) -> None:
    """What is on disks, whatever way it is computed."""
    first, data = group * GROUP_BLOCKS + at, blocks(seed, 3, short_by)
    page = bytearray(PAGE_BYTES)
    seal_blocks(page, first, memoryview(data), epoch)
    start = crc32c(epoch.to_bytes(8, "little"))
    for block, place in enumerate(range(0, len(data), BLOCK_BYTES), first):
        checksum = crc32c(data[place : place + BLOCK_BYTES], start ^ block)
        entry = struct.pack("<QII", epoch, checksum, 1)
        assert page[block % GROUP_BLOCKS * ENTRY_BYTES :][:ENTRY_BYTES] == entry


@pytest.mark.parametrize("size", [BLOCK_BYTES, 100, 1])
def test_never_written_is_zeros_and_nothing_else(size: int) -> None:
    page = bytes(PAGE_BYTES)
    assert found(page, 7, bytes(size)) == []
    for at in {0, size // 2, size - 1}:
        assert found(page, 7, bytes(at) + b"\1" + bytes(size - at - 1)) == [7]


@pytest.mark.parametrize("first_write", [b"\0" * BLOCK_BYTES, blocks(1, 1)], ids=["zeros", "bytes"])
def test_every_flipped_bit_is_found(first_write: bytes) -> None:
    page, data = bytearray(PAGE_BYTES), bytearray(first_write)
    seal_blocks(page, 3, memoryview(data), 5)
    places = [(page, 3 * ENTRY_BYTES + at) for at in range(ENTRY_BYTES)]
    places += [(data, at) for at in range(BLOCK_BYTES)]
    for buffer, at in places:
        for bit in range(8):
            buffer[at] ^= 1 << bit
            assert found(page, 3, data) == [3], (at, bit)
            buffer[at] ^= 1 << bit
    assert found(page, 3, data) == []


def test_every_flipped_bit_of_an_entry_never_written_is_found() -> None:
    page = bytearray(PAGE_BYTES)
    for at in range(ENTRY_BYTES):
        for bit in range(8):
            page[at] ^= 1 << bit
            assert found(page, 0, bytes(BLOCK_BYTES)) == [0], (at, bit)
            page[at] ^= 1 << bit


@given(GROUPS, st.integers(0, GROUP_BLOCKS - 1), GROUPS, st.integers(0, GROUP_BLOCKS - 1), EPOCHS)
def test_data_with_its_entry_is_whole_at_no_other_place(
    group: int, at: int, other: int, there: int, epoch: int
) -> None:
    """Such as a page of entries and its blocks that both went to another group."""
    first, second = group * GROUP_BLOCKS + at, other * GROUP_BLOCKS + there
    data, page = blocks(1, 1), bytearray(PAGE_BYTES)
    seal_blocks(page, first, memoryview(data), epoch)
    page[there * ENTRY_BYTES : (there + 1) * ENTRY_BYTES] = page[at * ENTRY_BYTES : (at + 1) * ENTRY_BYTES]
    assert found(page, second, data) == ([] if first == second else [second])


@given(EPOCHS, EPOCHS)
def test_epoch_is_covered(epoch: int, other: int) -> None:
    data, page, forged = blocks(1, 1), bytearray(PAGE_BYTES), bytearray(PAGE_BYTES)
    seal_blocks(page, 0, memoryview(data), epoch)
    seal_blocks(forged, 0, memoryview(data), other)
    forged[8:12] = page[8:12]
    assert found(forged, 0, data) == ([] if epoch == other else [0])


def test_any_mixture_of_sectors_of_two_writes_is_one_of_them_or_damaged() -> None:
    old, new = blocks(1, 1), blocks(2, 1)
    for sealed, whole in ((old, 0), (new, 255)):
        page = bytearray(PAGE_BYTES)
        seal_blocks(page, 0, memoryview(sealed), 1)
        for mixture in range(256):
            data = b"".join((new if mixture >> n & 1 else old)[n * 512 : (n + 1) * 512] for n in range(8))
            assert found(page, 0, data) == ([] if mixture == whole else [0])
