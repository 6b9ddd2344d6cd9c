"""``ctlha replace`` in this process: the copy that it makes, and what it refuses."""

import hashlib
import json
import os
import socket
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from ctlha_trio.arbiter import SqliteArbiter
from ctlha_trio.cli import main
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.pair import Copy, Record, SwapOutcome
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import BlockStore

SIZE_BYTES = 1 << 20


@attrs.frozen
class Folder:
    """A pair that does not run, and whose node b has lost its disk."""

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

    def fingerprint(self) -> dict[Path, str]:
        files = [path for path in self.path.rglob("*") if path.is_file()]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    new = NewPair(size_bytes=SIZE_BYTES, link_addresses=loopback_addresses(7900))
    create_pair(tmp_path / "p", new)
    (tmp_path / "p" / "b" / "volume.img").unlink()
    return Folder(tmp_path / "p", new.cluster)


def replace(folder: Folder, node: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["replace", str(folder.config), node, *options])


@pytest.mark.parametrize("members", [("a",), ("a", "b")])
async def test_the_new_copy_knows_the_record_and_holds_nothing(folder: Folder, members: tuple[str, ...]) -> None:
    record = await folder.set_members(*members)
    arbiter = await folder.arbiter()
    done = await trio.to_thread.run_sync(replace, folder, "b")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"done; start it: ctlha node {folder.config}"
    store = await BlockStore.open(ThreadDisk(), str(folder.volume), size_bytes=SIZE_BYTES, clock=TrioClock())
    store.close()
    metadata = store.metadata
    assert (metadata.node, metadata.cluster, metadata.resource) == ("b", folder.cluster, "volume")
    assert (metadata.epoch, metadata.lineage, metadata.members) == (record.epoch, record.lineage, record.members)
    assert (metadata.arbiter, metadata.revision) == (arbiter.identity, (await arbiter.read()).revision)
    assert metadata.copy is Copy.FAILED
    assert folder.volume.stat().st_mode & 0o777 == 0o600
    assert (await arbiter.read()).record == record
    lines = [json.loads(line) for line in folder.decisions.read_text().splitlines()]
    assert [(line["decision"], line["outcome"], line["uid"]) for line in lines] == [
        ("replace", "asked", os.getuid()),
        ("replace", "done", os.getuid()),
    ]
    assert lines[0]["before"]["epoch"] == record.epoch


def test_a_dry_run_changes_nothing(folder: Folder) -> None:
    before = folder.fingerprint()
    done = replace(folder, "b", "--dry-run")
    assert (done.exit_code, folder.fingerprint()) == (0, before)
    assert done.stdout.splitlines() == [
        "record   unchanged: epoch 1, primary a, members a b",
        f"node b: a new copy that holds nothing, {SIZE_BYTES} bytes, {folder.volume}",
        "node a: its copy is copied there whole; until then no other holds what was acknowledged",
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


@pytest.mark.parametrize("node", ["a", "c"])
def test_the_node_must_be_that_of_the_configuration(folder: Folder, node: str) -> None:
    done = replace(folder, node)
    assert done.exit_code == 2
    assert f"a disk is replaced on its own node, by {node}'s configuration" in done.stderr
    assert not folder.volume.exists()


def test_a_node_that_runs_is_left_alone(folder: Folder) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(folder.path / "b" / "status.sock"))
        listening.listen()
        done = replace(folder, "b")
    assert (done.exit_code, done.stderr) == (1, "node b runs; stop it first\n")
    assert not folder.volume.exists()


def test_without_an_arbiter_nothing_is_made(folder: Folder) -> None:
    (folder.path / "arbiter.db").unlink()
    assert replace(folder, "b").exit_code == 2
    assert not folder.volume.exists()


def test_what_cannot_be_logged_is_not_done(folder: Folder) -> None:
    folder.decisions.mkdir()
    assert replace(folder, "b").exit_code == 1
    assert not folder.volume.exists()
