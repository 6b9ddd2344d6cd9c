# ruff: noqa: ASYNC240  (files of a test are small and local)
import stat
from pathlib import Path

import attrs
import pytest
import trio

from ctlha_trio._errors import ArbiterError, ConfigError, StoreError
from ctlha_trio.arbiter import (
    CreatedRecord,
    EtcdAccess,
    EtcdArbiter,
    SqliteArbiter,
    create_etcd_record,
    remove_etcd_record,
)
from ctlha_trio.cli import _init as init_module
from ctlha_trio.cli._checks import Prepared, prepare
from ctlha_trio.cli._config import EtcdTable, load_config
from ctlha_trio.cli._init import NewPair, create_pair, create_pair_in_etcd, loopback_addresses
from ctlha_trio.pair import Record
from ctlha_trio.store import create_store_file, read_volume

SIZE = 64 * 1024


def new_pair(base_port: int = 23_400) -> NewPair:
    return NewPair(size_bytes=SIZE, link_addresses=loopback_addresses(base_port))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_working_directory_that_is_gone_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"^pair: the working directory is gone"):
        create_pair(Path("pair"), new_pair())
    create_pair(tmp_path / "pair", new_pair())


def test_the_files_and_their_modes(tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    create_pair(folder, new_pair())
    assert {str(path.relative_to(folder)) for path in folder.rglob("*")} == {
        "a",
        "a/node.toml",
        "a/node.key",
        "a/volume.img",
        "b",
        "b/node.toml",
        "b/node.key",
        "b/volume.img",
        "arbiter.db",
    }
    for node in ("a", "b"):
        assert mode_of(folder / node) == 0o700
        assert mode_of(folder / node / "node.key") == 0o600
        assert mode_of(folder / node / "volume.img") == 0o600


def test_the_configurations_fit_together(tmp_path: Path) -> None:
    create_pair(tmp_path, new_pair(7900))
    a, b = (load_config(tmp_path / node / "node.toml").content for node in ("a", "b"))
    assert (a.node, a.peer.node, b.node, b.peer.node) == ("a", "b", "b", "a")
    assert (a.link.listen, a.peer.address) == ("127.0.0.1:7900", "127.0.0.1:7902")
    assert (b.link.listen, b.peer.address) == (a.peer.address, a.link.listen)
    assert a.cluster == b.cluster
    assert a.peer.pins != b.peer.pins
    assert a.volume.size_bytes == b.volume.size_bytes == SIZE


def test_each_node_knows_only_its_own_key(tmp_path: Path) -> None:
    create_pair(tmp_path, new_pair())
    keys = {node: (tmp_path / node / "node.key").read_bytes() for node in ("a", "b")}
    assert keys["a"] != keys["b"]
    assert all(b"PRIVATE" not in path.read_bytes() for path in tmp_path.rglob("node.toml"))


async def test_what_was_made_passes_every_check_of_a_node(tmp_path: Path) -> None:
    create_pair(tmp_path, new_pair())
    with trio.fail_after(20):
        for node in ("a", "b"):
            prepared = await prepare(load_config(tmp_path / node / "node.toml"))
            found = await prepared.arbiter.read()
            assert (found.revision, found.record.epoch) == (1, 1)
            assert (found.record.primary, found.record.members) == ("a", ("a", "b"))


def test_both_copies_are_zero(tmp_path: Path) -> None:
    create_pair(tmp_path, new_pair())
    for node in ("a", "b"):
        pieces = [data for _, data in read_volume(str(tmp_path / node / "volume.img"), size_bytes=SIZE)]
        assert b"".join(pieces) == bytes(SIZE)


def test_two_pairs_share_no_name(tmp_path: Path) -> None:
    create_pair(tmp_path / "1", new_pair())
    create_pair(tmp_path / "2", new_pair())
    one, two = (load_config(tmp_path / pair / "a" / "node.toml").content for pair in ("1", "2"))
    assert one.cluster != two.cluster


async def test_a_foreign_arbiter_is_told_apart(tmp_path: Path) -> None:
    create_pair(tmp_path / "1", new_pair())
    config = load_config(tmp_path / "1" / "a" / "node.toml").content
    with pytest.raises(ConfigError):
        await SqliteArbiter.open(tmp_path / "1" / "arbiter.db", cluster="other", resource=config.resource)


def test_an_empty_folder_is_used_and_one_that_is_not_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    create_pair(tmp_path / "empty", new_pair())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(ConfigError, match="not empty"):
        create_pair(tmp_path / "full", new_pair())
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="Not a directory"):
        create_pair(tmp_path / "file", new_pair())
    assert (tmp_path / "file").read_text() == "x"


