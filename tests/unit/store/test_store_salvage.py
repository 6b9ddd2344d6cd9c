"""What is left of a backing file that no node would take for whole, and making it one that counts."""

import errno
import fcntl
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import attrs
import pytest
import trio

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio.pair import CarriedRecord, Copy, Metadata
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import (
    BLOCK_BYTES,
    GROUP_BYTES,
    HEAD_BYTES,
    BlockStore,
    Layout,
    create_store_file,
    read_head,
    read_remains,
    rewrite_metadata,
    salvage_copy,
)
from ctlha_trio.store._layout import ACTIVITY_OFFSET, RECORDS_OFFSET
from ctlha_trio.store._slots import SLOT_BYTES, SLOT_COUNT

SIZE_BYTES = GROUP_BYTES + 3 * BLOCK_BYTES + 100
METADATA = Metadata(
    cluster="cluster",
    node="a",
    resource="volume",
    lineage="lineage",
    arbiter="arbiter",
    epoch=7,
    revision=9,
    primary="b",
    members=("a", "b"),
    copy=Copy.FAILED,
)
SALVAGED = attrs.evolve(METADATA, copy=Copy.MEMBER, members=("a",), primary="a", epoch=8, lineage="other")


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "volume")
    create_store_file(path, METADATA, SIZE_BYTES, [bytes(range(1, 256)) * 40])
    return path


