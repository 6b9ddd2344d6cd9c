"""What a node looks at before it writes anything: each fault is found, named, and leaves everything as it was."""

import hashlib
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio

from ctlha_trio._errors import ConfigError, NoThreadError
from ctlha_trio.arbiter import SqliteArbiter
from ctlha_trio.cli._checks import load_checked, prepare
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.door import STATUS_SOCKET
from ctlha_trio.seams import ThreadDisk, describe_key, load_key, make_key
from ctlha_trio.store import Layout

SIZE = 64 * 1024
BASE_PORT = 23_500


@attrs.frozen
class Pair:
    folder: Path

    @property
    def a(self) -> Path:
        return self.folder / "a"

    @property
    def config(self) -> Path:
        return self.a / "node.toml"

    def edit(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new, 1))

    def fingerprint(self) -> dict[str, str]:
        """Every file and its content."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in self.folder.rglob("*")
        }


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    create_pair(tmp_path / "p", NewPair(size_bytes=SIZE, link_addresses=loopback_addresses(BASE_PORT)))
    return Pair(tmp_path / "p")


async def faults_of(pair: Pair) -> list[str]:
    """Each fault as ``key: problem``; nothing was changed by looking."""
    before = pair.fingerprint()
    with trio.fail_after(20), pytest.raises(ExceptionGroup) as caught:
        await prepare(load_config(pair.config))
    assert pair.fingerprint() == before
    errors = caught.value.exceptions
    assert all(isinstance(error, ConfigError) for error in errors)
    lines = [str(error) for error in errors]
    assert all(line.startswith(f"{pair.config}: ") for line in lines)
    return [line.removeprefix(f"{pair.config}: ") for line in lines]


async def test_a_lack_of_threads_is_no_fault_of_the_configuration(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one of those a service is not started again."""

    async def lack(*_: object, **__: object) -> None:
        raise NoThreadError

    monkeypatch.setattr(SqliteArbiter, "open", lack)
    with trio.fail_after(20), pytest.raises(NoThreadError):
        await prepare(load_config(pair.config))


def remove_key(pair: Pair) -> None:
    (pair.a / "node.key").unlink()


def open_key(pair: Pair) -> None:
    (pair.a / "node.key").chmod(0o640)


def break_key(pair: Pair) -> None:
    (pair.a / "node.key").write_text("no key")


def replace_key_by_folder(pair: Pair) -> None:
    (pair.a / "node.key").unlink()
    (pair.a / "node.key").mkdir(mode=0o700)


def remove_volume(pair: Pair) -> None:
    (pair.a / "volume.img").unlink()


def shorten_volume(pair: Pair) -> None:
    with (pair.a / "volume.img").open("r+b") as file:
        file.truncate(SIZE)


def lengthen_volume(pair: Pair) -> None:
    with (pair.a / "volume.img").open("ab") as file:
        file.write(bytes(4096))


def configure_other_size(pair: Pair) -> None:
    pair.edit(f"size_bytes = {SIZE}", f"size_bytes = {SIZE * 2}")


def replace_volume_by_something(pair: Pair) -> None:
    (pair.a / "volume.img").write_bytes(b"x" * (SIZE + 64 * 1024))


def take_the_others_volume(pair: Pair) -> None:
    shutil.copy(pair.folder / "b" / "volume.img", pair.a / "volume.img")


def remove_arbiter(pair: Pair) -> None:
    (pair.folder / "arbiter.db").unlink()


def empty_arbiter(pair: Pair) -> None:
    (pair.folder / "arbiter.db").write_bytes(b"")


def replace_arbiter_by_something(pair: Pair) -> None:
    (pair.folder / "arbiter.db").write_bytes(b"x" * 8192)


def take_another_pairs_arbiter(pair: Pair) -> None:
    other = pair.folder.parent / "q"
    create_pair(other, NewPair(size_bytes=SIZE, link_addresses=loopback_addresses(BASE_PORT)))
    shutil.copy(other / "arbiter.db", pair.folder / "arbiter.db")


def take_a_new_arbiter_of_the_same_cluster(pair: Pair) -> None:
    other = pair.folder.parent / "q"
    cluster = load_config(pair.config).content.cluster
    create_pair(other, NewPair(size_bytes=SIZE, link_addresses=loopback_addresses(BASE_PORT), cluster=cluster))
    shutil.copy(other / "arbiter.db", pair.folder / "arbiter.db")


