"""``ctlha copy``, and both copies side by side in ``ctlha resolve``: what is shown, and where they may differ."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from ctlha_trio.cli import main
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._copies import may_differ
from ctlha_trio.cli._copy_view import RANGES_SHOWN, CopyView, view_copy
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.pair import Copy
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import (
    BLOCK_BYTES,
    DIRTY_BYTES,
    GROUP_BYTES,
    BlockStore,
    read_facts,
    rewrite_metadata,
    salvage_copy,
)
from ctlha_trio.store._known_damage import RUNS_MAX

SIZE_BYTES = 4 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_pair(tmp_path / "p", NewPair(size_bytes=SIZE_BYTES, link_addresses=loopback_addresses(7900)))
    return tmp_path / "p"


def view(folder: Path, node: str) -> CopyView:
    return view_copy(load_config(folder / node / "node.toml"))


async def opened(folder: Path, node: str) -> BlockStore:
    path = str(folder / node / "volume.img")
    return await BlockStore.open(ThreadDisk(), path, size_bytes=SIZE_BYTES, clock=TrioClock())


async def run(*arguments: str | Path) -> Result:
    return await trio.to_thread.run_sync(CliRunner().invoke, main, [str(each) for each in arguments])


async def test_a_copy_in_use_is_seen_as_it_is_on_the_disk(folder: Path) -> None:
    """Its marks, and the extents in which a write may be under way."""
    store = await opened(folder, "a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.start_tracking(1)
        await store.write(GROUP_BYTES + DIRTY_BYTES, b"x" * 4096)
        seen = view(folder, "a")
        nursery.cancel_scope.cancel()
    store.close()
    assert (seen.epoch, seen.copy, seen.role, seen.synced_epoch) == (1, "member", "primary", 1)
    assert (seen.marked_from, seen.marks) == (1, ((GROUP_BYTES + DIRTY_BYTES, DIRTY_BYTES),))
    assert seen.open_ranges == ((GROUP_BYTES, GROUP_BYTES),)
    untouched = view(folder, "b")
    assert (untouched.role, untouched.marked_from, untouched.marks, untouched.open_ranges) == (
        "secondary",
        None,
        (),
        (),
    )
    assert may_differ(seen, untouched) == (((GROUP_BYTES, GROUP_BYTES),), "")


@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_of_a_node_that_runs_it_is_said_that_its_copy_changes(folder: Path, options: tuple[str, ...]) -> None:
    config = folder / "a" / "node.toml"
    stopped = await run("copy", config, *options)
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(os.fspath(folder / "a" / "status.sock"))
        living.listen()
        running = await run("copy", config, *options)
    dead = await run("copy", config, *options)
    assert (running.stdout, running.exit_code) == (stopped.stdout, 0)
    assert running.stderr == f"node a runs: this is its copy as of now, and may be behind; ctlha status {config}\n"
    assert (stopped.stderr, dead.stderr) == ("", "")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_a_volume_that_is_no_file_has_no_copy(folder: Path, make: Callable[[Path], None]) -> None:
    volume = folder / "a" / "volume.img"
    volume.unlink()
    make(volume)
    done = await run("copy", folder / "a" / "node.toml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"{volume}: volume.file: is neither a file nor a block device\n"


def test_looking_writes_nothing(folder: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    view(folder, "a")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lineage": "another"}, "they are of different lines"),
        ({"copy": "failed", "synced_epoch": 0}, "node a does not know when it was last equal to the other one"),
        ({"copy": "rewriting"}, "node a does not know when it was last equal to the other one"),
        ({"synced_epoch": 3}, "they were equal in different epochs"),
        ({"marked_from": 3}, "the marks of node a count from another epoch"),
    ],
)
def test_where_nothing_tells_everything_may_differ(folder: Path, change: dict[str, Any], why: str) -> None:
    one = CopyView(**{**attrs.asdict(view(folder, "a"), recurse=False), **change})
    assert may_differ(one, view(folder, "b")) == (((0, SIZE_BYTES),), why)


def test_marks_of_both_and_what_was_under_way_at_either_may_differ(folder: Path) -> None:
    a = attrs.evolve(view(folder, "a"), marked_from=1, marks=((0, 10), (30, 5)), open_ranges=((8, 4),))
    b = attrs.evolve(view(folder, "b"), marks=((12, 3),), marked_from=1, open_ranges=((100, 1),))
    assert may_differ(a, b) == (((0, 15), (30, 5), (100, 1)), "")


def tell_damage(folder: Path, runs: int) -> None:
    """Every other block, of so many."""
    ranges = [(2 * number * BLOCK_BYTES, BLOCK_BYTES) for number in range(runs)]
    path = str(folder / "a" / "volume.img")
    metadata = read_facts(path, size_bytes=SIZE_BYTES).metadata
    salvage_copy(path, metadata, size_bytes=SIZE_BYTES, damaged=ranges)


async def test_what_is_damaged_is_named_in_a_line_each_up_to_a_bound(folder: Path) -> None:
    config = folder / "a" / "node.toml"
    assert "damaged   none known" in (await run("copy", config)).stdout.splitlines()
    tell_damage(folder, RANGES_SHOWN + 3)
    lines = (await run("copy", config)).stdout.splitlines()
    total = (RANGES_SHOWN + 3) * BLOCK_BYTES
    assert f"damaged   {total} bytes in {RANGES_SHOWN + 3} ranges" in lines
    named = [line for line in lines if line.startswith("damaged: ")]
    assert named[:2] == [f"damaged: {BLOCK_BYTES} bytes at 0", f"damaged: {BLOCK_BYTES} bytes at {2 * BLOCK_BYTES}"]
    assert named[RANGES_SHOWN:] == [f"damaged: 3 more ranges, {total} bytes in all"]
    told = json.loads((await run("copy", config, "--json")).stdout)
    assert told["damaged"] == [[2 * number * BLOCK_BYTES, BLOCK_BYTES] for number in range(RANGES_SHOWN + 3)]
    assert not told["damage_unnamed"]


async def test_of_damage_beyond_the_room_of_its_page_it_is_said_that_there_was_more(folder: Path) -> None:
    tell_damage(folder, RUNS_MAX + 1)
    shown = (await run("copy", folder / "a" / "node.toml")).stdout.splitlines()
    assert "damaged   nothing by name; there was more than the file can name" in shown


async def diverge(folder: Path) -> None:
    store = await opened(folder, "b")
    store.close()
    changed = attrs.evolve(store.metadata, epoch=7, revision=9, primary="b", members=("b",), base_epoch=1)
    await rewrite_metadata(ThreadDisk(), str(folder / "b" / "volume.img"), changed, expected=store.metadata)


async def test_the_other_copy_is_carried_over_as_json(folder: Path) -> None:
    await diverge(folder)
    config = folder / "b" / "node.toml"
    beside = await run("resolve", config, "--discard", "b", "--dry-run")
    assert beside.exit_code == 0, beside.output
    said = await run("copy", folder / "a" / "node.toml", "--json")
    (folder / "a.json").write_text(said.stdout)
    shutil.move(folder / "a", folder / "elsewhere")
    alone = await run("resolve", config, "--discard", "b", "--dry-run")
    assert "there: ctlha copy <its node.toml> --json > FILE" in alone.stdout
    assert "may differ" not in alone.stdout
    carried = await run("resolve", config, "--discard", "b", "--dry-run", "--other", folder / "a.json")
    assert (carried.exit_code, carried.stdout) == (0, beside.stdout)
    named = await run("resolve", config, "--discard", "b", "--dry-run", "--other", folder / "elsewhere" / "node.toml")
    assert (named.exit_code, named.stdout) == (0, beside.stdout)
    assert "may differ: nothing is marked at either" in beside.stdout.splitlines()


async def test_what_is_not_the_other_copy_is_refused(folder: Path) -> None:
    await diverge(folder)
    os.mkfifo(folder / "fifo")
    (folder / "torn.json").write_text("{")
    (folder / "deep.json").write_text('{"": ' * 2000)
    (folder / "deep.toml").write_text("deep = " + "[" * 2000)
    before = (folder / "b" / "volume.img").read_bytes()
    for other, problem in (
        (folder / "b" / "node.toml", "is of node b of "),
        (folder / "fifo", "is no file"),
        (folder, "is no file"),
        (folder / ("x" * 300), "cannot be read: File name too long"),
        (folder / "torn.json", "is not what ctlha copy --json says"),
        (folder / "deep.json", "is not what ctlha copy --json says"),
        (folder / "deep.toml", "is not TOML: nested too deeply"),
    ):
        refused = await run("resolve", folder / "b" / "node.toml", "--discard", "b", "--other", other)
        assert refused.exit_code == 2
        assert problem in refused.stderr
    assert (folder / "b" / "volume.img").read_bytes() == before


async def test_one_copy_is_shown_to_people(folder: Path) -> None:
    store = await opened(folder, "a")
    store.close()
    failed = attrs.evolve(store.metadata, copy=Copy.FAILED)
    await rewrite_metadata(ThreadDisk(), str(folder / "a" / "volume.img"), failed, expected=store.metadata)
    shown = await run("copy", folder / "a" / "node.toml")
    rows = {line[:10].strip(): line[10:] for line in shown.stdout.splitlines()}
    assert (rows["copy"], rows["last role"]) == ("failed or discarded", "primary")
    assert json.loads((await run("copy", folder / "a" / "node.toml", "--json")).stdout)["synced_epoch"] == 0
