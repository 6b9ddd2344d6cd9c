"""Which of two copies is the later one: only what they tell, and both side by side where a person has to choose."""

import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from ctlha_trio.arbiter import SqliteArbiter
from ctlha_trio.cli import main
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._copy_view import CopyView, sum_of, view_copy
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._later_copy import describe_later, later_copy
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import BlockStore

SIZE_BYTES = 4 << 20
BASE = CopyView(
    cluster="c",
    resource="r",
    node="a",
    size_bytes=SIZE_BYTES,
    epoch=4,
    revision=4,
    lineage="l",
    primary="a",
    members=("a", "b"),
    copy="member",
    synced_epoch=4,
    heard_epoch=0,
    written_at="2026-11-25T14:03:10.123+00:00",
    open_ranges=(),
    marked_from=None,
    marks=(),
)
ALONE: dict[str, Any] = {"epoch": 5, "members": ("a",), "marked_from": 4, "marks": ((0, 65536),)}
GIVEN_UP = (
    "was given up, for its disk had failed, or a person has discarded it or made it anew; what it had acknowledged"
)
OF_B: dict[str, Any] = {"primary": "b", "members": ("b",)}


@pytest.mark.parametrize(
    ("a", "b", "later", "why"),
    [
        ({}, {}, "", "both know the same record of epoch 4, and neither has acknowledged anything alone since"),
        (ALONE, {}, "a", "it was used in epoch 5, the other one last in 4"),
        (ALONE, {"epoch": 5, "members": ("a",)}, "a", "the record of epoch 5, which both know, names it alone"),
        (ALONE, {"epoch": 5, **OF_B}, "", "both have served alone, each in an epoch 5 of its own, and neither has all"),
        (ALONE, {"epoch": 7, **OF_B}, "", "both have served alone, node a in epoch 5 and node b in epoch 7, and"),
        (ALONE, {"epoch": 5, "primary": "b"}, "", "they know two different records of epoch 5"),
        (
            ALONE,
            {"epoch": 9, "lineage": "m", "ancestors": ("l",)},
            "b",
            "somebody has begun its line from that of node a",
        ),
        (ALONE, {"epoch": 5, "lineage": "m", "ancestors": ("k", "l"), **OF_B}, "b", "somebody has begun its line from"),
        (
            ALONE,
            {"epoch": 9, "lineage": "m"},
            "",
            "they are of different lines, and neither says that it was begun from",
        ),
    ],
)
def test_only_what_the_copies_tell(a: dict[str, Any], b: dict[str, Any], later: str, why: str) -> None:
    one, other = attrs.evolve(BASE, **a), attrs.evolve(BASE, node="b", **b)
    for told in (later_copy(one, other), later_copy(other, one)):
        assert told[0] == later
    assert later_copy(one, other)[1].startswith(why)


def test_no_clock_and_no_revision_of_an_arbiter_that_went_back_decides() -> None:
    one = attrs.evolve(BASE, **ALONE, revision=900, written_at="2030-01-01T00:00:00.000+00:00")
    other = attrs.evolve(BASE, node="b", **{**ALONE, **OF_B}, revision=1, written_at="2020-01-01T00:00:00.000+00:00")
    assert later_copy(one, other)[0] == later_copy(other, one)[0] == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "has acknowledged nothing without node b since epoch 4 began"),
        (
            ALONE | {"marked_from": None, "marks": ()},
            "has served alone in epoch 5; what was written to it then is not marked",
        ),
        (ALONE | {"marks": ()}, "has served alone in epoch 5, and nothing was written to it since epoch 4"),
        (
            ALONE | {"open_ranges": ((1048576, 1048576),)},
            "has served alone in epoch 5; what was written to it since epoch 4, within 1114112 bytes in 2 ranges, "
            "node b may lack; last 2026-11-25T14:03:10.123+00:00, by the clock of its machine",
        ),
    ],
)
def test_what_each_has_acknowledged_alone_is_said(change: dict[str, Any], told: str) -> None:
    lines = list(describe_later(attrs.evolve(BASE, **change), attrs.evolve(BASE, node="b")))
    assert lines[1] == f"alone     node a: {told}"
    assert lines[2] == "alone     node b: has acknowledged nothing without node a since epoch 4 began"


def test_one_range_is_one() -> None:
    assert sum_of(((0, 65536),)) == "65536 bytes in 1 range"
    assert sum_of(((0, 65536), (131072, 65536))) == "131072 bytes in 2 ranges"


def test_a_later_copy_that_is_not_whole_is_said_to_be_none_to_take() -> None:
    later = attrs.evolve(BASE, **ALONE, copy="failed")
    (line, *_) = describe_later(later, attrs.evolve(BASE, node="b"))
    assert line.endswith("; but it is failed, no state that the volume ever had")


@pytest.mark.parametrize(
    ("copy", "told"),
    [
        ("failed", f"{GIVEN_UP} without node a until then is not told"),
        ("rewriting", "is being overwritten; what it had acknowledged without node a until then is not told"),
        ("resyncing", "is being overwritten; what it had acknowledged without node a until then is not told"),
    ],
)
def test_of_a_copy_that_is_not_whole_nobody_says_that_it_has_acknowledged_nothing_alone(copy: str, told: str) -> None:
    """Its mark, and the record from which it is overwritten, stand where it had said what it knew itself."""
    other = attrs.evolve(BASE, node="b", copy=copy, epoch=5, members=("a",))
    lines = list(describe_later(attrs.evolve(BASE, **ALONE), other))
    assert lines[2] == f"alone     node b: {told}"


