"""``ctlha replace``, ``resolve`` and ``adopt-arbiter``: what they leave on the disk, and what they refuse."""

import errno
import hashlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from ctlha_trio._errors import StoreError
from ctlha_trio.arbiter import SqliteArbiter
from ctlha_trio.cli import _adopt, _salvage, _stopped_node, main
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._remedies import remedy_for
from ctlha_trio.cli._stopped_node import divergence
from ctlha_trio.door import DecisionLog
from ctlha_trio.pair import (
    Copy,
    Metadata,
    Record,
    SwapOutcome,
    actions,
    boot,
    events,
    messages,
    step_pair,
)
from ctlha_trio.seams import SwapAnswer, ThreadDisk, TrioClock
from ctlha_trio.store import BLOCK_BYTES, BlockStore, Layout, rewrite_metadata
from ctlha_trio.store._slots import SLOT_BYTES, SLOT_COUNT
from ctlha_trio.wire import KnownRecord

SIZE_BYTES = 1 << 20
OFF = ("--statement", "a is powered off")
ADOPT = ("--abandon", "a", *OFF)
SALVAGE = ("--abandon", "a", "--salvage")


@attrs.frozen
class Folder:
    """A pair that does not run."""

    path: Path
    cluster: str

    @property
    def config(self) -> Path:
        return self.path / "b" / "node.toml"

    @property
    def volume(self) -> Path:
        return self.path / "b" / "volume.img"

    @property
    def decisions(self) -> Path:
        return self.path / "b" / "decisions.jsonl"

    async def arbiter(self) -> SqliteArbiter:
        return await SqliteArbiter.open(self.path / "arbiter.db", cluster=self.cluster, resource="volume")

    async def set_members(self, *members: str) -> Record:
        arbiter = await self.arbiter()
        found = await arbiter.read()
        record = found.record.succeed(primary=members[0], members=members, proposal="p")
        assert (await arbiter.cas(found.revision, record)).outcome is SwapOutcome.WON
        return record

    async def metadata(self) -> Metadata:
        """Of b's copy."""
        store = await BlockStore.open(ThreadDisk(), str(self.volume), size_bytes=SIZE_BYTES, clock=TrioClock())
        store.close()
        return store.metadata

    async def write(self, metadata: Metadata) -> None:
        await rewrite_metadata(ThreadDisk(), str(self.volume), metadata, expected=await self.metadata())

    async def would(self) -> str:
        """The reason for which node b would stop if it was started, or nothing."""
        arbiter = await self.arbiter()
        return divergence(await self.metadata(), "a", arbiter.identity, await arbiter.read())

    def decided(self) -> list[tuple[str, str]]:
        """Decisions and outcomes."""
        lines = [json.loads(line) for line in self.decisions.read_text().splitlines()]
        return [(line["decision"], line["outcome"]) for line in lines]

    def fingerprint(self) -> dict[Path, str]:
        """The log of decisions is left out: what is refused stands in it."""
        files = [path for path in self.path.rglob("*") if path.is_file() and path != self.decisions]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def whole(tmp_path: Path) -> Folder:
    new = NewPair(size_bytes=SIZE_BYTES, link_addresses=loopback_addresses(7900))
    create_pair(tmp_path / "p", new)
    return Folder(tmp_path / "p", new.cluster)


@pytest.fixture
def folder(whole: Folder) -> Folder:
    """Node b has lost its disk."""
    whole.volume.unlink()
    return whole


def replace(folder: Folder, node: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["replace", str(folder.config), node, *options])


async def run(command: str, folder: Folder, *options: str) -> Result:
    return await trio.to_thread.run_sync(CliRunner().invoke, main, [command, str(folder.config), *options])


@pytest.mark.parametrize("members", [("a",), ("a", "b")])
async def test_the_new_copy_knows_the_record_and_holds_nothing(folder: Folder, members: tuple[str, ...]) -> None:
    record = await folder.set_members(*members)
    arbiter = await folder.arbiter()
    done = await trio.to_thread.run_sync(replace, folder, "b")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"done; start it: ctlha node {folder.config}"
    metadata = await folder.metadata()
    assert (metadata.node, metadata.cluster, metadata.resource) == ("b", folder.cluster, "volume")
    assert (metadata.epoch, metadata.lineage, metadata.members) == (record.epoch, record.lineage, record.members)
    assert (metadata.arbiter, metadata.revision) == (arbiter.identity, (await arbiter.read()).revision)
    assert metadata.copy is Copy.FAILED
    assert folder.volume.stat().st_mode & 0o777 == 0o600
    assert (await arbiter.read()).record == record
    assert folder.decided() == [("replace", "asked"), ("replace", "done")]
    line = json.loads(folder.decisions.read_text().splitlines()[0])
    assert (line["before"]["epoch"], line["uid"]) == (record.epoch, os.getuid())


