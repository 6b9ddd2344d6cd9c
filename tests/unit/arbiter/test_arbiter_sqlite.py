# ruff: noqa: ASYNC240  (files of a test are small and local)
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ctlha_trio._errors import ArbiterError, ConfigError, ForeignArbiterError
from ctlha_trio.arbiter import SqliteArbiter, create_sqlite_arbiter, encode_record
from ctlha_trio.arbiter._sqlite import BUSY_TIMEOUT_S, _connect
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import Arbiter
from ctlha_trio.testing._suites.arbiter_suite import ARBITER_CHECKS, ArbiterCheck, sample_record

NEXT = sample_record(epoch=8, proposal="next")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # Every character that means something in a URI.
    return tmp_path / "arbiter of a?b#c%d&mode=memory.sqlite"


async def opened(path: Path) -> SqliteArbiter:
    return await SqliteArbiter.open(path, cluster="cluster", resource="volume")


async def created(path: Path, record: Record | None = None) -> SqliteArbiter:
    create_sqlite_arbiter(path, record or sample_record())
    return await opened(path)


@contextmanager
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as other:
        yield other


@pytest.mark.parametrize("check", ARBITER_CHECKS, ids=lambda check: check.__name__)
async def test_sqlite_arbiter_conforms(check: ArbiterCheck, tmp_path: Path) -> None:
    async def make(record: Record) -> Arbiter:
        return await created(tmp_path / "arbiter.sqlite", record)

    await check(make)


async def test_created_file_is_private_and_found_again(path: Path) -> None:
    identity = create_sqlite_arbiter(path, sample_record())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert (await opened(path)).identity == identity


def test_each_file_has_an_identity_of_its_own(tmp_path: Path) -> None:
    identities = {create_sqlite_arbiter(tmp_path / name, sample_record()) for name in "abc"}
    assert len(identities) == 3
    assert all(len(identity) == 32 for identity in identities)


def test_creating_never_overwrites(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"arbiter\.sqlite: exists"):
        create_sqlite_arbiter(path, sample_record())
    assert path.read_bytes() == b"precious"


def test_creating_follows_no_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        create_sqlite_arbiter(tmp_path / "link", sample_record())
    assert not (tmp_path / "elsewhere").exists()


def test_creating_in_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ArbiterError, match="No such file"):
        create_sqlite_arbiter(tmp_path / "missing" / "arbiter.sqlite", sample_record())


def test_failed_creation_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctlha_trio.arbiter._sqlite._SCHEMA", "BEGIN IMMEDIATE; CREATE TABLE arbiter (one);")
    with pytest.raises(ArbiterError):
        create_sqlite_arbiter(path, sample_record())
    assert not list(path.parent.iterdir())


async def test_two_clients_see_each_others_swaps(path: Path) -> None:
    one, two = await created(path), await opened(path)
    assert (await one.cas(1, NEXT)).revision == 2
    assert (await two.read()).revision == 2
    assert (await two.cas(1, NEXT)).outcome is SwapOutcome.LOST
    assert (await two.cas(2, NEXT)).revision == 3