def overwrite(path: str, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def left_of(path: str) -> tuple[int, list[int]]:
    remains = list(read_remains(path, size_bytes=SIZE_BYTES))
    assert sum(each.read_bytes for each in remains) == SIZE_BYTES
    return sum(each.written for each in remains), [block for each in remains for block in each.damaged]


async def opened(path: str) -> BlockStore:
    return await BlockStore.open(ThreadDisk(), path, size_bytes=SIZE_BYTES, clock=TrioClock())


async def test_what_a_dead_copy_holds_is_served_again(path: str) -> None:
    head = read_head(path, size_bytes=SIZE_BYTES)
    assert (head.metadata, head.has_records, head.problems) == (METADATA, True, ())
    assert left_of(path) == (3, [])
    salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
    store = await opened(path)
    assert store.metadata == SALVAGED
    assert store.marked_from is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        assert await store.read(0, 255) == bytes(range(1, 256))
        nursery.cancel_scope.cancel()
    store.close()


def test_damaged_blocks_are_named_in_whichever_group_they_are(path: str) -> None:
    layout = Layout(SIZE_BYTES)
    for place in (BLOCK_BYTES + 7, GROUP_BYTES, SIZE_BYTES - 1):
        overwrite(path, layout.file_offset(place), b"?")
    last = SIZE_BYTES // BLOCK_BYTES * BLOCK_BYTES
    assert left_of(path) == (2, [BLOCK_BYTES, GROUP_BYTES, last])


def test_a_page_of_entries_that_cannot_be_read_leaves_nothing_of_its_group(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread, bad = os.pread, Layout(SIZE_BYTES).entry_page_offset(0)
    refuse_places(monkeypatch, range(bad, bad + 1))
    written, damaged = left_of(path)
    assert (written, damaged) == (0, list(range(0, GROUP_BYTES, BLOCK_BYTES)))
    assert os.pread is not pread


def refuse_places(monkeypatch: pytest.MonkeyPatch, places: range) -> None:
    """Reads that touch them fail as those of a bad sector."""
    pread = os.pread

    def read(descriptor: int, size: int, offset: int) -> bytes:
        if offset < places.stop and places.start < offset + size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", read)


def test_blocks_that_cannot_be_read_are_damaged_and_no_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Layout(SIZE_BYTES).file_offset(BLOCK_BYTES)
    refuse_places(monkeypatch, range(bad, bad + 512))
    assert left_of(path) == (2, [BLOCK_BYTES])


@pytest.mark.parametrize("magic", [b"ctlhavol", b"somebody"])
async def test_slots_of_which_none_can_be_believed_are_made_anew(path: str, magic: bytes) -> None:
    overwrite(path, 0, magic + os.urandom(HEAD_BYTES // 2 - 8))
    overwrite(path, HEAD_BYTES // 2, magic + os.urandom(HEAD_BYTES // 2 - 8))
    head = read_head(path, size_bytes=SIZE_BYTES)
    assert head.metadata is None
    assert len(head.problems) == 1
    with pytest.raises((StoreError, ConfigError)):
        await opened(path)
    salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
    assert read_head(path, size_bytes=SIZE_BYTES).metadata == SALVAGED
    (await opened(path)).close()


async def test_the_records_are_kept_if_they_can_be_read_and_else_given_up(path: str) -> None:
    store = await opened(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.put_record(CarriedRecord("key", 7, 1, b"value"))
        nursery.cancel_scope.cancel()
    store.close()
    salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
    kept = await opened(path)
    assert kept.records["key"].value == b"value"
    kept.close()
    overwrite(path, RECORDS_OFFSET, bytes(160 * 1024))
    head = read_head(path, size_bytes=SIZE_BYTES)
    assert (head.has_records, len(head.problems)) == (False, 1)
    salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
    empty = await opened(path)
    assert not empty.records
    empty.close()


async def test_what_a_crash_may_have_torn_is_not_taken_for_whole(path: str) -> None:
    """A block in an open extent, which a start would seal as it is, stays damaged."""
    store = await opened(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.write(0, b"acknowledged")
        nursery.cancel_scope.cancel()
    store.close()
    overwrite(path, Layout(SIZE_BYTES).file_offset(0), b"torn")
    salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
    salvaged = await opened(path)
    assert not salvaged.crash_extents
    salvaged.close()
    assert left_of(path)[1] == [0]


async def test_a_log_that_cannot_be_believed_is_made_anew(path: str) -> None:
    overwrite(path, ACTIVITY_OFFSET, bytes(RECORDS_OFFSET - ACTIVITY_OFFSET))
    assert len(read_head(path, size_bytes=SIZE_BYTES).problems) == 1
    salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
    assert not read_head(path, size_bytes=SIZE_BYTES).problems


class CutError(Exception):
    """The power is gone."""


def cut_in_write(monkeypatch: pytest.MonkeyPatch, number: int, landed: int) -> None:
    """Of the writes from now on, that one is the last, and only so many of its bytes get to the disk."""
    pwrite, numbers = os.pwrite, count(1)

    def write(descriptor: int, data: bytes, offset: int) -> int:
        if next(numbers) < number:
            return pwrite(descriptor, data, offset)
        pwrite(descriptor, data[:landed], offset)
        raise CutError

    monkeypatch.setattr(os, "pwrite", write)


async def persisted(path: str, times: int) -> Metadata:
    """What the file says after so many changes of it, each of which takes the slot that is the older one."""
    before = METADATA
    for _ in range(times):
        after = attrs.evolve(before, epoch=before.epoch + 1)
        await rewrite_metadata(ThreadDisk(), path, after, expected=before)
        before = after
    return before


def cut_salvages(path: str, landed: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata | None]:
    """What the file says after each write at which it may be cut off; in the end it was not."""
    content = Path(path).read_bytes()
    for number in count(1):
        Path(path).write_bytes(content)
        try:
            with monkeypatch.context() as patch:
                cut_in_write(patch, number, landed)
                salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
        except CutError:
            yield read_head(path, size_bytes=SIZE_BYTES).metadata
        else:
            return


@pytest.mark.parametrize("landed", [0, 100, 512, SLOT_BYTES, HEAD_BYTES])
@pytest.mark.parametrize("persists", [0, 1, 2])
async def test_one_that_is_cut_off_says_what_it_said_before_or_what_is_new(
    path: str, persists: int, landed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever slot is the newest, and never what that has replaced."""
    before = await persisted(path, persists)
    found = list(cut_salvages(path, landed, monkeypatch))
    was = found.count(before)
    assert was > 0
    assert found == [before] * was + [SALVAGED] * (len(found) - was)
    assert read_head(path, size_bytes=SIZE_BYTES).metadata == SALVAGED


@pytest.mark.parametrize("persists", [0, 1])
@pytest.mark.parametrize("decayed", range(SLOT_COUNT))
async def test_what_is_new_stands_in_both_slots(path: str, persists: int, decayed: int) -> None:
    await persisted(path, persists)
    salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
    overwrite(path, decayed * SLOT_BYTES + 100, b"decayed")
    assert read_head(path, size_bytes=SIZE_BYTES).metadata == SALVAGED


async def test_of_two_slots_of_one_generation_neither_is_believed_afterwards(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither was before."""
    await persisted(path, 1)
    content = await trio.Path(path).read_bytes()
    overwrite(path, SLOT_BYTES, content[:SLOT_BYTES])
    assert read_head(path, size_bytes=SIZE_BYTES).metadata is None
    assert list(cut_salvages(path, SLOT_BYTES, monkeypatch)) == [None, SALVAGED, SALVAGED]


def test_what_is_no_backing_file_of_that_size_is_refused(path: str) -> None:
    with pytest.raises(ConfigError):
        read_head(path, size_bytes=SIZE_BYTES + BLOCK_BYTES)
    with pytest.raises(ConfigError, match="no such file"):
        read_head(path + "?", size_bytes=SIZE_BYTES)
    Path(path).write_bytes(b"short")
    with pytest.raises(ConfigError, match="not a ctlha volume"):
        read_head(path, size_bytes=SIZE_BYTES)


def test_a_file_that_a_node_has_open_is_left_alone(path: str) -> None:
    before = Path(path).read_bytes()
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="a node has it open"):
            salvage_copy(path, SALVAGED, size_bytes=SIZE_BYTES)
    assert Path(path).read_bytes() == before