def test_a_parent_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        create_pair(tmp_path / "no" / "pair", new_pair())
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("error", [StoreError("disk full"), KeyboardInterrupt()])
def test_what_was_made_is_gone_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool, error: BaseException
) -> None:
    folder = tmp_path / "pair"
    if existed:
        folder.mkdir()
    create = create_store_file
    made: list[str] = []

    def fail_at_the_second(path: str, *arguments: object) -> None:
        made.append(path)
        if len(made) == 2:
            raise error
        create(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(init_module, "create_store_file", fail_at_the_second)
    with pytest.raises(type(error)):
        create_pair(folder, new_pair())
    assert folder.exists() is existed
    assert not list(tmp_path.rglob("*.*"))


@pytest.fixture
def etcd_access(etcd_endpoint: str) -> EtcdAccess:
    return EtcdAccess(endpoints=(etcd_endpoint,))


async def prepared(folder: Path) -> list[Prepared]:
    with trio.fail_after(20):
        return [await prepare(load_config(folder / node / "node.toml")) for node in ("a", "b")]


async def test_a_pair_whose_record_is_in_etcd(tmp_path: Path, etcd_access: EtcdAccess) -> None:
    await create_pair_in_etcd(tmp_path, new_pair(), etcd_access)
    assert {path.name for path in tmp_path.rglob("*.*")} == {"node.toml", "node.key", "volume.img"}
    a, b = [one.arbiter for one in await prepared(tmp_path)]
    found = await a.read()
    assert a.identity == b.identity
    assert found == await b.read()
    assert (found.record.epoch, found.record.primary, found.record.members) == (1, "a", ("a", "b"))


async def test_the_files_for_etcd_are_named_in_both_configurations(
    tmp_path: Path, etcd_access: EtcdAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / 'a "b" \\ \N{SNOWMAN} \N{GRINNING FACE}'
    odd.touch(mode=0o600)
    odd.write_text("user:password\n")
    access = attrs.evolve(etcd_access, credentials=odd)

    async def created(_: EtcdAccess, __: Record) -> CreatedRecord:
        return CreatedRecord("x-y", 7)

    monkeypatch.setattr(init_module, "create_etcd_record", created)
    monkeypatch.chdir(tmp_path)
    await create_pair_in_etcd(tmp_path / "p", new_pair(), attrs.evolve(access, credentials=Path(odd.name)))
    for node in ("a", "b"):
        loaded = load_config(tmp_path / "p" / node / "node.toml")
        assert isinstance(loaded.content.arbiter, EtcdTable)
        assert loaded.etcd_access(loaded.content.arbiter) == access


async def test_a_path_that_no_configuration_can_hold(tmp_path: Path, etcd_access: EtcdAccess) -> None:
    access = attrs.evolve(etcd_access, credentials=tmp_path / "line\nbreak")
    with pytest.raises(ConfigError, match="cannot be written to a configuration"):
        await create_pair_in_etcd(tmp_path / "p", new_pair(), access)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("error", [StoreError("disk full"), KeyboardInterrupt()])
async def test_the_record_in_etcd_is_gone_after_a_failure(
    tmp_path: Path, etcd_access: EtcdAccess, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(init_module, "create_store_file", fail)
    new = new_pair()
    with pytest.raises(type(error)):
        await create_pair_in_etcd(tmp_path / "p", new, etcd_access)
    assert not (tmp_path / "p").exists()
    arbiter = EtcdArbiter.open(etcd_access, cluster=new.cluster, resource="volume", identity="x-y")
    with pytest.raises(ArbiterError, match="etcd holds no record"):
        await arbiter.read()


async def test_another_pairs_record_is_not_overwritten(tmp_path: Path, etcd_access: EtcdAccess) -> None:
    new = new_pair()
    await create_pair_in_etcd(tmp_path / "1", new, etcd_access)
    with pytest.raises(ConfigError, match="exists; it is not overwritten"):
        await create_pair_in_etcd(tmp_path / "2", new, etcd_access)
    assert not (tmp_path / "2").exists()
    await prepared(tmp_path / "1")


async def test_a_node_starts_without_an_etcd_that_is_silent(
    tmp_path: Path, etcd_access: EtcdAccess, caplog: pytest.LogCaptureFixture
) -> None:
    await create_pair_in_etcd(tmp_path, new_pair(), etcd_access)
    for config in tmp_path.rglob("node.toml"):
        config.write_text(config.read_text().replace(etcd_access.endpoints[0], "http://127.0.0.1:1"))
    await prepared(tmp_path)
    assert "the arbiter: http://127.0.0.1:1: no connection: Connection refused" in caplog.messages


async def test_faults_that_only_etcd_can_tell(tmp_path: Path, etcd_access: EtcdAccess) -> None:
    for name in ("1", "2"):
        await create_pair_in_etcd(tmp_path / name, new_pair(), etcd_access)
    config = tmp_path / "1" / "a" / "node.toml"
    clusters = [load_config(tmp_path / name / "a" / "node.toml").content.cluster for name in ("1", "2")]
    config.write_text(config.read_text().replace(clusters[0], clusters[1]))
    with pytest.raises(ExceptionGroup) as caught:
        await prepare(load_config(config))
    faults = [str(error).removeprefix(f"{config}: ") for error in caught.value.exceptions]
    assert [fault.partition(": ")[0] for fault in faults] == ["cluster", "arbiter.endpoints"]
    assert "another arbiter's data" in faults[1]
    assert faults[1].endswith("if that is lost, stop both nodes, then on both: ctlha adopt-arbiter <its node.toml>")


async def test_a_node_whose_record_in_etcd_is_gone_names_the_command_that_helps(
    tmp_path: Path, etcd_access: EtcdAccess
) -> None:
    new = new_pair()
    await create_pair_in_etcd(tmp_path, new, etcd_access)
    found = await EtcdArbiter.discover(etcd_access, cluster=new.cluster, resource="volume")
    assert found is not None
    record = (await found.read()).record
    await remove_etcd_record(etcd_access, record, CreatedRecord(found.identity, 1))
    with pytest.raises(ExceptionGroup) as caught:
        await prepare(load_config(tmp_path / "a" / "node.toml"))
    (fault,) = caught.value.exceptions
    assert "arbiter.endpoints: etcd holds no record at " in str(fault)
    assert str(fault).endswith("if that is lost, stop both nodes, then on both: ctlha adopt-arbiter <its node.toml>")


async def test_a_node_that_was_abandoned_with_another_etcd_names_the_command_that_helps(
    tmp_path: Path, etcd_access: EtcdAccess
) -> None:
    new = new_pair()
    await create_pair_in_etcd(tmp_path, new, etcd_access)
    found = await EtcdArbiter.discover(etcd_access, cluster=new.cluster, resource="volume")
    assert found is not None
    record = (await found.read()).record
    await remove_etcd_record(etcd_access, record, CreatedRecord(found.identity, 1))
    await create_etcd_record(etcd_access, record.fork(primary="a", lineage="later", proposal="p"))
    config = tmp_path / "b" / "node.toml"
    with pytest.raises(ExceptionGroup) as caught:
        await prepare(load_config(config))
    (fault,) = caught.value.exceptions
    assert "arbiter.endpoints: another arbiter's data lies at " in str(fault)
    assert f"whose copy was abandoned by that: ctlha resolve {config} --discard b" in str(fault)
