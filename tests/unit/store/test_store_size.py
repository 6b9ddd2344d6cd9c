"""The size that a volume was made with: no other one is ever served of it, whatever its file and its user say."""
# ruff: noqa: ASYNC240  (files of a test are small and local)

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import attrs
import pytest
import trio
from crc32c import crc32c

from ctlha_trio._errors import ConfigError
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import (
    BlockStore,
    Layout,
    condemn_copy,
    create_store_file,
    image,
    read_facts,
    read_head,
    read_volume,
    rewrite_metadata,
    salvage_copy,
)
from ctlha_trio.store._slots import HEAD_BYTES, SLOT_BYTES, choose_slot
from ctlha_trio.testing import Moment, PowerCut, PowerDisk

MADE, HALF, TWICE = 4 << 20, 2 << 20, 8 << 20
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

Look = Callable[[Path, int], object]
Change = Callable[[Path, Metadata], Awaitable[None]]


def open_store(path: Path, size_bytes: int) -> BlockStore:
    store = trio.run(lambda: BlockStore.open(ThreadDisk(), str(path), size_bytes=size_bytes, clock=TrioClock()))
    store.close()
    return store


def read_whole(path: Path, size_bytes: int) -> None:
    for _ in read_volume(str(path), size_bytes=size_bytes):
        pass


WAYS: tuple[Look, ...] = (
    open_store,
    read_whole,
    lambda path, size_bytes: read_facts(str(path), size_bytes=size_bytes),
    lambda path, size_bytes: read_head(str(path), size_bytes=size_bytes),
    lambda path, size_bytes: salvage_copy(str(path), METADATA, size_bytes=size_bytes),
)
every_way = pytest.mark.parametrize("look", WAYS, ids=["open", "volume", "facts", "head", "salvage"])


@pytest.fixture
def made(tmp_path: Path) -> Path:
    create_store_file(str(tmp_path / "volume"), METADATA, MADE)
    return tmp_path / "volume"


def resize(path: Path, file_bytes: int) -> None:
    os.truncate(path, file_bytes)


def of_format_5(head: bytes) -> bytes:
    """The head as a version wrote it that did not record the size."""
    return b"".join(_slot_of_format_5(head[at : at + SLOT_BYTES]) for at in range(0, HEAD_BYTES, SLOT_BYTES))


def _slot_of_format_5(slot: bytes) -> bytes:
    generation, payload_bytes = int.from_bytes(slot[12:20], "little"), int.from_bytes(slot[20:24], "little")
    fields = json.loads(slot[28 : 28 + payload_bytes])
    assert fields.pop("size_bytes") == MADE
    payload = json.dumps(fields, sort_keys=True).encode()
    fixed = slot[:8] + (5).to_bytes(4, "little") + generation.to_bytes(8, "little")
    body = payload.ljust(SLOT_BYTES - 28, b"\0")
    unsealed = fixed + len(payload).to_bytes(4, "little") + bytes(4)
    return unsealed[:24] + crc32c(body, crc32c(unsealed)).to_bytes(4, "little") + body


@pytest.fixture
def earlier(made: Path) -> Path:
    """Made before the size was recorded."""
    content = made.read_bytes()
    made.write_bytes(of_format_5(content[:HEAD_BYTES]) + content[HEAD_BYTES:])
    return made


@every_way
def test_a_whole_file_is_of_the_size_that_it_was_made_with(made: Path, look: Look) -> None:
    look(made, MADE)


@every_way
def test_a_file_that_was_cut_short_is_not_served_as_a_smaller_volume(made: Path, look: Look) -> None:
    """Its user has made the configuration say what the file has."""
    resize(made, Layout(HALF).file_bytes)
    with pytest.raises(ConfigError, match=f"was made with {MADE} bytes.*{Layout(MADE).file_bytes}") as refused:
        look(made, HALF)
    assert refused.value.key == "volume.size_bytes"


@every_way
def test_a_file_that_was_cut_short_says_so(made: Path, look: Look) -> None:
    resize(made, Layout(HALF).file_bytes)
    with pytest.raises(ConfigError, match="it was cut short") as refused:
        look(made, MADE)
    assert refused.value.key == "volume.file"


@every_way
def test_a_file_that_has_grown_says_so(made: Path, look: Look) -> None:
    resize(made, Layout(TWICE).file_bytes)
    with pytest.raises(ConfigError, match="it has grown"):
        look(made, MADE)
    with pytest.raises(ConfigError, match=f"was made with {MADE} bytes"):
        look(made, TWICE)


@every_way
def test_another_size_in_the_configuration_is_set_back(made: Path, look: Look) -> None:
    with pytest.raises(ConfigError, match=f"says {HALF}, and the volume was made with {MADE} bytes") as refused:
        look(made, HALF)
    assert refused.value.key == "volume.size_bytes"
    assert "cut short" not in str(refused.value)


@every_way
@pytest.mark.parametrize("file_bytes", [0, 1000])
def test_a_file_without_even_a_head_says_how_many_bytes_it_has(made: Path, look: Look, file_bytes: int) -> None:
    resize(made, file_bytes)
    with pytest.raises(
        ConfigError, match=f"has {file_bytes or 'no'} bytes, and is not a ctlha volume: it was cut short"
    ):
        look(made, MADE)


@every_way
def test_a_volume_of_an_earlier_format_is_opened(earlier: Path, look: Look) -> None:
    look(earlier, MADE)


