import errno
import os
import shutil
import stat
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from outcome import Outcome, Value

from ctlha_trio._errors import StoreError, UnreadableError
from ctlha_trio.seams import DiskFile, PromptFile, ThreadDisk, _thread_disk, _threads
from ctlha_trio.seams._thread_disk import ThreadDiskFile
from ctlha_trio.seams._threads import Threads

SIZE_BYTES = 64 * 1024


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "volume")
    make(path)
    return path


@asynccontextmanager
async def opened(path: str) -> AsyncIterator[DiskFile]:
    with trio.fail_after(20):
        file = await ThreadDisk().open(path)
        try:
            yield file
        finally:
            file.close()


def make(path: str) -> None:
    Path(path).write_bytes(bytes(SIZE_BYTES))


def content_of(path: str) -> bytes:
    return Path(path).read_bytes()


def fail_with(number: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


async def test_reads_what_was_written_at_each_offset(path: str) -> None:
    async with opened(path) as file:
        assert file.size_bytes == SIZE_BYTES
        await file.pwrite(
            [(512, b"one"), (515, bytearray(b"two")), (9000, memoryview(b"far")), (513, b""), (513, b"N")]
        )
        await file.flush()
        assert await file.pread(510, 10) == b"\0\0oNetwo\0\0"
        assert await file.pread(9000, 3) == b"far"
        assert await file.pread(SIZE_BYTES, 0) == b""
    assert content_of(path)[512:518] == b"oNetwo"


async def test_several_places_are_read_by_one_thread(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    real = os.pread

    def read(fd: int, size: int, offset: int) -> bytes:
        threads.append(threading.get_ident())
        return real(fd, size, offset)

    async with opened(path) as file:
        await file.pwrite([(512, b"one"), (9000, b"far")])
        monkeypatch.setattr(os, "pread", read)
        assert await file.pread_all([(9000, 3), (511, 5), (512, 3)]) == [b"far", b"\0one\0", b"one"]
        assert len(threads) == 3
        assert len(set(threads)) == 1
        with pytest.raises(StoreError, match="not within"):
            await file.pread_all([(0, 1), (SIZE_BYTES, 1)])
        assert len(threads) == 3


async def test_a_later_extent_of_one_write_wins(path: str) -> None:
    async with opened(path) as file:
        await file.pwrite([(0, b"aaaa"), (2, b"bb"), (0, b"c")])
        assert await file.pread(0, 4) == b"cabb"


async def test_more_buffers_than_the_kernel_takes_at_once(path: str) -> None:
    async with opened(path) as file:
        await file.pwrite([(i * 4, i.to_bytes(4, "big")) for i in range(5000)])
        content = await file.pread(0, 20_000)
        assert [int.from_bytes(content[i : i + 4], "big") for i in range(0, 20_000, 4)] == list(range(5000))


async def test_short_counts_go_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: write(fd, b"".join(buffers)[:7], offset))
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: read(fd, min(size, 5), offset))
    async with opened(path) as file:
        await file.pwrite([(100, b"0123456789"), (110, b"abc"), (113, b"defghijklmn")])
        assert await file.pread(99, 26) == b"\0" + b"0123456789abcdefghijklmn" + b"\0"


async def test_a_file_that_became_shorter_is_an_error_not_a_loop(path: str) -> None:
    async with opened(path) as file:
        os.truncate(path, 100)
        with pytest.raises(StoreError, match="cut short"):
            await file.pread(50, 100)


async def write_through_nowait(file: DiskFile, extents: Sequence[tuple[int, bytes]]) -> None:
    """Begin it, and wait for what it comes to."""
    assert isinstance(file, PromptFile)
    told, ended = list[Outcome[None]](), trio.Event()

    def on_end(outcome: Outcome[None]) -> None:
        told.append(outcome)
        ended.set()

    assert file.write_through_nowait(extents, on_end)
    with trio.fail_after(20):
        await ended.wait()
    told[0].unwrap()