@pytest.mark.parametrize("a", [{}, ALONE, {"epoch": 9, "lineage": "m", "ancestors": ("l",)}])
def test_what_a_copy_that_was_given_up_had_been_is_not_told(a: dict[str, Any]) -> None:
    one, other = attrs.evolve(BASE, **a), attrs.evolve(BASE, node="b", copy="failed")
    for told in (later_copy(one, other), later_copy(other, one)):
        assert told == ("", "that of node b was given up, and does not tell what it was before")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_pair(tmp_path / "p", NewPair(size_bytes=SIZE_BYTES, link_addresses=loopback_addresses(7900)))
    return tmp_path / "p"


async def serve_alone(folder: Path, node: str, **changes: Any) -> None:
    """As of a node that has taken over in epoch 2, and was written to."""
    path = str(folder / node / "volume.img")
    store = await BlockStore.open(ThreadDisk(), path, size_bytes=SIZE_BYTES, clock=TrioClock())
    alone: dict[str, Any] = {"epoch": 2, "revision": 2, "primary": node, "members": (node,), "base_epoch": 1, **changes}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.start_tracking(1)
        await store.persist(attrs.evolve(store.metadata, **alone))
        await store.write(0, node.encode() * 4096)
        nursery.cancel_scope.cancel()
    store.close()


async def run(*arguments: str | Path) -> Result:
    return await trio.to_thread.run_sync(CliRunner().invoke, main, [str(each) for each in arguments])


async def test_two_copies_of_one_epoch_that_contradict_are_shown_to_who_has_to_choose(folder: Path) -> None:
    """The node of the older line was started alone: by the epochs nobody could say which copy is the later one."""
    for node in ("a", "b"):
        await serve_alone(folder, node)
    shown = await run("adopt-arbiter", folder / "a" / "node.toml", "--abandon", "b", "--dry-run")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    told = [line.split(maxsplit=1) for line in lines if line.startswith(("later", "alone", "may differ"))]
    assert told[0][1].startswith(
        "cannot be told from the copies: both have served alone, each in an epoch 2 of its own"
    )
    assert [line[1].partition(";")[0] for line in told[1:3]] == [
        "node a: has served alone in epoch 2",
        "node b: has served alone in epoch 2",
    ]
    assert told[3][0] == "may"
    assert [line.split() for line in lines if line.startswith("members")] == [["members", "a", "b"]]
    assert lines[-1] == "nothing was changed: --dry-run"


async def test_a_copy_that_a_person_has_discarded_is_not_said_to_have_failed_nor_to_lack_nothing(folder: Path) -> None:
    """Before, the same command said that it had served alone."""
    loaded = load_config(folder / "a" / "node.toml")
    arbiter = await SqliteArbiter.open(folder / "arbiter.db", cluster=loaded.content.cluster, resource="volume")
    found = await arbiter.read()
    await arbiter.cas(found.revision, found.record.succeed(primary="a", members=("a",), proposal="p"))
    await serve_alone(folder, "a", proposed=("p",))
    await serve_alone(folder, "b", epoch=3, revision=3)
    look = ("resolve", folder / "a" / "node.toml", "--discard", "a")
    assert "node b: has served alone in epoch 3; what was written" in (await run(*look)).stderr
    done = await run("resolve", folder / "b" / "node.toml", "--discard", "b")
    assert done.exit_code == 0, done.output
    lines = (await run(*look)).stderr.splitlines()
    (stands,) = (line for line in lines if line.startswith("copy      "))
    assert stands.split(maxsplit=2) == ["copy", "member", "failed or discarded"]
    assert f"alone     node b: {GIVEN_UP} without node a until then is not told" in lines
    assert not any(line.startswith("later     node a") for line in lines)


async def test_the_other_machine_s_copy_is_carried_over(folder: Path) -> None:
    await serve_alone(folder, "a")
    said = await run("copy", folder / "b" / "node.toml", "--json")
    (folder / "b.json").write_text(said.stdout)
    shutil.move(folder / "b", folder / "elsewhere")
    command = ("adopt-arbiter", folder / "a" / "node.toml", "--abandon", "b", "--dry-run")
    (folder / "arbiter.db").rename(folder / "gone.db")
    alone = await run(*command)
    assert "          then here the same command with --other FILE" in alone.stdout.splitlines()
    both = await run(*command, "--other", folder / "b.json")
    assert "later     node a: it was used in epoch 2, the other one last in 1" in both.stdout.splitlines()
    wrong = await run(*command, "--other", folder / "a" / "node.toml")
    assert (wrong.exit_code, "is of node a of" in wrong.stderr) == (2, True)


async def test_a_neighbour_that_cannot_be_read_keeps_nobody_from_a_command(folder: Path) -> None:
    (folder / "arbiter.db").unlink()
    (folder / "b" / "node.toml").write_text("node = 7\n")
    done = await run("adopt-arbiter", folder / "a" / "node.toml", "--abandon", "b", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "node b: its copy cannot be looked at: " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("adopt-arbiter", "{}"), "--other is of the node of --abandon"),
        (("force-primary", "{}", "--abandon", "b", "--salvage"), "a salvage takes what is left of this copy"),
    ],
)
def test_other_is_for_a_choice_between_two_copies(arguments: tuple[str, ...], says: str, folder: Path) -> None:
    config = folder / "a" / "node.toml"
    done = CliRunner().invoke(main, [*(each.format(config) for each in arguments), "--other", str(config)])
    assert (done.exit_code, says in done.stderr) == (2, True)


def test_lineages_of_before_are_part_of_a_view(folder: Path) -> None:
    assert view_copy(load_config(folder / "a" / "node.toml")).ancestors == ()