async def test_a_dry_run_changes_nothing(folder: Folder) -> None:
    lineage = (await (await folder.arbiter()).read()).record.lineage
    before = folder.fingerprint()
    done = await trio.to_thread.run_sync(replace, folder, "b", "--dry-run")
    assert (done.exit_code, folder.fingerprint()) == (0, before)
    assert done.stdout.splitlines() == [
        f"record   unchanged: epoch 1, revision 1, lineage {lineage}, primary a, members a b",
        f"node b: a new copy that holds nothing, {SIZE_BYTES} bytes",
        "node a: its copy is copied there whole; until then no other holds what was acknowledged",
        " 1. the decision is logged",
        "    durable on node b: a line in decisions.jsonl",
        " 2. the backing file is made",
        "    durable on node b: a copy that holds nothing, and says so",
        " 3. how it ended is logged",
        "    durable on node b: a line in decisions.jsonl",
        " 4. a person starts node b",
        " 5. node a goes on alone",
        "    durable at the arbiter: the next epoch, primary a, members a",
        " 6. everything is copied from node a",
        "    durable on node b: first that it is being overwritten",
        " 7. the record is swapped",
        "    durable at the arbiter: the next epoch, primary a, members a b",
        "nothing was changed: --dry-run",
    ]


async def test_the_only_copy_that_counts_is_not_replaced(folder: Folder) -> None:
    await folder.set_members("b")
    before = folder.fingerprint()
    done = await trio.to_thread.run_sync(replace, folder, "b")
    assert (done.exit_code, folder.fingerprint()) == (1, before)
    assert "no other copy counts than that of node b" in done.stderr
    assert "on a: ctlha force-primary <its node.toml> --abandon b" in done.stderr


def test_a_file_that_is_there_is_not_overwritten(folder: Folder) -> None:
    folder.volume.write_bytes(b"mine")
    done = replace(folder, "b")
    assert done.exit_code == 2
    assert "exists and is not overwritten; move it away" in done.stderr
    assert folder.volume.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("node", "helps"),
    [("a", "name that one, or the configuration of a"), ("c", "the pair has no other nodes than b and a")],
)
def test_the_node_must_be_that_of_the_configuration(folder: Folder, node: str, helps: str) -> None:
    done = replace(folder, node)
    assert done.exit_code == 2
    assert f"node: is b; {helps}\n" in done.stderr
    assert not folder.volume.exists()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("resolve", ("--discard", "b")),
        ("adopt-arbiter", ("--abandon", "a")),
        ("force-primary", ("--abandon", "a", "--salvage")),
    ],
)
async def test_a_file_that_is_not_there_is_told_with_what_helps(
    folder: Folder, command: str, options: tuple[str, ...]
) -> None:
    done = await run(command, folder, *options, "--dry-run")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"{folder.config}: volume.file: there is no {folder.volume}: mount the disk that it is on, or put the file "
        "back, only the file itself, never a copy from before, whose old data may be served unnoticed; if the file is "
        f"lost and node a has a copy that counts: ctlha replace {folder.config} b\n"
    )


async def leave_open(*_: object) -> SwapAnswer:
    """An arbiter of whose swap nobody knows."""
    await trio.lowlevel.checkpoint()
    return SwapAnswer(SwapOutcome.UNKNOWN)


async def expect_spared(folder: Folder, record: Record, source: str = "a") -> None:
    """Node b, started, is offered the source's copy by that record: a forced swap from it may come, and name b."""
    found, metadata = await (await folder.arbiter()).read(), await folder.metadata()
    assert found.record == record
    state, _ = boot(me="b", peer=source, incarnation=1, size_bytes=SIZE_BYTES, metadata=metadata, marked_from=None)
    state, _ = step_pair(state, events.RecordRead(record, found.revision))
    state, _ = step_pair(state, events.SessionUp(7))
    state, ordered = step_pair(state, events.Received(messages.ResyncStart(record.epoch, record.proposal)))
    assert actions.Send(messages.InDoubt(record.epoch)) in ordered
    moved = record.succeed(primary=source, members=(source,), proposal="moved")
    state, _ = step_pair(state, events.RecordRead(moved, found.revision + 1))
    state, _ = step_pair(state, events.Received(messages.ResyncStart(moved.epoch, moved.proposal)))
    assert state.persisting is not None
    assert state.persisting.copy in {Copy.REWRITING, Copy.RESYNCING}


async def test_a_new_copy_is_not_filled_while_a_forced_swap_may_come_late(folder: Folder) -> None:
    """Node b was forced, and crashed behind its swap; the disk on which that stood is lost."""
    record = await folder.set_members("a")
    assert (await trio.to_thread.run_sync(replace, folder, "b")).exit_code == 0
    await expect_spared(folder, record)


async def test_a_copy_that_was_discarded_is_not_filled_while_a_forced_swap_may_come_late(whole: Folder) -> None:
    record = await whole.set_members("a")
    await whole.write(attrs.evolve(await whole.metadata(), lineage="another", in_doubt=2))
    assert (await run("resolve", whole, "--discard", "b")).exit_code == 0
    await expect_spared(whole, record)


def test_a_node_that_runs_is_left_alone(folder: Folder) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(folder.path / "b" / "status.sock"))
        listening.listen()
        done = replace(folder, "b")
    assert (done.exit_code, done.stderr) == (1, "node b runs; stop it first\n")
    assert not folder.volume.exists()


def test_a_node_of_which_nobody_can_tell_whether_it_runs_is_left_alone(folder: Folder) -> None:
    (folder.path / "b" / "status.sock").symlink_to("status.sock")
    done = replace(folder, "b")
    assert done.exit_code == 1
    assert done.stderr.startswith("nobody can tell whether node b runs: ")
    assert not folder.volume.exists()


