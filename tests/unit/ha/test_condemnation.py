"""The mark of a copy whose disk has failed: in its own file, and in no other that has its name by now."""
# ruff: noqa: ASYNC240  (files of a test are small and local)

import os
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio.ha._condemnation import LAST_TRY_S, Condemnation
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import BLOCK_BYTES, BlockStore, _slots, create_store_file
from ctlha_trio.store._slots import HEAD_BYTES, new_slots

SIZE_BYTES = 16 * BLOCK_BYTES
METADATA = Metadata(
    cluster="c", node="a", resource="r", lineage="l", arbiter="x", epoch=1, revision=1, primary="a",
    members=("a", "b"), copy=Copy.MEMBER,
)  # fmt: skip
FAILED = attrs.evolve(METADATA, copy=Copy.FAILED)


@attrs.define(eq=False)
class Waits:
    """A clock on which no time passes, but each short wait is for one more thing to happen, or else for ever."""

    meanwhile: list[Callable[[], object]]

    def now(self) -> float:
        return 0.0

    async def sleep_until(self, time_s: float) -> None:
        if time_s >= LAST_TRY_S or not self.meanwhile:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        self.meanwhile.pop(0)()


class Hurried:
    """A clock on which a second is a twentieth of one."""

    def now(self) -> float:
        return 20.0 * trio.current_time()

    async def sleep_until(self, time_s: float) -> None:
        await trio.sleep_until(time_s / 20.0)


@attrs.frozen
class Place:
    """Of which a copy that failed needs to know: a clock and a disk."""

    clock: Any
    disk: ThreadDisk = attrs.field(factory=ThreadDisk)


async def opened(path: Path) -> BlockStore:
    return await BlockStore.open(ThreadDisk(), str(path), size_bytes=SIZE_BYTES, clock=TrioClock())


async def marked(path: Path) -> bool:
    store = await opened(path)
    store.close()
    return store.metadata == FAILED


def condemnation_of(
    store: BlockStore, path: Path, clock: Any = None, tried: Callable[[], None] | None = None
) -> Condemnation:
    place: Any = Place(clock or TrioClock())
    return Condemnation(place, store, str(path), tried or (lambda: None))


async def condemned(store: BlockStore, path: Path, *meanwhile: Callable[[], object]) -> None:
    condemnation = condemnation_of(store, path, Waits(list(meanwhile)))
    with trio.fail_after(10.0):
        async with trio.open_nursery() as nursery:
            condemnation.begin(FAILED, nursery)


def of_no_copy(path: Path) -> bytes:
    """What a failed disk may give back of the head. Returns what it was."""
    head = path.read_bytes()[:HEAD_BYTES]
    with path.open("r+b") as file:
        file.write(bytes(HEAD_BYTES))
    return head


def torn(path: Path) -> bytes:
    head = path.read_bytes()[:HEAD_BYTES]
    with path.open("r+b") as file:
        file.write(head.replace(b"member", b"mem\0er"))
    return head


def of_a_later_format(path: Path) -> bytes:
    head = path.read_bytes()[:HEAD_BYTES]
    with pytest.MonkeyPatch.context() as patch, path.open("r+b") as file:
        patch.setattr(_slots, "SLOT_FORMAT", _slots.SLOT_FORMAT + 1)
        file.write(new_slots(METADATA, SIZE_BYTES))
    return head


def give_back(path: Path, head: bytes) -> None:
    with path.open("r+b") as file:
        file.write(head)


def is_open(inode: int) -> bool:
    """Whether this process keeps a file of that number, with a name or without."""
    return any(is_of(int(name), inode) for name in os.listdir("/dev/fd"))