def open_folder(pair: Pair) -> None:
    pair.a.chmod(0o750)


def rename_cluster(pair: Pair) -> None:
    pair.edit(load_config(pair.config).content.cluster, "other")


def swap_ids(pair: Pair) -> None:
    pair.edit('node = "a"', 'node = "x"')


@pytest.mark.parametrize(
    ("damage", "key", "says"),
    [
        (remove_key, "link.key", "no such file"),
        (open_key, "link.key", "open to others"),
        (break_key, "link.key", "not a private key"),
        (replace_key_by_folder, "link.key", "node.key"),
        (remove_volume, "volume.file", "volume.img"),
        (shorten_volume, "volume.file", "volume.img"),
        (lengthen_volume, "volume.file", "volume.img"),
        (configure_other_size, "volume.file", str(SIZE * 2)),
        (replace_volume_by_something, "volume.file", "not a ctlha volume"),
        (take_the_others_volume, "node", "belongs to 'b'"),
        (remove_arbiter, "arbiter.sqlite", "no such file"),
        (empty_arbiter, "arbiter.sqlite", "not an arbiter's file"),
        (replace_arbiter_by_something, "arbiter.sqlite", "not an arbiter's file"),
        (take_another_pairs_arbiter, "arbiter.sqlite", "belongs to"),
        (take_a_new_arbiter_of_the_same_cluster, "arbiter.sqlite", "not the arbiter that this node belongs to"),
        (rename_cluster, "cluster", "belongs to"),
        (swap_ids, "node", "belongs to 'a'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_fault_is_found_and_names_its_key(
    pair: Pair, damage: Callable[[Pair], None], key: str, says: str
) -> None:
    damage(pair)
    faults = await faults_of(pair)
    assert any(fault.startswith(f"{key}: ") and says in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("damage", "aside"),
    [
        (remove_arbiter, False),
        (empty_arbiter, True),
        (replace_arbiter_by_something, True),
        (take_another_pairs_arbiter, True),
        (take_a_new_arbiter_of_the_same_cluster, False),
    ],
)
async def test_an_arbiter_that_is_not_the_pairs_own_is_one_message_that_says_what_helps(
    pair: Pair, damage: Callable[[Pair], None], aside: bool
) -> None:
    damage(pair)
    (fault,) = await faults_of(pair)
    helps = "stop both nodes, then on both: ctlha adopt-arbiter <its node.toml>"
    assert fault.endswith(f"; if that is lost, {'move away what lies there, ' if aside else ''}{helps}")


async def test_an_arbiter_that_this_user_may_not_write_is_not_given_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, allowed = pair.folder / "arbiter.db", os.access
    monkeypatch.setattr(os, "access", lambda asked, mode: allowed(asked, mode) and not Path(asked).samefile(path))
    (fault,) = await faults_of(pair)
    assert fault.endswith("arbiter.db: may not be read or written")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_an_arbiter_that_is_no_file_is_there_all_the_same(pair: Pair, make: Callable[[Path], None]) -> None:
    path = pair.folder / "arbiter.db"
    path.unlink()
    make(path)
    (fault,) = await faults_of(pair)
    assert "arbiter.db: is not a regular file; " in fault
    assert "move away what lies there" in fault


async def test_a_sound_node_has_no_fault_and_looking_changes_nothing(pair: Pair) -> None:
    before = pair.fingerprint()
    with trio.fail_after(20):
        await prepare(load_config(pair.config))
    assert pair.fingerprint() == before


async def test_several_faults_are_named_at_once(pair: Pair) -> None:
    for damage in (open_key, shorten_volume, remove_arbiter):
        damage(pair)
    keys = [fault.partition(": ")[0] for fault in await faults_of(pair)]
    assert keys == ["link.key", "volume.file", "arbiter.sqlite"]


async def test_a_folder_open_to_others(pair: Pair) -> None:
    open_folder(pair)
    (fault,) = await faults_of(pair)
    assert "mode 0750" in fault
    assert str(pair.a) in fault


async def test_a_volume_that_is_missing_is_one_message_that_says_what_helps(pair: Pair) -> None:
    remove_volume(pair)
    (fault,) = await faults_of(pair)
    assert fault == (
        f"volume.file: there is no {pair.a / 'volume.img'}: mount the disk that it is on, or put the file back, "
        "only the file itself, never a copy from before, whose old data may be served unnoticed; "
        f"if the file is lost and node b has a copy that counts: ctlha replace {pair.config} a"
    )


async def test_a_port_in_use(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", BASE_PORT)):
        (fault,) = await faults_of(pair)
    assert fault.startswith(f"link.listen: cannot listen on 127.0.0.1:{BASE_PORT}: ")
    assert "in use" in fault


async def test_a_volume_in_use(pair: Pair) -> None:
    held = await ThreadDisk().open(str(pair.a / "volume.img"))
    (fault,) = await faults_of(pair)
    held.close()
    assert fault.startswith("volume.file: ")
    assert "in use" in fault


async def test_a_node_that_is_already_running(pair: Pair) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(pair.a / STATUS_SOCKET))
        living.listen()
        with pytest.raises(ExceptionGroup) as caught:
            await prepare(load_config(pair.config))
    (error,) = caught.value.exceptions
    assert str(error).startswith(f"{pair.config}: node: a is already running")
    assert str(error).endswith("where it answers nothing it is stopped or hangs: let it go on, or kill it")


async def test_a_dead_nodes_socket_is_no_fault(pair: Pair) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(pair.a / STATUS_SOCKET))
        dead.listen()
    with trio.fail_after(20):
        await prepare(load_config(pair.config))


async def test_a_path_too_long_for_a_socket(pair: Pair) -> None:
    long = pair.folder.parent / ("x" * 100)
    shutil.copytree(pair.folder, long)
    (fault,) = await faults_of(Pair(long))
    assert fault == (
        f"its folder {long / 'a'} is too long for a node's sockets: its whole path has {len(str(long / 'a'))} bytes, "
        "of at most 95; move it to a place with a shorter path"
    )


async def test_a_folder_that_may_not_be_written(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node there would run without its sockets, and nobody could ask it anything."""
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda asked, mode: allowed(asked, mode) and Path(asked) != pair.a)
    (fault,) = await faults_of(pair)
    assert fault == f"its folder {pair.a} may not be written, and its sockets and its log of decisions are made there"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_a_log_of_decisions_that_is_no_file(pair: Pair, make: Callable[[Path], None]) -> None:
    """Nothing that a person asks of such a node could be done."""
    log = pair.a / "decisions.jsonl"
    make(log)
    assert await faults_of(pair) == [f"{log} exists and is not a regular file"]


async def test_a_log_of_decisions_may_be_kept_elsewhere(pair: Pair) -> None:
    (pair.folder / "kept.jsonl").touch()
    (pair.a / "decisions.jsonl").symlink_to(pair.folder / "kept.jsonl")
    with trio.fail_after(20):
        await prepare(load_config(pair.config))


def test_faults_of_the_folder_are_told_with_those_of_the_text(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    long = Pair(pair.folder.parent / ("x" * 100))
    shutil.copytree(pair.folder, long.folder)
    long.edit('node = "a"', "node = 7")
    open_folder(long)
    (long.a / "data.sock").touch()
    (long.a / "decisions.jsonl").mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda asked, mode: allowed(asked, mode) and Path(asked) != long.a)
    with pytest.raises(ExceptionGroup) as caught:
        load_checked(long.config)
    told = [
        str(error).removeprefix(f"{long.config}: ").replace(str(long.a), "FOLDER") for error in caught.value.exceptions
    ]
    assert [line.partition(", ")[0].partition(" bytes")[0].rstrip("0123456789") for line in told] == [
        "node: must be text in quotes",
        "its folder FOLDER is open to others (mode 0750): chmod 700 FOLDER",
        "its folder FOLDER may not be written",
        "its folder FOLDER is too long for a node's sockets: its whole path has ",
        "FOLDER/data.sock exists and is not a socket",
        "FOLDER/decisions.jsonl exists and is not a regular file",
    ]


async def test_another_key_of_our_own_is_not_a_fault_that_can_be_seen_here(pair: Pair) -> None:
    """Only the peer can tell: it has the pin. So this is found when the two meet."""
    (pair.a / "node.key").write_bytes(make_key())
    with trio.fail_after(20):
        await prepare(load_config(pair.config))


def copy_the_others_key(pair: Pair) -> None:
    shutil.copy(pair.folder / "b" / "node.key", pair.a / "node.key")


def pin_both_keys(pair: Pair) -> None:
    own = describe_key(load_key(pair.a / "node.key"))
    pair.edit('pins = ["', f'pins = ["{own}", "')


@pytest.mark.parametrize("confuse", [copy_the_others_key, pin_both_keys])
async def test_a_node_with_the_key_of_its_peer_is_told_so_before_it_starts(
    pair: Pair, confuse: Callable[[Pair], None]
) -> None:
    """It would reach nobody, for each refuses the other, and serve alone."""
    confuse(pair)
    own = describe_key(load_key(pair.a / "node.key"))
    (fault,) = await faults_of(pair)
    assert fault == (
        f"peer.pins: has {own}, which is the key of this node itself, in {pair.a / 'node.key'}: pin that of the other "
        "node, which has its own"
    )
    pair.edit('node = "a"', "node = 1")
    with pytest.raises(ExceptionGroup) as caught:
        load_checked(pair.config)
    told = [str(error).removeprefix(f"{pair.config}: ") for error in caught.value.exceptions]
    assert told[0].startswith("node: ")
    assert told[1:] == [fault]


def cut_to_nothing(pair: Pair) -> None:
    (pair.a / "volume.img").write_bytes(b"")


def cut_within_the_head(pair: Pair) -> None:
    os.truncate(pair.a / "volume.img", 1000)


@pytest.mark.parametrize("damage", [cut_to_nothing, cut_within_the_head, shorten_volume])
async def test_a_volume_that_is_not_whole_is_one_message_that_says_what_helps(
    pair: Pair, damage: Callable[[Pair], None]
) -> None:
    damage(pair)
    (fault,) = await faults_of(pair)
    assert fault.startswith(f"volume.file: {pair.a / 'volume.img'}: has ")
    assert fault.endswith(
        "; put the whole file back, only the file itself, never a copy from before, whose old data may be served "
        "unnoticed; do not make it longer, for what was cut off would read as zeros; if the file is lost and node b "
        f"has a copy that counts, move away what lies there, then: ctlha replace {pair.config} a"
    )


async def test_a_volume_that_has_grown_is_put_right_by_what_its_message_names(pair: Pair) -> None:
    lengthen_volume(pair)
    (fault,) = await faults_of(pair)
    problem, _, command = fault.rpartition("; what puts it right, and loses nothing: ")
    assert problem.endswith("it has grown")
    whole, path = Layout(SIZE).file_bytes, pair.a / "volume.img"
    assert command == f"truncate -s '<{whole}' {path}"
    await trio.run_process(["sh", "-c", command])
    assert path.stat().st_size == whole
    os.truncate(path, whole - 1)
    await trio.run_process(["sh", "-c", command])
    assert path.stat().st_size == whole - 1, "what was cut off would read as zeros"
    os.truncate(path, whole)
    with trio.fail_after(20):
        await prepare(load_config(pair.config))


async def test_a_size_that_was_changed_is_to_be_set_back_and_nothing_is_made_anew(pair: Pair) -> None:
    configure_other_size(pair)
    (fault,) = await faults_of(pair)
    assert fault.endswith(f"says {SIZE * 2}, and the volume was made with {SIZE} bytes: set it back to that")


async def test_a_size_that_was_changed_to_that_of_a_file_which_was_cut_serves_nothing(pair: Pair) -> None:
    os.truncate(pair.a / "volume.img", Layout(SIZE // 2).file_bytes)
    pair.edit(f"size_bytes = {SIZE}", f"size_bytes = {SIZE // 2}")
    (fault,) = await faults_of(pair)
    assert f"the volume was made with {SIZE} bytes: set it back to that; and the file has " in fault
    pair.edit(f"size_bytes = {SIZE // 2}", f"size_bytes = {SIZE}")
    (fault,) = await faults_of(pair)
    assert "it was cut short; put the whole file back" in fault


async def test_an_arbiter_of_no_bytes_says_so(pair: Pair) -> None:
    empty_arbiter(pair)
    (fault,) = await faults_of(pair)
    assert "arbiter.db: has no bytes, and is not an arbiter's file: it was cut short, or never was one; " in fault