async def test_opening_and_reading_write_nothing(path: Path) -> None:
    create_sqlite_arbiter(path, sample_record())
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    await (await opened(path)).read()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_missing_file_is_a_configuration_error_and_stays_missing(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        await opened(path)
    assert (caught.value.file, caught.value.key) == (str(path), "arbiter.sqlite")
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"x", b"not a database, but long enough to look at" * 100])
async def test_file_that_is_not_ours(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not an arbiter's file"):
        await opened(path)
    assert path.read_bytes() == content


async def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        await opened(tmp_path)


async def test_database_of_somebody_else(path: Path) -> None:
    with connection(path) as other:
        other.execute("CREATE TABLE arbiter (one, identity, revision)")
    with pytest.raises(ConfigError, match="not an arbiter's file"):
        await opened(path)


@pytest.mark.parametrize(("cluster", "resource"), [("other", "volume"), ("cluster", "other")])
async def test_record_of_another_resource(path: Path, cluster: str, resource: str) -> None:
    create_sqlite_arbiter(path, sample_record())
    with pytest.raises(ConfigError, match=f"belongs to cluster/volume, not to {cluster}/{resource}"):
        await SqliteArbiter.open(path, cluster=cluster, resource=resource)


@pytest.mark.parametrize(("pragma", "problem"), [("user_version = 2", "format 2"), ("journal_mode = WAL", "wal")])
async def test_file_that_is_ours_but_not_as_we_made_it(path: Path, pragma: str, problem: str) -> None:
    create_sqlite_arbiter(path, sample_record())
    with connection(path) as other:
        other.execute(f"PRAGMA {pragma}")
    with pytest.raises(ConfigError, match=problem):
        await opened(path)


async def test_record_of_a_later_format_is_an_arbiter_error(path: Path) -> None:
    arbiter = await created(path)
    with connection(path) as other:
        other.execute("UPDATE record SET body = ?", ('{"format": 2}',))
    with pytest.raises(ArbiterError, match="format 2"):
        await arbiter.read()
    with pytest.raises(ArbiterError, match="format 2"):
        await opened(path)


async def test_unknown_fields_of_the_file_are_kept(path: Path) -> None:
    arbiter = await created(path)
    with connection(path) as other:
        later = encode_record(sample_record())[:-1] + ', "later": {"z": 1.0, "a": [ ]}}'
        other.execute("UPDATE record SET body = ?", (later,))
    found = await arbiter.read()
    await arbiter.cas(found.revision, found.record.succeed(primary="b", members=("b",), proposal="next"))
    with connection(path) as other:
        assert '"later": {"z": 1.0, "a": [ ]}' in other.execute("SELECT body FROM record").fetchone()[0]


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_locked_at_begin_is_a_certain_no(path: Path, lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctlha_trio.arbiter._sqlite.BUSY_TIMEOUT_S", 0.02)
    arbiter = await created(path)
    with connection(path) as other:
        other.execute(lock)
        assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.REFUSED
        assert not await arbiter.probe()
    assert (await arbiter.read()).revision == 1
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.WON


async def test_the_lock_comes_before_the_look_at_the_revision(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking first and locking later lets two swaps block each other up to their commits, which then are unknown."""
    monkeypatch.setattr("ctlha_trio.arbiter._sqlite.BUSY_TIMEOUT_S", 0.02)
    arbiter = await created(path)
    with connection(path) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await arbiter.cas(99, NEXT)).outcome is SwapOutcome.REFUSED


async def test_read_of_a_locked_file_is_an_arbiter_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctlha_trio.arbiter._sqlite.BUSY_TIMEOUT_S", 0.02)
    arbiter = await created(path)
    with connection(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ArbiterError, match="locked"):
            await arbiter.read()


def test_each_connection_waits_for_locks_and_makes_its_commits_durable(path: Path) -> None:
    create_sqlite_arbiter(path, sample_record())
    with closing(_connect(path)) as ours:
        assert ours.execute("PRAGMA busy_timeout").fetchone() == (BUSY_TIMEOUT_S * 1000,)
        assert ours.execute("PRAGMA synchronous").fetchone() == (3,), "not EXTRA"
        assert ours.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_error_at_commit_is_unknown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's shared lock lets BEGIN IMMEDIATE through and stops the commit."""
    monkeypatch.setattr("ctlha_trio.arbiter._sqlite.BUSY_TIMEOUT_S", 0.02)
    arbiter = await created(path)
    with connection(path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM record").fetchall()
        assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.UNKNOWN
        assert not await arbiter.probe()
    assert (await arbiter.cas(1, NEXT)).revision == 2


async def test_error_before_commit_is_a_certain_no(path: Path) -> None:
    arbiter = await created(path)
    with connection(path) as other:
        other.execute("CREATE TRIGGER no BEFORE UPDATE ON record BEGIN SELECT RAISE(FAIL, 'no'); END")
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.REFUSED
    assert (await arbiter.read()).revision == 1


async def test_file_that_vanished_is_neither_read_nor_made_again(path: Path) -> None:
    arbiter = await created(path)
    path.unlink()
    with pytest.raises(ArbiterError):
        await arbiter.read()
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.REFUSED
    assert not await arbiter.probe()
    assert not path.exists()


async def test_file_that_was_emptied_under_a_running_node_says_so(path: Path) -> None:
    arbiter = await created(path)
    path.write_bytes(b"")
    with pytest.raises(ForeignArbiterError, match="has no bytes: the pair's data is not there any more"):
        await arbiter.read()
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.REFUSED
    assert not await arbiter.probe()
    assert not path.read_bytes()


async def test_file_that_was_replaced_under_a_running_node_is_not_used(path: Path) -> None:
    arbiter = await created(path)
    path.unlink()
    create_sqlite_arbiter(path, sample_record())
    with pytest.raises(ArbiterError, match="another arbiter's data"):
        await arbiter.read()
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.REFUSED
    assert not await arbiter.probe()
    assert (await (await opened(path)).read()).revision == 1


async def test_a_probe_writes_what_is_there(path: Path) -> None:
    """Only what SQLite really writes shows that there is room: it counts each commit that did in the file's head."""
    arbiter = await created(path)
    before = path.read_bytes()
    assert await arbiter.probe()
    assert path.read_bytes()[24:28] != before[24:28], "nothing was written"


async def test_revision_goes_on_behind_a_deleted_record(path: Path) -> None:
    arbiter = await created(path)
    await arbiter.cas(1, NEXT)
    with connection(path) as other:
        body = other.execute("SELECT body FROM record").fetchone()[0]
        other.execute("DELETE FROM record")
        with pytest.raises(ArbiterError, match="no record"):
            await arbiter.read()
        assert (await arbiter.cas(2, NEXT)).outcome is SwapOutcome.REFUSED
        other.execute("INSERT INTO record VALUES (1, ?)", (body,))
    assert (await arbiter.read()).revision == 2
    assert (await arbiter.cas(2, NEXT)).revision == 3


async def test_nothing_stays_open_between_calls(path: Path) -> None:
    arbiter = await created(path)
    await arbiter.cas((await arbiter.read()).revision, NEXT)
    links = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert str(path) not in links


GONE = "there is no such file: the pair's data is not there any more"
"""What the remedy of a silent arbiter sends to."""


async def test_what_is_in_the_way_is_told_once_until_it_changes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Reads go on beside a swap that cannot be made, and say nothing of it."""
    arbiter = await created(path)
    caplog.set_level("INFO")
    with connection(path) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.REFUSED
            await arbiter.read()
        other.execute("ROLLBACK")
    assert (await arbiter.cas(1, NEXT)).outcome is SwapOutcome.WON
    hidden = path.rename(path.with_suffix(".hidden"))
    with pytest.raises(ArbiterError, match=GONE):
        await arbiter.read()
    hidden.rename(path)
    await arbiter.read()
    said = [record.getMessage() for record in caplog.records]
    locked, missing = (f"the arbiter: {path}: {problem}" for problem in ("database is locked", GONE))
    assert said == [locked, "the arbiter answers again", missing, "the arbiter answers again"]