def is_of(descriptor: int, inode: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == inode
    except OSError:  # that of the listing itself
        return False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "volume.img"
    create_store_file(str(path), METADATA, SIZE_BYTES)
    return path


async def test_the_copy_that_failed_is_marked(path: Path) -> None:
    await condemned(await opened(path), path)
    assert not is_open(path.stat().st_ino)
    assert await marked(path)


async def test_a_rescue_copy_that_took_its_name_is_left_alone(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, rescue = await opened(path), tmp_path / "rescue.img"
    shutil.copy(path, rescue)
    rescue.rename(path)
    before = path.read_bytes()
    await condemned(store, path)
    assert path.read_bytes() == before
    assert "is not marked as dead: " in caplog.text
    assert "names another file by now" in caplog.text


async def test_a_fresh_copy_at_the_path_of_one_that_was_removed_is_left_alone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file system may give it the number of the one that is gone."""
    store, inode = await opened(path), path.stat().st_ino
    of_no_copy(path)
    kept: list[bool] = []

    def make_anew() -> None:
        path.unlink()
        kept.append(is_open(inode))
        create_store_file(str(path), METADATA, SIZE_BYTES)

    await condemned(store, path, make_anew)
    assert kept == [True]
    assert not is_open(inode)
    assert not await marked(path)
    assert "names another file by now" in caplog.text


@pytest.mark.parametrize("fail", [of_no_copy, torn, of_a_later_format])
async def test_what_a_disk_gives_back_for_a_moment_does_not_keep_the_copy_from_its_mark(
    path: Path, caplog: pytest.LogCaptureFixture, fail: Callable[[Path], bytes]
) -> None:
    store = await opened(path)
    head = fail(path)
    await condemned(store, path, lambda: None, partial(give_back, path, head))
    assert await marked(path)
    assert caplog.text.count("is not marked as dead yet: ") == 1, "of two tries that failed alike"


async def test_a_disk_that_does_not_take_the_mark_at_the_first_try_is_not_waited_for(path: Path) -> None:
    """What would be said by then is said: the disk may never take it."""
    said, store, head = list[str](), await opened(path), of_no_copy(path)
    clock = Waits([partial(said.append, "after a try"), partial(give_back, path, head)])
    condemnation = condemnation_of(store, path, clock, lambda: said.append(f"tried: {condemnation.tried}"))
    async with trio.open_nursery() as nursery:
        condemnation.begin(FAILED, nursery)
    assert said == ["tried: True", "after a try"]
    assert await marked(path)


async def test_a_file_that_is_moved_back_is_marked(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, aside = await opened(path), tmp_path / "aside.img"
    path.rename(aside)
    await condemned(store, path, lambda: aside.rename(path))
    assert await marked(path)
    assert "is not marked as dead yet: " in caplog.text


async def test_a_node_that_ends_while_it_waits_makes_the_mark_then(path: Path) -> None:
    store, inode, head = await opened(path), path.stat().st_ino, of_no_copy(path)
    condemnation = condemnation_of(store, path)
    await begun_and_cut_off(condemnation)
    assert is_open(inode)
    give_back(path, head)
    with trio.fail_after(10.0):
        await condemnation.end()
    assert not is_open(inode)
    assert await marked(path)
    await condemnation.end()


async def test_a_node_does_not_wait_for_ever_to_make_the_mark(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, head = await opened(path), of_no_copy(path)
    condemnation = condemnation_of(store, path, Hurried())
    await begun_and_cut_off(condemnation)
    with trio.fail_after(10.0):
        await condemnation.end()
    store.close()
    give_back(path, head)
    assert not await marked(path)
    assert "is not marked as dead: before this node is started again, look at the disk" in caplog.text
    assert "hangs" not in caplog.text


def hang_flushes(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, or for a minute."""
    answering, flush = threading.Event(), os.fdatasync

    def hang(descriptor: int) -> None:
        answering.wait(60.0)
        flush(descriptor)

    monkeypatch.setattr(os, "fdatasync", hang)
    return answering


async def test_a_call_that_hangs_is_told_of_in_time_and_waited_for(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be left behind: what it writes may land on what another process has made of the file by then."""
    store, answering = await opened(path), hang_flushes(monkeypatch)
    head = of_no_copy(path)
    condemnation = condemnation_of(store, path, Hurried())
    await begun_and_cut_off(condemnation)
    give_back(path, head)
    with trio.fail_after(30.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(condemnation.end)
            while "is not marked as dead: " not in caplog.text:
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert "a call of the disk hangs, and is waited for" in caplog.text
            assert condemnation.is_calling
            answering.set()
    assert "the copy on the failed disk is marked as dead" in caplog.text, "for then it is"
    assert await marked(path)


@pytest.mark.parametrize("ends", [False, True])
async def test_a_first_call_that_hangs_is_told_of_in_time_also_while_the_node_ends(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Else a status would wait for the mark as long as the disk does, and a node that ends would say nothing."""
    store, answering = await opened(path), hang_flushes(monkeypatch)
    told: list[int] = []
    condemnation = condemnation_of(store, path, Hurried(), lambda: told.append(1))
    with trio.fail_after(30.0):
        async with trio.open_nursery() as nursery:
            condemnation.begin(FAILED, nursery)
            if ends:
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(30.0):
                while not condemnation.tried:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            assert "is not marked as dead: " in caplog.text
            assert "a call of the disk hangs, and is waited for" in caplog.text
            answering.set()
    await condemnation.end()
    assert told == [1]
    assert await marked(path)


async def test_a_copy_that_has_not_failed_gets_no_mark(path: Path) -> None:
    store = await opened(path)
    await condemnation_of(store, path).end()
    store.close()
    assert not await marked(path)


async def begun_and_cut_off(condemnation: Condemnation) -> None:
    async with trio.open_nursery() as nursery:
        condemnation.begin(FAILED, nursery)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
