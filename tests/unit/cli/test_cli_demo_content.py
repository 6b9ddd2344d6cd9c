import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import given, strategies as st

from ctlha_trio._errors import ConfigError
from ctlha_trio.cli import _demo_content as content_module
from ctlha_trio.cli._demo_compare import compare_copy
from ctlha_trio.cli._demo_content import WRITES, Content, cut, largest_module_file, random_content, read_content
from ctlha_trio.cli._demo_report import DemoViolation
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import BLOCK_BYTES, BlockStore, Layout

KIB = 1024

READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from ctlha_trio._errors import ConfigError
from ctlha_trio.cli._demo_content import read_content

os.chdir(sys.argv[1])  # first: the folders above may be closed to others
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    read_content(Path("file"))
except ConfigError as error:
    print(error)
"""


@given(st.integers(1, 300 * KIB))
def test_the_last_pass_is_the_file_and_zeros(size: int) -> None:
    data = os.urandom(size)
    content = cut(data)
    last = b"".join(content.data_of(content.passes - 1, block) for block in range(content.blocks))
    assert last == content.volume
    assert content.volume[:size] == data
    assert content.volume[size:] == bytes(-size % 4096)


@pytest.mark.parametrize(
    ("size", "unit", "blocks", "passes"),
    [
        (1, 4096, 1, 4096),
        (4096, 4096, 1, 4096),
        (4097, 4096, 2, 2048),
        (700 * KIB, 4096, 175, 24),
        (16 * KIB * KIB, 4096, 4096, 1),
        (16 * KIB * KIB + 1, 8192, 2049, 2),
        (40 * KIB * KIB, 12288, 3414, 2),
    ],
)
def test_how_a_file_is_cut(size: int, unit: int, blocks: int, passes: int) -> None:
    content = cut(bytes(size))
    assert (content.unit_bytes, content.blocks, content.passes) == (unit, blocks, passes)
    assert content.writes >= WRITES
    assert sum(content.size_of(block) for block in range(blocks)) == len(content.volume)


def test_every_pass_writes_something_else_everywhere() -> None:
    content = cut(bytes(10 * 4096))
    for block in range(content.blocks):
        seen = {content.data_of(pass_number, block) for pass_number in range(content.passes)}
        assert len(seen) == content.passes
    assert cut(bytes(4096)).data_of(0, 0) != cut(bytes(4096)).data_of(0, 0)


def test_random_content_is_as_long_as_asked() -> None:
    assert sum(map(len, random_content(2 * KIB * KIB + 5))) == 2 * KIB * KIB + 5


def test_the_default_file_is_a_module_of_this_python() -> None:
    chosen = largest_module_file()
    root = Path(sysconfig.get_path("stdlib"))
    assert chosen.is_relative_to(root)
    assert not {"site-packages", "__pycache__", "test"} & set(chosen.relative_to(root).parts)
    assert chosen.stat().st_size >= (root / "typing.py").stat().st_size


@pytest.mark.parametrize(
    ("kind", "says"),
    [("missing", "no such file"), ("empty", "is empty"), ("folder", "is a folder"), ("pipe", "not a regular file")],
)
def test_a_file_that_cannot_be_written(tmp_path: Path, kind: str, says: str) -> None:
    file = tmp_path / "file"
    match kind:
        case "empty":
            file.touch()
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
    with pytest.raises(ConfigError, match=says) as caught:
        read_content(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "MAX_FILE_BYTES", 4)
    (tmp_path / "file").write_bytes(b"12345")
    with pytest.raises(ConfigError, match="larger than"):
        read_content(tmp_path / "file")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """In a process of its own, which gives root's rights away: root reads everything."""
    (tmp_path / "file").touch(mode=0)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, tmp_path], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "file: cannot be read: Permission denied\n"), done.stderr


def test_a_disk_error_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(ConfigError, match="cannot be read: Input/output error"):
        read_content(tmp_path / "file")


async def change(volume: Path, content: Content, offsets: Sequence[int]) -> None:
    """Flip a bit of each of these bytes, as a write that only this copy got."""
    store = await BlockStore.open(ThreadDisk(), str(volume), size_bytes=len(content.volume), clock=TrioClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        for offset in offsets:
            await store.write(offset, bytes([content.volume[offset] ^ 1]))
        nursery.cancel_scope.cancel()
    store.close()


def test_comparing_names_the_copy_that_is_damaged(tmp_path: Path) -> None:
    content = cut(os.urandom(2 * KIB * KIB))
    new = NewPair(size_bytes=len(content.volume), link_addresses=loopback_addresses(23_450))
    create_pair(tmp_path / "p", new, fill=lambda _: [content.volume])
    volume = tmp_path / "p" / "b" / "volume.img"
    with volume.open("r+b") as file:
        file.seek(Layout(len(content.volume)).file_offset(300 * BLOCK_BYTES + 77))
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    compare_copy(content, "a", tmp_path / "p" / "a" / "volume.img")
    with pytest.raises(DemoViolation, match=f"the copy of node b is damaged: the block at {300 * BLOCK_BYTES}:"):
        compare_copy(content, "b", volume)


async def test_comparing_names_the_copy_and_the_first_block(tmp_path: Path) -> None:
    content = cut(os.urandom(5 * KIB * KIB))
    new = NewPair(size_bytes=len(content.volume), link_addresses=loopback_addresses(23_450))
    create_pair(tmp_path / "p", new, fill=lambda _: [content.volume])
    volume = tmp_path / "p" / "b" / "volume.img"
    compare_copy(content, "b", volume)
    await change(volume, content, [content.offset_of(block) + 77 for block in (1100, 600)])
    with pytest.raises(DemoViolation) as caught:
        compare_copy(content, "b", volume)
    said = f"differs from the file in 2 of {content.blocks} blocks, first block 600 (offset {600 * 4096})"
    assert str(caught.value) == f"the copy of node b {said}"


async def test_comparing_finds_a_difference_in_a_block_across_two_pieces(tmp_path: Path) -> None:
    content = attrs.evolve(cut(os.urandom(2 * KIB * KIB)), unit_bytes=12288)
    new = NewPair(size_bytes=len(content.volume), link_addresses=loopback_addresses(23_450))
    create_pair(tmp_path / "p", new, fill=lambda _: [content.volume])
    volume = tmp_path / "p" / "a" / "volume.img"
    compare_copy(content, "a", volume)
    across = KIB * KIB // 12288
    await change(volume, content, [KIB * KIB - 1, KIB * KIB])
    with pytest.raises(DemoViolation, match=f"in 1 of .*, first block {across} "):
        compare_copy(content, "a", volume)