@pytest.mark.parametrize(
    "write",
    [ThreadDiskFile.pwrite, ThreadDiskFile.write_through, write_through_nowait],
    ids=lambda write: write.__name__,
)
async def test_no_write_makes_a_file_that_was_cut_short_as_large_as_before(
    path: str, write: Callable[[Any, Sequence[tuple[int, bytes]]], Awaitable[None]]
) -> None:
    """Its size would be right again, and what was cut off would be a hole that reads as zeros."""
    async with opened(path) as file:
        os.truncate(path, 100)
        with pytest.raises(StoreError, match=f"has 100 bytes, of {SIZE_BYTES} before: it was cut short"):
            await write(file, [(SIZE_BYTES - 4, b"tail")])
        assert len(content_of(path)) == 100
        with pytest.raises(StoreError, match="an earlier call failed"):
            await file.flush()


async def test_a_look_at_the_size_fails_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as file:
        with monkeypatch.context() as patch:
            patch.setattr(os, "lseek", fail_with(errno.ESTALE))
            with pytest.raises(StoreError, match="look for its size failed"):
                await file.actual_bytes()
        os.truncate(path, 100)
        assert await file.actual_bytes() == 100
        assert await file.pread(0, 100), "who looks decides"


async def test_of_a_device_only_reads_and_writes_tell(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its driver may say 0 while it is away for a moment, which must end no copy that is idle."""
    monkeypatch.setattr(stat, "S_ISBLK", lambda _: True)
    async with opened(path) as file:
        os.truncate(path, 100)
        assert await file.actual_bytes() == SIZE_BYTES
        await file.write_through([(SIZE_BYTES - 4, b"tail")])
        with pytest.raises(StoreError, match="are not within"):
            await file.write_through([(SIZE_BYTES, b"tail")])


async def test_a_write_to_a_file_that_has_grown_goes_on(path: str) -> None:
    async with opened(path) as file:
        os.truncate(path, 2 * SIZE_BYTES)
        assert (await file.actual_bytes(), file.size_bytes) == (2 * SIZE_BYTES, SIZE_BYTES)
        await file.write_through([(SIZE_BYTES - 4, b"tail")])
        assert await file.pread(SIZE_BYTES - 4, 4) == b"tail"


async def test_a_write_of_nothing_is_an_error_not_a_loop(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    async with opened(path) as file:
        with pytest.raises(StoreError, match="wrote nothing"):
            await file.pwrite([(0, b"x")])


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1), (SIZE_BYTES, 1), (SIZE_BYTES - 1, 2)])
async def test_beyond_the_file_is_refused(path: str, offset: int, size: int) -> None:
    async with opened(path) as file:
        with pytest.raises(StoreError, match="not within"):
            await file.pread(offset, size)
        with pytest.raises(StoreError, match="not within"):
            await file.pwrite([(0, b"not even this"), (offset if size >= 0 else -1, bytes(abs(size)))])
        with pytest.raises(StoreError, match="not within"):
            await file.write_through([(0, b"not even this"), (offset if size >= 0 else -1, bytes(abs(size)))])
        assert await file.pread(0, 4) == bytes(4)
    assert len(content_of(path)) == SIZE_BYTES


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EIO, UnreadableError),
        (errno.ENODATA, UnreadableError),
        (errno.EILSEQ, UnreadableError),
        (errno.ESTALE, StoreError),
    ],
)
async def test_a_failed_read_is_an_error_of_that_read_alone(
    path: str, number: int, kind: type[StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as file:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", fail_with(number))
            with pytest.raises(StoreError, match="read failed") as caught:
                await file.pread(0, 1)
        assert type(caught.value) is kind
        assert isinstance(caught.value.__cause__, OSError)
        await file.pwrite([(0, b"x")])
        await file.flush()


async def test_a_write_through_flushes_once_all_is_written(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bytes] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: flushed.append(content_of(path)[:8]))
    async with opened(path) as file:
        await file.write_through([(0, b"once"), (6, b"d"), (4, b"an")])
    assert flushed == [b"oncean" + b"d\0"]


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize(("call", "number"), [("fdatasync", errno.EIO), ("pwritev", errno.ENOSPC)])
async def test_after_a_failed_write_or_flush_everything_is_refused(
    path: str, call: str, number: int, through: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as file:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail_with(number))
            alone = file.flush if call == "fdatasync" else lambda: file.pwrite([(0, b"x")])
            with pytest.raises(StoreError) as caught:
                await (file.write_through([(0, b"x")]) if through else alone())
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == number
        for again in (file.flush, lambda: file.pwrite([(0, b"x")]), lambda: file.pread(0, 1)):
            with pytest.raises(StoreError, match="refused, an earlier call failed"):
                await again()


async def test_a_flush_beside_a_failing_one_fails_too(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    calls = []

    def fail_first(_: int) -> None:
        calls.append(1)
        if len(calls) == 1:
            entered.set()
            go_on.wait(10)
            raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "fdatasync", fail_first)
    failed = 0

    async def expect_failure(file: DiskFile) -> None:
        nonlocal failed
        with pytest.raises(StoreError):
            await file.flush()
        failed += 1

    async with opened(path) as file:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(expect_failure, file)
            await trio.to_thread.run_sync(entered.wait, 10)
            go_on.set()
        assert failed == 2
    assert len(calls) == 1


async def test_a_write_that_ended_well_beside_a_failing_flush_is_not_trusted(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, may_return = threading.Event(), threading.Event()
    real = os.pwritev

    def write_slowly(fd: int, buffers: list[memoryview], offset: int) -> int:
        count = real(fd, buffers, offset)
        written.set()
        may_return.wait(10)
        return count

    monkeypatch.setattr(os, "pwritev", write_slowly)
    monkeypatch.setattr(os, "fdatasync", fail_with(errno.EIO))

    async def write(file: DiskFile) -> None:
        with pytest.raises(StoreError, match="refused"):
            await file.pwrite([(0, b"x")])

    async with opened(path) as file, trio.open_nursery() as nursery:
        nursery.start_soon(write, file)
        await trio.to_thread.run_sync(written.wait, 10)
        with pytest.raises(StoreError, match="flush failed"):
            await file.flush()
        may_return.set()


async def test_a_cancelled_call_ends_only_when_the_kernel_has(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    ended = False

    def slow(_: int) -> None:
        entered.set()
        go_on.wait(10)

    async def flush(file: DiskFile) -> None:
        nonlocal ended
        await file.flush()
        ended = True

    monkeypatch.setattr(os, "fdatasync", slow)
    async with opened(path) as file, trio.open_nursery() as nursery:
        nursery.start_soon(flush, file)
        await trio.to_thread.run_sync(entered.wait, 10)
        nursery.cancel_scope.cancel()
        file.close()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not ended
            with pytest.raises(StoreError, match="in use"):
                await ThreadDisk().open(path)
        go_on.set()
    assert ended
    async with opened(path):
        pass


async def test_a_write_without_a_task_is_told_of_by_the_loop(path: str) -> None:
    told: list[tuple[Outcome[None], bool]] = []
    done = trio.Event()
    thread = threading.get_ident()

    def on_end(ended: Outcome[None]) -> None:
        told.append((ended, threading.get_ident() == thread))
        done.set()

    async with opened(path) as file:
        assert isinstance(file, PromptFile)
        assert file.write_through_nowait([(4, b"new")], on_end)
        assert not file.write_through_nowait([(4, b"other")], on_end), "one flush at a time"
        await done.wait()
        assert told == [(Value(None), True)]
        await file.flush()
    assert content_of(path)[4:7] == b"new"


async def test_a_write_without_a_task_that_fails_ends_the_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", fail_with(errno.EIO))
    told: list[Outcome[None]] = []
    async with opened(path) as file:
        assert isinstance(file, PromptFile)
        assert file.write_through_nowait([(0, b"new")], told.append)
        while not told:
            await trio.lowlevel.checkpoint()
        with pytest.raises(StoreError, match="write or flush failed"):
            told[0].unwrap()
        with pytest.raises(StoreError, match="an earlier call failed"):
            file.write_through_nowait([(0, b"new")], told.append)


@pytest.mark.parametrize("give_up", ["unlock", "close"])
async def test_a_write_without_a_task_keeps_a_closed_file_until_it_has_ended(
    path: str, monkeypatch: pytest.MonkeyPatch, give_up: str
) -> None:
    go_on, done = threading.Event(), trio.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _: go_on.wait(10))
    async with opened(path) as file:
        assert isinstance(file, PromptFile)
        assert file.write_through_nowait([(0, b"new")], lambda _: done.set())
        getattr(file, give_up)()
        with pytest.raises(StoreError, match="in use"):
            await ThreadDisk().open(path)
        go_on.set()
        await done.wait()
        async with opened(path):
            pass


async def test_a_second_opener_gets_a_clear_error(path: str) -> None:
    async with opened(path) as first:
        with pytest.raises(StoreError, match="in use"):
            await ThreadDisk().open(path)
        script = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = await trio.run_process([sys.executable, "-c", script, path], check=False, capture_stderr=True)
        assert b"BlockingIOError" in other.stderr
        first.close()
        first.close()
        async with opened(path) as second:
            assert await second.pread(0, 1) == b"\0"


async def test_a_file_that_is_unlocked_is_another_opener_s_and_no_other_file_s_number_until_it_is_closed(
    path: str,
) -> None:
    async with opened(path) as file:
        file.unlock()
        async with opened(path) as second:
            assert second.identity == file.identity
            file.unlock()
            with pytest.raises(StoreError, match="in use"):
                await ThreadDisk().open(path)
            os.unlink(path)
            second.close()
            make(path)
            async with opened(path) as another:
                assert another.identity != file.identity
                file.close()
                with pytest.raises(StoreError, match="in use"):
                    await ThreadDisk().open(path)


@pytest.mark.parametrize("give_up", ["unlock", "close"])
async def test_a_closed_file_refuses(path: str, give_up: str) -> None:
    async with opened(path) as file:
        getattr(file, give_up)()
        for call in (file.flush, lambda: file.pwrite([(0, b"x")]), lambda: file.pread(0, 1)):
            with pytest.raises(StoreError, match="closed"):
                await call()


async def test_opens_only_what_exists_and_can_hold_a_volume(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, problem in [
        ("missing", "No such file"),
        (".", "Is a directory"),
        ("pipe", "neither a file"),
        ("\0", "null"),
    ]:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(StoreError, match=problem):
            await ThreadDisk().open(f"{tmp_path}/{name}")
        assert len(os.listdir("/proc/self/fd")) == before
    assert not (tmp_path / "missing").exists()


async def test_a_disk_that_hangs_does_not_take_the_threads_of_others(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(os, "pread", lambda *_: b"x" if go_on.wait(10) else b"")
    async with opened(path) as file, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(file.pread, 0, 1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        assert await trio.to_thread.run_sync(lambda: "free") == "free"
        go_on.set()
    assert _thread_disk.MAX_THREADS < 40


async def test_what_cannot_be_opened_is_named_once(tmp_path: Path) -> None:
    """As on a file system that is mounted for reading only."""
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "volume.img")
    with pytest.raises(StoreError) as caught:
        await ThreadDisk().open(path)
    assert str(caught.value) == f"{path}: cannot be opened: Not a directory"


async def test_a_thread_that_cannot_be_had_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, ended = Threads.at_most(1), list[Outcome[int]]()

    def start(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as scarce:
        scarce.setattr(trio.lowlevel, "start_thread_soon", start)
        for _ in range(2):
            assert not threads.start(lambda: 1, ended.append)
    assert threads.start(lambda: 1, ended.append)
    assert not threads.start(lambda: 2, ended.append), "its only place is taken"
    with trio.fail_after(20):
        assert await threads.run(lambda: 3) == 3
    assert ended == [Value(1)]


# The name of the open file


async def test_a_file_that_is_removed_is_read_by_another_name(path: str) -> None:
    async with opened(path) as file:
        assert await file.stray_name() is None
        await file.write_through([(512, b"kept")])
        os.unlink(path)
        stray = await file.stray_name()
        assert stray is not None
        await file.write_through([(516, b"too")])
        if sys.platform == "linux":
            assert content_of(stray)[512:519] == b"kepttoo"
        else:
            assert stray == ""


async def test_a_file_that_is_moved_away_is_found_when_it_is_back(path: str) -> None:
    async with opened(path) as file:
        os.rename(path, f"{path}.away")
        assert await file.stray_name() is not None
        shutil.copyfile(f"{path}.away", path)
        assert await file.stray_name() is not None, "another file of the same content"
        os.replace(f"{path}.away", path)
        assert await file.stray_name() is None


async def test_a_folder_that_is_gone_or_was_replaced_takes_the_name_along(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "volume").write_bytes(bytes(SIZE_BYTES))
    async with opened(str(folder / "volume")) as file:
        away = folder.rename(tmp_path / "away")
        assert await file.stray_name() is not None
        folder.write_bytes(b"")
        assert await file.stray_name() is not None
        folder.unlink()
        folder.symlink_to(away)
        assert await file.stray_name() is None, "it is the same file, by whatever way"


async def test_of_a_path_that_cannot_be_followed_nothing_is_known(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as file:
        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", fail_with(errno.EACCES))
            with pytest.raises(StoreError, match="look for its name failed"):
                await file.stray_name()
        assert await file.stray_name() is None
        await file.write_through([(0, b"the file has not failed")])


def test_two_files_of_one_number_are_on_two_disks() -> None:
    here, there = (os.stat_result((stat.S_IFREG, 7, device, 1, 0, 0, 0, 0, 0, 0)) for device in (1, 2))
    assert _thread_disk._identity(here) != _thread_disk._identity(there)


async def test_a_call_waits_until_a_thread_can_be_had(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, lacking, begun = trio.lowlevel.start_thread_soon, [True] * 9, list[Outcome[None]]()

    def scarce(*arguments: Any) -> None:
        if lacking:
            lacking.pop()
            raise RuntimeError("can't start new thread")
        real(*arguments)

    async with opened(path) as file:
        assert isinstance(file, ThreadDiskFile)
        monkeypatch.setattr(_threads, "AGAIN_S", 0.001)
        monkeypatch.setattr(trio.lowlevel, "start_thread_soon", scarce)
        assert not file.write_through_nowait([(0, b"old")], begun.append)
        await file.write_through([(0, b"new")])
        assert not lacking
        assert await file.pread(0, 3) == b"new"
    assert begun == []


async def test_who_waits_for_a_thread_can_be_cancelled(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(path) as file:
        with monkeypatch.context() as patch:
            patch.setattr(trio.lowlevel, "start_thread_soon", no_thread)
            with trio.move_on_after(0) as given_up:
                await file.write_through([(0, b"never")])
            assert given_up.cancelled_caught
            async with trio.open_nursery() as nursery:
                nursery.start_soon(file.write_through, [(0, b"never")])
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert await file.pread(0, 5) == bytes(5)
        await file.write_through([(0, b"the file has not failed")])


async def test_the_loop_does_not_wait_for_a_look(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    real = os.stat

    def look(where: str) -> os.stat_result:
        threads.append(threading.get_ident())
        return real(where)

    async with opened(path) as file:
        monkeypatch.setattr(os, "stat", look)
        await file.stray_name()
        monkeypatch.undo()
    assert threads
    assert threading.get_ident() not in threads
