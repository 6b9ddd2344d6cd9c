import stat
from pathlib import Path

import pytest
import trio

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio.arbiter import SqliteArbiter
from ctlha_trio.cli import _init as init_module
from ctlha_trio.cli._checks import prepare
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.store import create_store_file, read_volume

SIZE = 64 * 1024


def new_pair(base_port: int = 23_400) -> NewPair:
    return NewPair(size_bytes=SIZE, link_addresses=loopback_addresses(base_port))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


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
