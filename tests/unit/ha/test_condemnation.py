"""The mark of a copy whose disk has failed: in its own file, and in no other that has its name by now."""
# ruff: noqa: ASYNC240  (files of a test are small and local)

import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from ctlha_trio.ha._condemnation import condemn_in_the_end
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import BLOCK_BYTES, BlockStore, create_store_file

SIZE_BYTES = 16 * BLOCK_BYTES
METADATA = Metadata(
    cluster="c", node="a", resource="r", lineage="l", arbiter="x", epoch=1, revision=1, primary="a",
    members=("a", "b"), copy=Copy.MEMBER,
)  # fmt: skip
FAILED = attrs.evolve(METADATA, copy=Copy.FAILED)


@attrs.frozen
class Place:
    """Of which a copy that failed needs to know: a clock and a disk."""

    clock: TrioClock = attrs.field(factory=TrioClock)
    disk: ThreadDisk = attrs.field(factory=ThreadDisk)


async def opened(path: Path) -> BlockStore:
    return await BlockStore.open(ThreadDisk(), str(path), size_bytes=SIZE_BYTES, clock=TrioClock())


async def marked(path: Path) -> bool:
    store = await opened(path)
    store.close()
    return store.metadata == FAILED


async def condemn(store: BlockStore, path: Path) -> None:
    place: Any = Place()
    with trio.fail_after(10.0):
        await condemn_in_the_end(place, store, str(path), FAILED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "volume.img"
    create_store_file(str(path), METADATA, SIZE_BYTES)
    return path


async def test_the_copy_that_failed_is_marked(path: Path) -> None:
    await condemn(await opened(path), path)
    assert await marked(path)


async def test_a_rescue_copy_that_took_its_name_is_left_alone(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, rescue = await opened(path), tmp_path / "rescue.img"
    shutil.copy(path, rescue)
    rescue.rename(path)
    before = path.read_bytes()
    await condemn(store, path)
    assert path.read_bytes() == before
    assert "names another file by now" in caplog.text
