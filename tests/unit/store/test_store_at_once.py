"""A small write that begins in the turn in which it is called, and is told of in the one in which the disk has it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from outcome import Error, Outcome, Value

from ctlha_trio._errors import StoreError, UnreadableError
from ctlha_trio.seams import Buffer
from ctlha_trio.store import BLOCK_BYTES, BlockStore, image
from ctlha_trio.store._commit_loop import AT_ONCE_BYTES_MAX
from ctlha_trio.store._layout import GROUP_BYTES
from tests.unit.store.test_store_blocks import (
    DATA_WRITE,
    FLUSH,
    OLD,
    SIZE_BYTES,
    Call,
    ScriptedFile,
    block,
    callers,
    new_file,
    opened,
    running,
)


@attrs.define(eq=False)
class HandFile(ScriptedFile):
    """Begins what it is given, and ends it by hand."""

    begun: list[tuple[Sequence[tuple[int, Buffer]], Callable[[Outcome[None]], None]]] = attrs.field(factory=list)
    refuses: bool = False

    def write_through_nowait(
        self, extents: Sequence[tuple[int, Buffer]], on_end: Callable[[Outcome[None]], None]
    ) -> bool:
        if self.refuses:
            return False
        self.begun.append((extents, on_end))
        return True

    def end(self, ended: Outcome[None] | None = None) -> None:
        extents, on_end = self.begun.pop(0)
        for offset, data in () if ended else extents:
            self.content[offset : offset + len(data)] = data
        on_end(ended or Value(None))


@asynccontextmanager
async def idle(file: ScriptedFile) -> AsyncIterator[tuple[BlockStore, trio.Nursery]]:
    """A store of which the loop waits."""
    async with running(file) as (store, nursery):
        await trio.testing.wait_all_tasks_blocked()
        try:
            yield store, nursery
        finally:
            while isinstance(file, HandFile) and file.begun:
                file.end()  # the loop waits for it


@asynccontextmanager
async def failing(
    match: str, error: type[Exception], file: ScriptedFile
) -> AsyncIterator[tuple[BlockStore, trio.Nursery]]:
    """A store of which the loop waits, until it raises that."""
    store = await opened(file)
    async with callers() as nursery:

        async def run() -> None:
            with trio.fail_after(5), pytest.raises(error, match=match):
                await store.run()

        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        yield store, nursery


def hand_file(size_bytes: int = SIZE_BYTES) -> HandFile:
    return HandFile(bytearray(image(OLD, size_bytes)))


async def test_it_begins_at_once_and_is_told_of_in_the_turn_in_which_the_disk_has_it() -> None:
    file, told = hand_file(), list[object]()
    async with idle(file) as (store, nursery):
        data = block(b"new")
        assert store.write_nowait(BLOCK_BYTES, data, told.append, nursery)
        assert (len(file.begun), told, store.oldest_call_s) == (1, [], 0.0)
        file.end()
        assert (told, store.oldest_call_s) == ([None], None)
        assert await store.read(BLOCK_BYTES, len(data)) == data


async def test_it_goes_behind_what_came_in_the_same_turn_and_waits() -> None:
    file, told = hand_file(), list[object]()
    async with idle(file) as (store, nursery):
        store.write_nowait(0, block(b"first"), lambda _: told.append("first"))
        store.write_nowait(0, block(b"second"), lambda _: told.append("second"), nursery)
        assert not file.begun
        await trio.testing.wait_all_tasks_blocked()
        assert told == ["first", "second"]
        assert await store.read(0, 6) == b"second"


async def test_what_comes_meanwhile_waits_for_it_and_is_written_over_it() -> None:
    file, told = hand_file(), list[object]()
    async with idle(file) as (store, nursery):
        store.write_nowait(0, block(b"first"), lambda _: told.append("first"), nursery)
        store.write_nowait(0, block(b"second"), lambda _: told.append("second"), nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(file.begun), file.calls) == (1, [])
        file.end()
        await trio.testing.wait_all_tasks_blocked()
        assert (file.calls, told) == ([DATA_WRITE, FLUSH], ["first", "second"])
        assert await store.read(0, 6) == b"second"


async def test_whoever_is_told_may_write_at_once_again() -> None:
    file, told = hand_file(), list[object]()
    async with idle(file) as (store, nursery):

        def write_again(_: object) -> None:
            store.write_nowait(0, block(b"2"), told.append, nursery)

        store.write_nowait(0, block(b"1"), write_again, nursery)
        file.end()
        assert (len(file.begun), told) == (1, [])
        file.end()
        assert told == [None]


async def test_metadata_waits_until_it_is_durable() -> None:
    file = hand_file()
    async with idle(file) as (store, nursery):
        store.write_nowait(0, block(b"new"), lambda _: None, nursery)
        call = Call()
        nursery.start_soon(call.persist, store, store.metadata)
        await trio.testing.wait_all_tasks_blocked()
        assert (file.calls, call.is_done()) == ([], False)
        file.end()
        await trio.testing.wait_all_tasks_blocked()
        assert call.is_done()


async def test_its_marks_go_with_it() -> None:
    file = hand_file()
    async with idle(file) as (store, nursery):
        await store.start_tracking(1)
        await trio.testing.wait_all_tasks_blocked()
        store.write_nowait(0, block(b"new"), lambda _: None, nursery)
        ((extents, _),) = file.begun
        assert len(extents) == 3, "entries, data, and a page of the bitmap"
        assert next(store.dirty_ranges())[0] == 0
        file.end()


@pytest.mark.parametrize(
    ("offset", "data"),
    [(1, b"x"), (0, b"x"), (0, bytes(AT_ONCE_BYTES_MAX + BLOCK_BYTES))],
    ids=["within a block", "a part of a block", "large"],
)
async def test_what_takes_more_than_one_call_or_much_time_is_left_to_the_loop(offset: int, data: bytes) -> None:
    file, told = hand_file(GROUP_BYTES), list[object]()
    async with idle(file) as (store, nursery):
        assert store.write_nowait(offset, data, told.append, nursery)
        assert (file.begun, told) == ([], [])
        await trio.testing.wait_all_tasks_blocked()
        assert (file.begun, told) == ([], [None])


async def test_an_extent_that_is_not_open_is_logged_before_by_the_loop() -> None:
    file, told = hand_file(), list[object]()
    async with idle(file) as (store, nursery):
        store._tracker._open.clear()
        store.write_nowait(0, block(b"new"), told.append, nursery)
        assert not file.begun
        await trio.testing.wait_all_tasks_blocked()
        assert (file.calls.count(FLUSH), told) == (2, [None])


async def test_entries_that_are_not_in_memory_are_read_before_by_the_loop() -> None:
    file, told = hand_file(2 * GROUP_BYTES), list[object]()
    async with idle(file) as (store, nursery):
        store._volume._pages.clear()
        store.write_nowait(0, block(b"new"), told.append, nursery)
        assert not file.begun
        await trio.testing.wait_all_tasks_blocked()
        assert told == [None]


async def test_nothing_begins_before_the_loop_runs() -> None:
    file, told = hand_file(), list[object]()
    store = await opened(file)
    async with callers() as nursery:
        store.write_nowait(0, block(b"new"), told.append, nursery)
        assert not file.begun
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        assert told == [None]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "file", [new_file(), hand_file()], ids=["a file that cannot", "a file that would have to wait"]
)
async def test_a_task_does_what_the_file_does_not_do_by_itself(file: ScriptedFile) -> None:
    if isinstance(file, HandFile):
        file.refuses = True
    told: list[object] = []
    async with idle(file) as (store, nursery):
        file.gates[FLUSH] = trio.Event()
        store.write_nowait(0, block(b"new"), told.append, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert (file.calls, told) == ([DATA_WRITE, FLUSH], [])
        file.gates.pop(FLUSH).set()
        await trio.testing.wait_all_tasks_blocked()
        assert told == [None]


async def test_the_store_dies_of_its_failure_and_tells_nobody() -> None:
    file, told = hand_file(), list[object]()
    async with failing("broke", StoreError, file) as (store, nursery):
        store.write_nowait(0, block(b"new"), told.append, nursery)
        file.end(Error(StoreError("broke")))
    assert told == []
    with pytest.raises(StoreError, match="broke"):
        store.write_nowait(0, block(b"new"), told.append, nursery)


async def test_what_is_raised_by_whoever_is_told_ends_the_loop() -> None:
    file = hand_file()

    def told(_: object) -> None:
        raise RuntimeError("a bug")

    async with failing("a bug", RuntimeError, file) as (store, nursery):
        store.write_nowait(0, block(b"new"), told, nursery)
        file.end()


async def test_a_loop_that_is_cancelled_ends_only_when_the_disk_has_answered() -> None:
    file, told = hand_file(), list[object]()
    ended = False
    store = await opened(file)

    async def run() -> None:
        nonlocal ended
        try:
            await store.run()
        finally:
            ended = True

    async with callers() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        store.write_nowait(0, block(b"new"), told.append, nursery)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert not ended
            file.end()
    assert (ended, told) == (True, [None])


async def test_a_task_that_is_cancelled_with_the_loop_tells_nobody() -> None:
    file, told = new_file(), list[object]()
    async with idle(file) as (store, nursery):
        file.gates[FLUSH] = trio.Event()
        store.write_nowait(0, block(b"new"), told.append, nursery)
        await trio.testing.wait_all_tasks_blocked()
    assert told == []


@attrs.define(eq=False)
class NoThreadFile(ScriptedFile):
    """Cannot begin anything."""

    def write_through_nowait(self, *_: object) -> bool:
        raise RuntimeError("can't start new thread")


def begin_in_vain(store: BlockStore, nursery: trio.Nursery) -> tuple[bool, float | None]:
    """Whether the store is idle after that, and since when a call of its file runs."""
    with pytest.raises(RuntimeError):
        store.write_nowait(0, block(b"new"), lambda _: None, nursery)
    left = store._queue.is_idle, store.oldest_call_s
    store._queue.end_alone()  # a loop that waits for what nobody does would never end, nor would the test
    return left


async def test_what_cannot_begin_leaves_nothing_under_way() -> None:
    async with idle(NoThreadFile(bytearray(image(OLD, SIZE_BYTES)))) as (store, nursery):
        before = await store.read(0, BLOCK_BYTES)
        assert begin_in_vain(store, nursery) == (True, None)
        assert await store.read(0, BLOCK_BYTES) == before


async def test_a_nursery_that_takes_no_task_any_more_leaves_nothing_under_way() -> None:
    async with trio.open_nursery() as closed:
        pass
    async with idle(new_file()) as (store, _):
        assert begin_in_vain(store, closed) == (True, None)


async def test_an_error_of_a_store_that_lives_ends_the_loop() -> None:
    """Nobody else would know of it."""
    file, told = hand_file(), list[object]()
    async with failing("not the store's end", UnreadableError, file) as (store, nursery):
        store.write_nowait(0, block(b"new"), told.append, nursery)
        file.end(Error(UnreadableError("not the store's end")))
    assert told == []