def test_a_node_of_another_user_is_left_to_that_user(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(_stopped_node, "is_answered", refuse)
    done = replace(folder, "b")
    told = f"{folder.path / 'b' / 'status.sock'}: access is denied: ask as the user whose node it is\n"
    assert (done.exit_code, done.stderr) == (2, told)
    assert not folder.volume.exists()


@pytest.mark.parametrize(("key", "old"), [("volume.file", "volume.img"), ("arbiter.sqlite", "../arbiter.db")])
def test_a_path_that_the_system_refuses_is_a_fault_of_the_configuration(folder: Folder, key: str, old: str) -> None:
    folder.config.write_text(folder.config.read_text().replace(f'"{old}"', f'"{"x" * 300}"'))
    done = replace(folder, "b")
    assert done.exit_code == 2
    assert f"{key}: " in done.stderr
    assert done.stderr.endswith(": File name too long\n")


def test_without_an_arbiter_nothing_is_made(folder: Folder) -> None:
    (folder.path / "arbiter.db").unlink()
    assert replace(folder, "b").exit_code == 1
    assert not folder.volume.exists()


def test_what_cannot_be_logged_is_not_done(folder: Folder) -> None:
    folder.decisions.mkdir()
    assert replace(folder, "b").exit_code == 1
    assert not folder.volume.exists()


@attrs.frozen
class LogWithoutAnEnd(DecisionLog):
    """It has room for what is asked for, and for nothing more."""

    async def append(self, **fields: object) -> None:
        if fields["outcome"] != "asked":
            raise StoreError(f"{self.path}: No space left on device")
        await super().append(**fields)


async def lose_disk(folder: Folder) -> None:
    folder.volume.unlink()


async def diverge(folder: Folder) -> None:
    await folder.write(attrs.evolve(await folder.metadata(), lineage="another"))


async def lose_arbiter(folder: Folder) -> None:
    (folder.path / "arbiter.db").unlink()


async def fail_copy(folder: Folder) -> None:
    await write_content(folder, Copy.FAILED)


@pytest.mark.parametrize(
    ("happen", "command", "options"),
    [
        (lose_disk, "replace", ("b",)),
        (diverge, "resolve", ("--discard", "b")),
        (lose_arbiter, "adopt-arbiter", ADOPT),
        (fail_copy, "force-primary", (*SALVAGE, *OFF)),
    ],
)
async def test_what_is_done_is_not_said_to_have_failed_if_its_end_cannot_be_logged(
    whole: Folder,
    monkeypatch: pytest.MonkeyPatch,
    happen: Callable[[Folder], Awaitable[None]],
    command: str,
    options: tuple[str, ...],
) -> None:
    await happen(whole)
    monkeypatch.setattr(_stopped_node, "DecisionLog", LogWithoutAnEnd)
    done = await run(command, whole, *options)
    assert done.exit_code == 4, done.output
    assert done.stdout.splitlines()[-1] == f"done; start it: ctlha node {whole.config}"
    assert done.stderr == (
        f"done, but the log of decisions lacks the line that says so: {whole.decisions}: No space left on device\n"
    )
    assert [outcome for _, outcome in whole.decided()] == ["asked"]
    assert await whole.would() == ""


# A copy that has diverged.


def replaced(metadata: Metadata, **changes: object) -> Metadata:
    return Metadata(**{**attrs.asdict(metadata, recurse=False), **changes})


async def test_a_diverged_copy_is_shown_and_discarded(whole: Folder) -> None:
    """It went on in an epoch that the arbiter, restored from an older copy, does not know."""
    ahead = attrs.evolve(await whole.metadata(), epoch=7, revision=9, primary="b", members=("b",))
    await whole.write(ahead)
    assert await whole.would() == "arbiter-went-back"
    before = whole.fingerprint()
    shown = await run("resolve", whole, "--discard", "b", "--dry-run")
    assert (shown.exit_code, whole.fingerprint()) == (0, before)
    lines = shown.stdout.splitlines()
    first, second = lines[:2]
    assert first == f"copy     node b: epoch 7, revision 9, lineage {ahead.lineage}, members b, member"
    assert second.startswith(
        f"record   unchanged: epoch 1, revision 1, lineage {ahead.lineage}, primary a, members a b"
    )
    assert [line.split() for line in lines if line.startswith(("epoch", "is member", "last role", "by record"))] == [
        ["epoch", "7", "1"],
        ["is", "member", "yes", "yes"],
        ["last", "role", "primary", "primary"],
        ["by", "record", "counts", "counts"],
    ]
    assert "node b: arbiter-went-back; its copy is discarded" in lines
    done = await run("resolve", whole, "--discard", "b")
    assert done.exit_code == 0, done.output
    metadata = await whole.metadata()
    assert (metadata.copy, metadata.epoch, metadata.revision, metadata.members) == (Copy.FAILED, 1, 1, ("a", "b"))
    assert await whole.would() == ""
    assert whole.decided() == [("resolve", "asked"), ("resolve", "done")]


async def test_a_copy_that_served_alone_as_the_other_one_did_is_chosen_or_discarded(whole: Folder) -> None:
    """The record has moved on since, and by it alone this copy would only be outdated."""
    await whole.set_members("a")
    apart = attrs.evolve(await whole.metadata(), epoch=1, revision=1, primary="b", members=("b",))
    apart = attrs.evolve(apart, heard=KnownRecord(apart.lineage, 1, 0, leads=True))
    await whole.write(apart)
    assert await whole.would() == "arbiter-went-back"
    shown = await run("adopt-arbiter", whole, *ADOPT, "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "epoch 1 that is not this copy's: the two were used apart" in shown.stdout
    done = await run("resolve", whole, "--discard", "b")
    assert done.exit_code == 0, done.output
    assert await whole.would() == ""
    assert (await whole.metadata()).copy is Copy.FAILED


@pytest.mark.parametrize("field", ["lineage", "arbiter"])
async def test_a_copy_of_another_line_or_arbiter_is_discarded(whole: Folder, field: str) -> None:
    await whole.write(replaced(await whole.metadata(), **{field: "another"}))
    assert await whole.would() == {"lineage": "foreign-lineage", "arbiter": "other-arbiter"}[field]
    assert (await run("resolve", whole, "--discard", "b")).exit_code == 0
    assert await whole.would() == ""


async def test_a_copy_that_has_not_diverged_is_not_discarded(whole: Folder) -> None:
    await whole.set_members("a")
    before = whole.fingerprint()
    done = await run("resolve", whole, "--discard", "b")
    assert (done.exit_code, whole.fingerprint()) == (1, before)
    assert done.stdout == ""
    assert done.stderr.startswith("copy     node b: epoch 1, revision 1, ")
    assert done.stderr.endswith("\nthe copy of node b has not diverged from the record: start the node\n")
    line = json.loads(whole.decisions.read_text())
    assert (line["decision"], line["outcome"], line["epoch"], line["revision"]) == ("resolve", "refused", 1, 1)
    assert line["why"] == "the copy of node b has not diverged from the record: start the node"
    assert (await run("resolve", whole, "--discard", "b", "--dry-run")).exit_code == 1
    assert len(whole.decisions.read_text().splitlines()) == 1


async def test_a_refusal_that_repeats_is_logged_once(whole: Folder) -> None:
    """A script that retries does not fill the disk, and another refusal is told beside it."""
    for _ in range(3):
        assert (await run("resolve", whole, "--discard", "b")).exit_code == 1
        assert (await run("adopt-arbiter", whole, *ADOPT)).exit_code == 1
    assert whole.decided() == [("resolve", "refused"), ("adopt-arbiter", "refused")]
    (whole.path / "arbiter.db").unlink()
    for _ in range(2):
        assert (await run("resolve", whole, "--discard", "b")).exit_code == 1
    assert whole.decided()[2:] == [("resolve", "refused")]


async def test_a_try_that_was_begun_has_its_end_in_the_log(whole: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> SwapAnswer:
        await trio.lowlevel.checkpoint()
        return SwapAnswer(SwapOutcome.LOST)

    await whole.write(attrs.evolve(await whole.metadata(), arbiter="another"))
    monkeypatch.setattr(SqliteArbiter, "cas", refuse)
    for _ in range(2):
        assert (await run("adopt-arbiter", whole, *ADOPT)).exit_code == 1
    failed = "failed: the arbiter did not take it (lost); give the command again"
    assert [outcome for _, outcome in whole.decided()] == ["asked", failed] * 2


@pytest.mark.parametrize(
    ("happen", "command", "options"),
    [
        (diverge, "adopt-arbiter", ADOPT),
        (fail_copy, "force-primary", (*SALVAGE, *OFF)),
    ],
)
async def test_a_swap_of_which_nobody_knows_is_told_and_logged_so(
    whole: Folder,
    monkeypatch: pytest.MonkeyPatch,
    happen: Callable[[Folder], Awaitable[None]],
    command: str,
    options: tuple[str, ...],
) -> None:
    monkeypatch.setattr(SqliteArbiter, "cas", leave_open)
    await happen(whole)
    done = await run(command, whole, *options)
    said = "nobody knows whether the arbiter took it; give the command again, which finds that"
    assert (done.exit_code, done.stderr) == (3, f"{said}\n")
    assert [outcome for _, outcome in whole.decided()] == ["asked", f"unknown: {said}"]


async def test_what_fails_behind_its_first_line_is_not_said_to_be_refused(
    whole: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is written by then, and only the copy is not bound to it."""

    async def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    (whole.path / "arbiter.db").unlink()
    monkeypatch.setattr(_adopt, "_bind", fail)
    done = await run("adopt-arbiter", whole, *ADOPT)
    assert (done.exit_code, done.stderr) == (1, "the disk is full\n")
    assert whole.decided() == [("adopt-arbiter", "asked"), ("adopt-arbiter", "failed: the disk is full")]


async def test_a_failure_that_cannot_be_logged_is_told_all_the_same(
    whole: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteArbiter, "cas", leave_open)
    monkeypatch.setattr(_stopped_node, "DecisionLog", LogWithoutAnEnd)
    await diverge(whole)
    done = await run("adopt-arbiter", whole, *ADOPT)
    assert done.exit_code == 3
    lacks, said = done.stderr.splitlines()
    assert lacks.startswith("the log of decisions lacks the line that says how it ended: ")
    assert said.startswith("nobody knows whether the arbiter took it")
    assert [outcome for _, outcome in whole.decided()] == ["asked"]


async def test_a_diverged_copy_beside_which_none_counts_is_kept(whole: Folder) -> None:
    await whole.write(attrs.evolve(await whole.metadata(), lineage="another"))
    await whole.set_members("b")
    before = whole.fingerprint()
    done = await run("resolve", whole, "--discard", "b")
    assert (done.exit_code, done.stdout, whole.fingerprint()) == (1, "", before)
    assert ["by", "record", "counts", "does", "not", "count"] in [line.split() for line in done.stderr.splitlines()]
    assert "no other copy counts" in done.stderr.splitlines()[-1]


# An arbiter that is new, or went back.


async def test_an_arbiter_that_went_back_gets_a_record_that_follows_on_both(whole: Folder) -> None:
    old = await whole.set_members("a")
    ahead = attrs.evolve(await whole.metadata(), epoch=7, revision=9, primary="b", members=("b",))
    await whole.write(ahead)
    before = whole.fingerprint()
    shown = await run("adopt-arbiter", whole, "--abandon", "a", "--dry-run")
    assert (shown.exit_code, whole.fingerprint()) == (0, before)
    assert shown.stdout.splitlines()[-1] == "nothing was changed: --dry-run"
    assert "         -> epoch 8, a new lineage, members b" in shown.stdout.splitlines()
    done = await run("adopt-arbiter", whole, *ADOPT)
    assert done.exit_code == 0, done.output
    arbiter = await whole.arbiter()
    found = await arbiter.read()
    assert (found.record.epoch, found.record.primary, found.record.members) == (8, "b", ("b",))
    assert found.record.ancestors == (old.lineage,)
    metadata = await whole.metadata()
    assert (metadata.revision, metadata.epoch, metadata.lineage) == (found.revision, 8, found.record.lineage)
    assert metadata.copy is Copy.MEMBER
    assert await whole.would() == ""
    assert whole.decided() == [("adopt-arbiter", "asked"), ("adopt-arbiter", "done")]
    again = await run("adopt-arbiter", whole, *ADOPT)
    assert (again.exit_code, again.stderr) == (
        1,
        "nothing is wrong with the arbiter: start node b; "
        "if node a does not start, there: ctlha resolve <its node.toml> --discard a\n",
    )


@pytest.mark.parametrize(("command", "epoch"), [(("adopt-arbiter", *ADOPT), 8), (("resolve", "--discard", "b"), 1)])
async def test_an_abandoned_copy_has_a_way_out_of_an_arbiter_that_went_back_to_before_the_force(
    whole: Folder, command: tuple[str, ...], epoch: int
) -> None:
    """Node b has read that node a was forced in epoch 7. Its copy becomes the volume by a later one, or is given up."""
    abandoned = attrs.evolve(await whole.metadata(), heard=KnownRecord("later", 7, 9, leads=True))
    await whole.write(abandoned)
    assert await whole.would() == "arbiter-went-back"
    name, *options = command
    done = await run(name, whole, *options)
    assert done.exit_code == 0, done.output
    metadata = await whole.metadata()
    assert (metadata.epoch, metadata.heard) == (epoch, None)
    assert await whole.would() == ""


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.parametrize(
    ("copy", "command"),
    [(Copy.MEMBER, ("adopt-arbiter", "--abandon", "a")), (Copy.FAILED, ("force-primary", *SALVAGE))],
)
async def test_a_later_epoch_is_said_to_be_that_of_the_node_which_was_its_primary(
    whole: Folder, copy: Copy, command: tuple[str, ...], leads: bool
) -> None:
    """The arbiter, too, shows a later one: of a node whose file was put back. Then no other copy is the newer one."""
    await write_content(whole, copy)
    before = await whole.metadata()
    await whole.write(attrs.evolve(before, epoch=4, heard=KnownRecord(before.lineage, 7, 9, leads=leads)))
    name, *options = command
    shown = await run(name, whole, *options, "--dry-run")
    assert shown.exit_code == 0, shown.output
    of_peer = "node a has acted on epoch 7, this copy on 4: its copy is newer"
    of_node = (
        "node b itself has acted on epoch 7, this copy on 4: it is an older one of that node's, or one of two that "
        "were used apart, and lacks what came since"
    )
    assert (of_peer in shown.stdout, of_node in shown.stdout) == (leads, not leads)
    assert leads or "newer" not in shown.stdout


@pytest.mark.parametrize("leads", [True, False])
async def test_of_two_copies_that_were_used_apart_in_one_epoch_neither_is_called_the_newer_one(
    whole: Folder, leads: bool
) -> None:
    before = await whole.metadata()
    await whole.write(attrs.evolve(before, heard=KnownRecord(before.lineage, before.epoch, 9, leads=leads)))
    shown = await run("adopt-arbiter", whole, "--abandon", "a", "--dry-run")
    assert shown.exit_code == 0, shown.output
    other = "a" if leads else "b"
    said = (
        f"node {other} has acted on an epoch {before.epoch} that is not this copy's: the two were used apart, and each"
    )
    assert said in shown.stdout
    assert "newer" not in shown.stdout


async def test_a_copy_that_went_back_beside_which_no_other_is_left_becomes_the_volume(whole: Folder) -> None:
    await whole.set_members("b")
    assert await whole.would() == "copy-went-back"
    done = await run("adopt-arbiter", whole, *ADOPT)
    assert done.exit_code == 0, done.output
    assert await whole.would() == ""
    helps = remedy_for("copy-went-back", config=str(whole.config), node="b", peer="a")
    assert f"ctlha adopt-arbiter {whole.config} --abandon a" in helps
    refused = await run("force-primary", whole, *SALVAGE, *OFF)
    assert f"ctlha adopt-arbiter {whole.config} --abandon a" in refused.output


@pytest.mark.parametrize(
    ("copy", "command"),
    [(Copy.MEMBER, ("adopt-arbiter", *ADOPT)), (Copy.FAILED, ("force-primary", *SALVAGE, *OFF))],
)
async def test_a_new_line_descends_from_all_that_are_known_as_its_copy_remembers(
    whole: Folder, copy: Copy, command: tuple[str, ...]
) -> None:
    """A record of any of them, which a restored arbiter may show, is past."""
    await write_content(whole, copy)
    before = await whole.metadata()
    heard = KnownRecord("later", 7, 9, leads=True)
    await whole.write(attrs.evolve(before, ancestors=("first",), heard=heard))
    name, *options = command
    done = await run(name, whole, *options)
    assert done.exit_code == 0, done.output
    after = (await (await whole.arbiter()).read()).record
    assert set(after.ancestors) == {"first", before.lineage, "later"}
    assert (await whole.metadata()).ancestors == after.ancestors


async def test_a_new_copy_knows_from_which_lines_that_of_the_record_was_begun(folder: Folder) -> None:
    arbiter = await folder.arbiter()
    found = await arbiter.read()
    await arbiter.cas(found.revision, attrs.evolve(found.record, ancestors=("first",), members=("a",), proposal="0"))
    assert (await trio.to_thread.run_sync(replace, folder, "b")).exit_code == 0
    assert (await folder.metadata()).ancestors == ("first",)


async def test_the_abandoned_node_is_only_discarded_where_it_would_not_start(whole: Folder) -> None:
    """By itself it follows a record that descends from its own, at the arbiter that it belongs to."""
    returned = await whole.metadata()
    await whole.write(attrs.evolve(returned, epoch=7, revision=9, primary="b", members=("b",)))
    discard = "ctlha resolve <its node.toml> --discard a"
    restored = (await run("adopt-arbiter", whole, "--abandon", "a", "--dry-run")).stdout.splitlines()
    assert (
        "node a: its copy is abandoned; start it there, and it is overwritten by itself; "
        f"only if it stops instead, stop it, then: {discard}"
    ) in restored
    assert (await run("adopt-arbiter", whole, *ADOPT)).exit_code == 0
    arbiter = await whole.arbiter()
    abandoned = attrs.evolve(returned, node="a")
    assert not _stopped_node.divergence(abandoned, "b", arbiter.identity, await arbiter.read())
    (whole.path / "arbiter.db").unlink()
    anew = (await run("adopt-arbiter", whole, "--abandon", "a", "--dry-run")).stdout.splitlines()
    assert f"node a: its copy is abandoned; it does not start before, there: {discard}" in anew


async def test_an_arbiter_that_is_lost_is_made_anew(whole: Folder) -> None:
    lost = await whole.arbiter()
    (whole.path / "arbiter.db").unlink()
    done = await run("adopt-arbiter", whole, *ADOPT)
    assert done.exit_code == 0, done.output
    arbiter = await whole.arbiter()
    assert (await whole.metadata()).arbiter == arbiter.identity != lost.identity
    assert (await arbiter.read()).record.members == ("b",)
    assert await whole.would() == ""


async def test_what_was_cut_off_behind_the_record_is_done_by_another_try(
    whole: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    (whole.path / "arbiter.db").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(_adopt, "_bind", fail)
        assert (await run("adopt-arbiter", whole, *ADOPT)).exit_code == 1
    assert await whole.would() == "other-arbiter"
    assert (await run("adopt-arbiter", whole, *ADOPT)).exit_code == 0
    assert await whole.would() == ""


@pytest.mark.parametrize("change", [{"members": ("a",)}, {"copy": Copy.RESYNCING}, {"copy": Copy.FAILED}])
async def test_a_copy_that_did_not_count_decides_nothing(whole: Folder, change: dict[str, object]) -> None:
    await whole.write(replaced(await whole.metadata(), arbiter="another", **change))
    before = whole.fingerprint()
    done = await run("adopt-arbiter", whole, *ADOPT)
    assert (done.exit_code, whole.fingerprint()) == (1, before)
    assert "did not count when it was last used" in done.stderr


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--abandon", "b"), 2),
        (("--abandon", "a", "--statement", "yes"), 2),
        (("--abandon", "a", "--dry-run"), 1),
        (ADOPT, 1),
    ],
)
async def test_an_arbiter_with_which_nothing_is_wrong_is_left_alone(
    whole: Folder, options: tuple[str, ...], code: int
) -> None:
    before = whole.fingerprint()
    done = await run("adopt-arbiter", whole, *options)
    assert (done.exit_code, whole.fingerprint()) == (code, before)


async def write_content(folder: Folder, copy: Copy, heard_epoch: int = 0) -> None:
    """Node b's copy has 3 blocks of something, and is said to be worth this."""
    store = await BlockStore.open(ThreadDisk(), str(folder.volume), size_bytes=SIZE_BYTES, clock=TrioClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.write(0, b"kept" * (3 * BLOCK_BYTES // 4))
        metadata = attrs.evolve(store.metadata, copy=copy)
        if heard_epoch:
            metadata = attrs.evolve(metadata, heard=KnownRecord(metadata.lineage, heard_epoch, heard_epoch, leads=True))
        await store.persist(metadata)
        nursery.cancel_scope.cancel()
    store.close()


async def read_content(folder: Folder) -> bytes:
    store = await BlockStore.open(ThreadDisk(), str(folder.volume), size_bytes=SIZE_BYTES, clock=TrioClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        content = await store.read(0, 3 * BLOCK_BYTES)
        nursery.cancel_scope.cancel()
    store.close()
    return content


@pytest.mark.parametrize("members", [("a",), ("b",), ("a", "b")])
@pytest.mark.parametrize("copy", [Copy.FAILED, Copy.RESYNCING, Copy.REWRITING])
async def test_what_is_left_of_a_copy_becomes_the_volume(whole: Folder, copy: Copy, members: tuple[str, ...]) -> None:
    before = await whole.set_members(*members)
    await write_content(whole, copy)
    done = await run("force-primary", whole, *SALVAGE, *OFF)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"done; start it: ctlha node {whole.config}"
    found = await (await whole.arbiter()).read()
    after = found.record
    assert (after.epoch, after.primary, after.members) == (before.epoch + 1, "b", ("b",))
    assert before.lineage in after.ancestors
    assert after.lineage not in after.ancestors
    metadata = await whole.metadata()
    assert (metadata.copy, metadata.epoch, metadata.lineage) == (Copy.MEMBER, after.epoch, after.lineage)
    assert (metadata.revision, metadata.synced_epoch) == (found.revision, 0)
    assert await whole.would() == ""
    assert await read_content(whole) == b"kept" * (3 * BLOCK_BYTES // 4)
    assert whole.decided() == [("salvage", "asked"), ("salvage", "done")]


async def test_a_salvage_shows_what_is_damaged_and_what_is_at_risk_and_changes_nothing(whole: Folder) -> None:
    await write_content(whole, Copy.FAILED)
    with whole.volume.open("r+b") as file:
        file.seek(Layout(SIZE_BYTES).file_offset(BLOCK_BYTES))
        file.write(b"decayed")
    before = whole.fingerprint()
    shown = await run("force-primary", whole, *SALVAGE, "--dry-run")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert "node b: what is left of its copy becomes the volume, 2 whole blocks" in lines
    assert f"damaged: {BLOCK_BYTES} bytes at {BLOCK_BYTES}" in lines
    assert (
        "at risk: it was given up: its disk had failed, and writes that it lost together with their checksums are not "
        "found, or a person had discarded it, which this takes back" in lines
    )
    assert lines[-1] == "nothing was changed: --dry-run"
    assert whole.fingerprint() == before


async def test_a_copy_that_was_salvaged_tells_of_what_was_damaged_in_it(whole: Folder) -> None:
    """Else the next start after a crash may take the block for one that was torn, and serve what it holds."""
    await write_content(whole, Copy.FAILED)
    with whole.volume.open("r+b") as file:
        file.seek(Layout(SIZE_BYTES).file_offset(BLOCK_BYTES))
        file.write(b"decayed")
    before = (await run("copy", whole)).stdout.splitlines()
    assert "damaged   none known" in before, "no node has read it yet"
    done = await run("force-primary", whole, *SALVAGE, *OFF)
    assert done.exit_code == 0, done.output
    after = (await run("copy", whole)).stdout.splitlines()
    assert f"damaged   {BLOCK_BYTES} bytes in 1 range" in after
    assert after[-1] == f"damaged: {BLOCK_BYTES} bytes at {BLOCK_BYTES}"


async def test_a_copy_that_was_alone_was_discarded_by_nobody(whole: Folder) -> None:
    await write_content(whole, Copy.FAILED)
    await whole.write(attrs.evolve(await whole.metadata(), members=("b",), primary="b"))
    shown = await run("force-primary", whole, *SALVAGE, "--dry-run")
    failed = "at risk: its disk had failed: writes that it lost together with their checksums are not found"
    assert failed in shown.stdout.splitlines()


async def test_of_a_new_copy_that_was_half_filled_nothing_is_called_older(folder: Folder) -> None:
    """What was not copied to it yet is zeros, which nobody wrote."""
    assert (await trio.to_thread.run_sync(replace, folder, "b")).exit_code == 0
    await write_content(folder, Copy.REWRITING)
    shown = await run("force-primary", folder, *SALVAGE, "--dry-run")
    assert (
        "at risk: it had been given up, or made anew, and was being overwritten: some blocks are as of epoch 1, others "
        "older, or zeros where nothing was copied yet" in shown.stdout.splitlines()
    )


async def test_a_salvage_says_that_the_other_copy_is_newer_and_goes_beyond_it(whole: Folder) -> None:
    before = await whole.set_members("a")
    await write_content(whole, Copy.RESYNCING, heard_epoch=before.epoch + 6)
    done = await run("force-primary", whole, *SALVAGE, *OFF)
    assert done.exit_code == 0, done.output
    newer = f"at risk: node a has acted on epoch {before.epoch + 6}, this copy on"
    assert any(line.startswith(newer) for line in done.stdout.splitlines())
    counts = "at risk: by the record the copy of node a counts: if it can still be read, start that node"
    assert counts in done.stdout.splitlines()
    assert (await (await whole.arbiter()).read()).record.epoch == before.epoch + 7


async def test_a_salvage_makes_torn_slots_anew(whole: Folder) -> None:
    await write_content(whole, Copy.MEMBER)
    with whole.volume.open("r+b") as file:
        for slot in range(SLOT_COUNT):
            file.seek(slot * SLOT_BYTES + 512)
            file.write(b"?" * 512)
    done = await run("force-primary", whole, *SALVAGE, *OFF)
    assert done.exit_code == 0, done.output
    assert "at risk: nothing tells from when the copy is, nor whether it was whole" in done.stdout.splitlines()
    assert await whole.would() == ""
    assert await read_content(whole) == b"kept" * (3 * BLOCK_BYTES // 4)


@pytest.mark.parametrize("copy", [Copy.MEMBER, Copy.SEALED])
async def test_a_copy_that_is_whole_is_not_salvaged(whole: Folder, copy: Copy) -> None:
    await write_content(whole, copy)
    before = whole.fingerprint()
    refused = await run("force-primary", whole, *SALVAGE, *OFF)
    assert refused.exit_code == 1
    assert "the copy of node b is whole" in refused.output
    assert whole.fingerprint() == before


async def test_nothing_is_salvaged_of_a_file_that_holds_nothing(folder: Folder) -> None:
    """As one that was made to be filled by the other node."""
    assert (await trio.to_thread.run_sync(replace, folder, "b")).exit_code == 0
    before = folder.fingerprint()
    refused = await run("force-primary", folder, *SALVAGE, *OFF)
    assert refused.exit_code == 1
    assert "nothing is left of the copy" in refused.output
    assert folder.fingerprint() == before


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--abandon", "b", "--salvage"), 2, "the other node is a, not b"),
        ((*SALVAGE, "--statement", "a is off"), 2, "must be 'a is powered off'"),
        ((*SALVAGE, "--fence"), 2, "exclude each other"),
    ],
)
async def test_a_salvage_that_is_not_asked_for_as_it_must_be(
    whole: Folder, options: tuple[str, ...], code: int, said: str
) -> None:
    await write_content(whole, Copy.FAILED)
    before = whole.fingerprint()
    refused = await run("force-primary", whole, *options)
    assert refused.exit_code == code
    assert said in refused.output
    assert whole.fingerprint() == before


async def test_a_salvage_that_the_arbiter_does_not_take_leaves_the_copy(
    whole: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> SwapAnswer:
        await trio.lowlevel.checkpoint()
        return SwapAnswer(SwapOutcome.LOST)

    await write_content(whole, Copy.FAILED)
    before = await whole.metadata()
    monkeypatch.setattr(SqliteArbiter, "cas", refuse)
    refused = await run("force-primary", whole, *SALVAGE, *OFF)
    assert refused.exit_code == 1
    assert "the arbiter did not take it (lost); give the command again" in refused.output
    assert await whole.metadata() == attrs.evolve(before, in_doubt=1)


async def test_a_copy_is_not_filled_while_its_salvage_may_come_late(
    whole: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other node, which was not off, would overwrite what the swap then names."""
    record = await whole.set_members("a")
    await write_content(whole, Copy.RESYNCING)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteArbiter, "cas", leave_open)
        assert (await run("force-primary", whole, *SALVAGE, *OFF)).exit_code
    await expect_spared(whole, record)


async def test_a_salvage_that_was_cut_off_behind_the_record_can_be_given_again(
    whole: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("cut off")

    await write_content(whole, Copy.FAILED)
    with monkeypatch.context() as cut:
        cut.setattr(_salvage, "salvage_copy", fail)
        assert (await run("force-primary", whole, *SALVAGE, *OFF)).exit_code == 1
    assert await whole.would() == "copy-failed"
    done = await run("force-primary", whole, *SALVAGE, *OFF)
    assert done.exit_code == 0, done.output
    assert await whole.would() == ""


@pytest.mark.parametrize(
    "command", [("resolve", "--discard", "b"), ("adopt-arbiter", *ADOPT), ("force-primary", *SALVAGE, *OFF), ("copy",)]
)
async def test_whatever_needs_a_volume_that_is_not_whole_says_what_helps(
    whole: Folder, command: tuple[str, ...]
) -> None:
    whole.volume.write_bytes(b"")
    name, *options = command
    done = await run(name, whole, *options)
    assert done.exit_code == 2
    assert "volume.img: volume.file: has no bytes, and is not a ctlha volume: it was cut short" in done.stderr
    assert f"move away what lies there, then: ctlha replace {whole.config} b" in done.stderr


@pytest.mark.parametrize(
    "command", [("resolve", "--discard", "b"), ("adopt-arbiter", *ADOPT), ("adopt-arbiter",), ("replace", "b")]
)
async def test_whatever_needs_an_arbiter_that_is_none_says_what_helps(whole: Folder, command: tuple[str, ...]) -> None:
    (whole.path / "arbiter.db").write_bytes(b"")
    name, *options = command
    if name == "replace":
        whole.volume.unlink()
    done = await run(name, whole, *options)
    assert done.exit_code == 2
    assert "arbiter.sqlite: has no bytes, and is not an arbiter's file: it was cut short" in done.stderr
    assert (
        "put the pair's own file there; if that is lost, move away what lies there, stop both nodes, then"
        in done.stderr
    )