@every_way
def test_a_volume_of_an_earlier_format_goes_by_its_files_size(earlier: Path, look: Look) -> None:
    with pytest.raises(ConfigError, match=f"says {HALF}, and a file of {Layout(MADE).file_bytes} bytes holds {MADE}"):
        look(earlier, HALF)


def as_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is open passes for a block device, whose status does not tell how large it is."""
    plain = os.fstat

    def status_of(descriptor: int) -> os.stat_result:
        status = plain(descriptor)
        fields = list(status)
        fields[stat.ST_MODE] = stat.S_IFBLK | stat.S_IMODE(status.st_mode)
        fields[stat.ST_SIZE] = 0
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", status_of)


BESIDE_A_NODE: tuple[Look, ...] = WAYS[1:]
"""That do not go by which file it is."""


@pytest.mark.parametrize("look", BESIDE_A_NODE, ids=["volume", "facts", "head", "salvage"])
def test_the_size_of_a_block_device_is_where_it_ends(made: Path, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    as_of_a_device(monkeypatch)
    look(made, MADE)
    resize(made, Layout(HALF).file_bytes)
    with pytest.raises(ConfigError, match="it was cut short"):
        look(made, MADE)


@pytest.fixture
def device(made: Path) -> Iterator[Path]:
    """A block device whose content is that file's."""
    attached = None
    if os.geteuid() == 0 and shutil.which("losetup") and os.access("/dev/loop-control", os.R_OK | os.W_OK):
        attached = subprocess.run(["losetup", "-f", "--show", made], capture_output=True, text=True, check=False)
    if attached is None or attached.returncode:
        pytest.skip("a block device needs root, losetup and /dev/loop-control")
    name = attached.stdout.strip()
    try:
        yield Path(name)
    finally:
        subprocess.run(["losetup", "-d", name], check=True)


@every_way
def test_a_volume_on_a_block_device_is_opened(device: Path, look: Look) -> None:
    look(device, MADE)


async def persist(path: Path, metadata: Metadata) -> None:
    store = await BlockStore.open(ThreadDisk(), str(path), size_bytes=MADE, clock=TrioClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.persist(metadata)
        nursery.cancel_scope.cancel()
    store.close()


async def rewrite(path: Path, metadata: Metadata) -> None:
    await rewrite_metadata(ThreadDisk(), str(path), metadata, expected=METADATA)


async def condemn(path: Path, metadata: Metadata) -> None:
    file = await ThreadDisk().open(str(path))
    file.unlock()
    await condemn_copy(ThreadDisk(), str(path), metadata, identity=file.identity)
    file.close()


async def salvage(path: Path, metadata: Metadata) -> None:
    salvage_copy(str(path), metadata, size_bytes=MADE)


def recorded(head: bytes) -> int | None:
    """The size, by the slot that counts."""
    return choose_slot("volume", head[:HEAD_BYTES])[1].size_bytes


@pytest.mark.parametrize("change", [persist, rewrite, condemn, salvage])
async def test_whatever_writes_the_metadata_keeps_the_size(made: Path, change: Change) -> None:
    after = attrs.evolve(METADATA, revision=10)
    await change(made, after)
    assert recorded(made.read_bytes()) == MADE
    assert read_facts(str(made), size_bytes=MADE).metadata == after


@pytest.mark.parametrize("change", [persist, salvage])
async def test_a_volume_of_an_earlier_format_has_its_size_recorded_with_its_metadata(
    earlier: Path, change: Change
) -> None:
    assert recorded(earlier.read_bytes()) is None
    await change(earlier, attrs.evolve(METADATA, revision=10))
    assert recorded(earlier.read_bytes()) == MADE
    resize(earlier, Layout(HALF).file_bytes)
    with pytest.raises(ConfigError, match=f"was made with {MADE} bytes"):
        read_facts(str(earlier), size_bytes=HALF)


@pytest.mark.parametrize("change", [rewrite, condemn])
async def test_who_does_not_know_the_size_records_none(earlier: Path, change: Change) -> None:
    await change(earlier, attrs.evolve(METADATA, revision=10))
    assert recorded(earlier.read_bytes()) is None
    assert read_facts(str(earlier), size_bytes=MADE).metadata.revision == 10


@pytest.mark.parametrize("moment", Moment)
async def test_a_power_cut_while_the_size_is_recorded_leaves_a_volume_of_either_format(moment: Moment) -> None:
    content = image(METADATA, MADE)
    before = of_format_5(content[:HEAD_BYTES]) + content[HEAD_BYTES:]
    after = attrs.evolve(METADATA, revision=10)
    found = set[tuple[int | None, int]]()
    for number in count(1):
        disk = PowerDisk({"volume": before})
        disk.cut_at(number, moment)
        with suppress(PowerCut, BaseExceptionGroup):
            store = await BlockStore.open(disk, "volume", size_bytes=MADE, clock=TrioClock())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.run)
                await store.persist(after)
                nursery.cancel_scope.cancel()
        if not disk.is_cut:
            break
        for loss in disk.outcomes():
            left = disk.after_cut(loss)
            store = await BlockStore.open(left, "volume", size_bytes=MADE, clock=TrioClock())
            found.add((recorded(left.content("volume")), store.metadata.revision))
    assert found == {(None, METADATA.revision), (MADE, after.revision)}
