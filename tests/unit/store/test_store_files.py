import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import trio

from ctlha_trio._errors import ConfigError, CtlHaError, InvalidError, StoreError
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import Buffer, ThreadDisk, TrioClock
from ctlha_trio.store import GROUP_BYTES, BlockStore, Layout, create_store_file, image, read_volume

SIZE_BYTES = 100_000
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
    copy=Copy.MEMBER,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "volume")


def whole(path: str, size_bytes: int = SIZE_BYTES) -> bytes:
    pieces = list(read_volume(path, size_bytes=size_bytes))
    data = b""
    for offset, piece in pieces:
        assert offset == len(data)
        assert 0 < len(piece) <= GROUP_BYTES
        data += piece
    return data


def test_created_file_is_private_allocated_and_equal_to_its_image(path: str) -> None:
    create_store_file(path, METADATA, SIZE_BYTES)
    found = os.stat(path)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_blocks * 512 >= Layout(SIZE_BYTES).file_bytes
    assert Path(path).read_bytes() == image(METADATA, SIZE_BYTES)


def test_filled_file_holds_the_content_and_zeros_behind(path: str) -> None:
    pieces: list[Buffer] = [b"one", bytearray(b"two"), memoryview(b"three"), b""]
    create_store_file(path, METADATA, SIZE_BYTES, iter(pieces))
    assert whole(path) == b"onetwothree".ljust(SIZE_BYTES, b"\0")


def test_content_that_fills_the_volume(path: str) -> None:
    content = os.urandom(SIZE_BYTES)
    create_store_file(path, METADATA, SIZE_BYTES, [content])
    assert whole(path) == content


def test_volume_is_read_in_bounded_pieces(path: str) -> None:
    size_bytes = 2 * GROUP_BYTES + 7
    create_store_file(path, METADATA, size_bytes, [b"x" * size_bytes])
    assert [len(piece) for _, piece in read_volume(path, size_bytes=size_bytes)] == [GROUP_BYTES, GROUP_BYTES, 7]
    assert whole(path, size_bytes) == b"x" * size_bytes


def test_existing_file_is_never_overwritten(path: str) -> None:
    Path(path).write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"volume\.file: exists"):
        create_store_file(path, METADATA, SIZE_BYTES)
    assert Path(path).read_bytes() == b"precious"


def too_much() -> Iterator[bytes]:
    yield b"x" * SIZE_BYTES
    yield b"y"


def broken_source() -> Iterator[bytes]:
    yield b"x"
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("size_bytes", "fill", "error"),
    [
        (SIZE_BYTES, too_much, InvalidError),
        (SIZE_BYTES, broken_source, ZeroDivisionError),
        (0, tuple, InvalidError),
        (-1, tuple, InvalidError),
        (2**62, tuple, StoreError),
    ],
)
def test_failed_creation_leaves_no_file(
    path: str, size_bytes: int, fill: Callable[[], Iterable[bytes]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        create_store_file(path, METADATA, size_bytes, fill())
    assert not os.path.exists(path)


def test_what_there_is_no_room_for_is_not_begun(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file system cannot allocate, the C library writes to each block of the file, until all room is gone."""
    free_bytes = os.statvfs(Path(path).parent).f_bfree * os.statvfs(Path(path).parent).f_frsize
    begun: list[int] = []
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: begun.append(1))
    with pytest.raises(StoreError, match="No space left on device"):
        create_store_file(path, METADATA, 2 * free_bytes)
    assert not begun
    assert not os.path.exists(path)


def test_a_file_system_that_does_not_say_how_large_it_is_is_tried(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(Path(path).parent)
    silent = os.statvfs_result((*found[:2], 0, 0, 0, *found[5:10]))
    monkeypatch.setattr(os, "fstatvfs", lambda _: silent)
    create_store_file(path, METADATA, SIZE_BYTES)
    assert whole(path) == bytes(SIZE_BYTES)


def test_creation_in_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        create_store_file(str(tmp_path / "missing" / "volume"), METADATA, SIZE_BYTES)


def test_reading_what_cannot_be_compared(path: str, tmp_path: Path) -> None:
    def error_of(path: str, size_bytes: int) -> CtlHaError:
        with pytest.raises(CtlHaError) as caught:
            whole(path, size_bytes)
        return caught.value

    assert "there is no such file" in str(error_of(path, SIZE_BYTES))
    create_store_file(path, METADATA, SIZE_BYTES)
    assert f"says 5, and the volume was made with {SIZE_BYTES} bytes: set it back to that" in str(error_of(path, 5))
    for name, content in (("empty", b""), ("other", b"x" * Layout(SIZE_BYTES).file_bytes)):
        (tmp_path / name).write_bytes(content)
        assert "is not a ctlha volume" in str(error_of(str(tmp_path / name), SIZE_BYTES))
    assert isinstance(error_of(str(tmp_path), SIZE_BYTES), (StoreError, ConfigError))


async def test_store_on_the_real_disk(path: str) -> None:
    create_store_file(path, METADATA, SIZE_BYTES)
    with trio.fail_after(30):
        store = await BlockStore.open(ThreadDisk(), path, size_bytes=SIZE_BYTES, clock=TrioClock())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            async with trio.open_nursery() as writers:
                for number in range(200):
                    writers.start_soon(store.write, number * 500, number.to_bytes(500))
            await store.persist(METADATA)
            assert await store.read(0, SIZE_BYTES) == b"".join(number.to_bytes(500) for number in range(200))
            with pytest.raises(StoreError, match="a node has it open"):
                whole(path)
            nursery.cancel_scope.cancel()
        store.close()
    assert whole(path) == b"".join(number.to_bytes(500) for number in range(200))
