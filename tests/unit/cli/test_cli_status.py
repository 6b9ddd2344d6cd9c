"""What ``ctlha status`` prints, what it prints of changes, and what helps against each reason."""

import errno
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from io import FileIO, TextIOWrapper
from pathlib import Path
from socket import socketpair

import attrs
import pytest
import trio
from click.testing import CliRunner

from ctlha_trio._errors import ConfigError
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._main import main
from ctlha_trio.cli._remedies import note_remedy_for, obstacle_remedy_for, remedy_for, setback_remedy_for
from ctlha_trio.cli._run import EXIT_UNWRITTEN
from ctlha_trio.cli._status import describe_change, describe_status, watch_status
from ctlha_trio.door import STATUS_SOCKET
from ctlha_trio.ha import Note, Reason
from ctlha_trio.pair import Obstacle, Setback
from ctlha_trio.wire._hello import PROTOCOL_VERSION_MAX

OPERATE = Path(__file__).parents[3] / "docs" / "operate.md"
Named = Reason | Note | Obstacle | Setback
NAMED: list[Named] = [*Reason, *Note, *Obstacle, *Setback]
STATUS: dict[str, object] = {
    "verdict": "degraded",
    "reasons": ["peer-lost", "arbiter-silent"],
    "notes": ["shared-failure-domain"],
    "node": "a",
    "role": "primary",
    "state": "CTL_HA_STATE_SINGLE",
    "epoch": 2,
    "link": "unknown",
    "arbiter": "unknown",
    "resync_bytes_left": 4096,
    "transitions": [{"at_s": 1.0, "what": "alone: secured", "epoch": 2}],
}


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    create_pair(tmp_path / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(7900)))
    return load_config(tmp_path / "p" / "a" / "node.toml")


@pytest.mark.parametrize("command", ["status", "status --watch", "verify", "switchover", "force-primary --abandon b"])
def test_a_node_of_another_user_is_not_said_to_be_down(
    loaded: LoadedConfig, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: str) -> trio.SocketStream:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(trio, "open_unix_socket", refuse)
    name, *options = command.split()
    ran = CliRunner().invoke(main, [name, str(loaded.file), *options])
    told = f"{loaded.folder / STATUS_SOCKET}: access is denied: ask as the user whose node it is\n"
    assert (ran.exit_code, ran.stderr) == (2, told)


def test_status_says_the_verdict_first_then_the_reasons_then_what_helps(loaded: LoadedConfig) -> None:
    lines = describe_status(STATUS, loaded).splitlines()
    assert lines[0] == "degraded: peer-lost, arbiter-silent"
    assert "node a" in lines[1]
    assert lines[2] == "  4096 bytes left to resync"
    assert lines[3] == (
        "  peer-lost: start the other node, b; if it runs, see there what keeps it away: ctlha status <its node.toml>; "
        "if nothing but the link does, mend that"
    )
    assert lines[4].startswith("  arbiter-silent: bring the arbiter back")
    assert lines[5].startswith("  note: shared-failure-domain: the arbiter dies with one of the nodes")
    assert len(lines) == 6
    assert describe_status({"verdict": "protected", "reasons": []}, loaded).splitlines()[0] == "protected"


def test_the_time_that_a_resync_still_takes_is_told_as_what_it_is(loaded: LoadedConfig) -> None:
    line = describe_status({**STATUS, "resync_left_s": 75}, loaded).splitlines()[2]
    assert line == "  4096 bytes left to resync, about 1 min 15 s at the pace of the last seconds"
    assert describe_status({**STATUS, "resync_left_s": None}, loaded) == describe_status(STATUS, loaded)


def test_what_components_wait_for_is_told_before_what_helps(loaded: LoadedConfig) -> None:
    waits = [
        {"component": "pool", "reason": "component-waits", "why": "the log is replayed", "left_s": 4.2},
        {"component": "log", "reason": "component-needs-fence", "why": "b has it", "left_s": None},
    ]
    said = {**STATUS, "reasons": ["component-waits"], "component_waits": waits}
    lines = describe_status(said, loaded).splitlines()
    assert lines[3:5] == ["  component pool: the log is replayed, about 5 s left", "  component log: b has it"]
    assert lines[5].startswith("  component-waits: wait: each component")
    assert describe_status({**STATUS, "component_waits": []}, loaded) == describe_status(STATUS, loaded)


def test_the_version_that_a_session_speaks_is_said_beside_the_link(loaded: LoadedConfig) -> None:
    line = describe_status({**STATUS, "link": "online", "link_version": 1}, loaded).splitlines()[1]
    assert "link online, version 1   arbiter" in line
    without = describe_status({**STATUS, "link": "unknown", "link_version": None}, loaded).splitlines()[1]
    assert "link unknown   arbiter" in without


def test_what_the_heartbeats_tell_is_said_while_there_is_a_session(loaded: LoadedConfig) -> None:
    told = {**STATUS, "round_trip_s": 0.00034, "heartbeat_late_s": 0.0021, "peer_heartbeat_late_s": 0.41}
    line = describe_status(told, loaded).splitlines()[2]
    assert line == "  heartbeats: round trip 0.3 ms   lately late by up to 2.1 ms here, 410.0 ms at the peer"
    line = describe_status({**told, "peer_heartbeat_late_s": None}, loaded).splitlines()[2]
    assert line.endswith("lately late by up to 2.1 ms here, not told by the peer")
    for name in ("round_trip_s", "heartbeat_late_s"):
        assert describe_status({**told, name: None}, loaded) == describe_status(STATUS, loaded)


def test_transfers_are_told_of_those_who_had_any(loaded: LoadedConfig) -> None:
    none = {
        "pushed_bytes_in": 0,
        "pushed_bytes_out": 0,
        "pulled_bytes_in": 0,
        "pulled_bytes_out": 0,
        "denied_transfers": 0,
        "failed_transfers": 0,
    }
    ctl = {
        "pushed_bytes_in": 1,
        "pushed_bytes_out": 2,
        "pulled_bytes_in": 3,
        "pulled_bytes_out": 4,
        "denied_transfers": 5,
        "failed_transfers": 6,
    }
    lines = describe_status({**STATUS, "transfers": {"pair": none, "ctl": ctl, "zfs": none}}, loaded).splitlines()
    assert lines[3] == (
        "  transfers of ctl: 2 bytes pushed, 3 pulled, 5 denied, 6 failed; by the peer 1 bytes pushed, 4 pulled"
    )
    assert [*lines[:3], *lines[4:]] == describe_status(STATUS, loaded).splitlines()
    assert describe_status({**STATUS, "transfers": None}, loaded) == describe_status(STATUS, loaded)


def test_settings_that_differ_are_named_with_both_values(loaded: LoadedConfig) -> None:
    differing = [
        {"name": "policy.hold_down_s", "here": "60", "peer": "30"},
        {"name": "policy.preferred", "here": "", "peer": "a"},
    ]
    told = {**STATUS, "notes": ["settings-differ"], "differing_settings": differing}
    lines = describe_status(told, loaded).splitlines()
    assert lines[3:5] == [
        "  policy.hold_down_s differs: 60 here, 30 at the peer",
        "  policy.preferred differs: not set here, a at the peer",
    ]
    assert lines[-1].startswith(
        "  note: settings-differ: make the settings that differ the same in both configurations"
    )


def test_a_reason_or_note_of_a_later_version_is_printed_without_help(loaded: LoadedConfig) -> None:
    said: dict[str, object] = {"verdict": "degraded", "reasons": ["from-the-future"], "notes": ["so-is-this"]}
    lines = describe_status(said, loaded).splitlines()
    assert lines[0] == "degraded: from-the-future"
    assert lines[2:] == ["  note: so-is-this"]


def helps_against(name: Named, *, node: str = "a", peer: str = "b") -> str:
    match name:
        case Reason():
            return remedy_for(name.value, config="CONFIG", node=node, peer=peer)
        case Note():
            return note_remedy_for(name.value, config="CONFIG", node=node, peer=peer)
        case Obstacle():
            return obstacle_remedy_for(name.value, config="CONFIG", node=node, peer=peer)
        case Setback():
            return setback_remedy_for(name.value, config="CONFIG", node=node, peer=peer)


every_name = pytest.mark.parametrize("name", NAMED, ids=lambda name: f"{type(name).__name__}-{name.value}")


@every_name
def test_everything_that_is_said_has_what_helps(name: Named) -> None:
    assert helps_against(name)
    assert not re.search("[{}]", helps_against(name))


@every_name
def test_what_helps_is_at_most_one_command_and_one_that_there_is(name: Named) -> None:
    commands = set(re.findall(r"\bctlha ([a-z-]+)", helps_against(name)))
    assert len(commands) <= 1
    assert commands <= set(main.commands)


@every_name
def test_no_sentence_is_too_long_for_whoever_was_woken_up(name: Named) -> None:
    sentences = re.split(r"[.;] ", helps_against(name))
    assert [each for each in sentences if len(each.split()) > 30] == []


@pytest.mark.parametrize("reason", [Reason.CLAIMING, Reason.ARBITER_WENT_BACK, Reason.STORE_FAILED])
def test_where_the_node_serves_nobody_it_is_told_what_that_is_to_clients(reason: Reason) -> None:
    is_so, clients, *_ = helps_against(reason).split(". ")
    assert "clients" in is_so + clients


def test_what_has_to_be_done_first_is_told_first() -> None:
    """Nobody starts a node whose arbiter's file is gone, or stops one whose file is."""
    order = {reason: place for place, reason in enumerate(Reason)}
    starts = [each for each in Reason if re.search(r"start (the other )?node, ?b|start node b", helps_against(each))]
    stops = [each for each in Reason if "stop this node" in helps_against(each) or "stop both" in helps_against(each)]
    assert {Reason.PEER_LOST, Reason.OUTDATED, Reason.WAITING_FOR_PEER} <= set(starts)
    assert [each for each in starts if order[each] < order[Reason.ARBITER_SILENT]] == []
    assert [each for each in stops if order[each] < order[Reason.FILE_GONE]] == []


@pytest.mark.parametrize("name", [*Obstacle, *Setback])
def test_whoever_cannot_hand_the_role_over_is_given_a_command(name: Named) -> None:
    assert "ctlha " in helps_against(name)


def test_what_helps_names_the_nodes_and_the_configuration() -> None:
    assert remedy_for("leaving", config="x/node.toml", node="a", peer="b").endswith(": ctlha node x/node.toml")
    outdated = remedy_for("outdated", config="x/node.toml", node="a", peer="b")
    assert outdated.endswith(": ctlha force-primary x/node.toml --abandon b")
    not_whole = remedy_for("copy-not-whole", config="x/node.toml", node="a", peer="b")
    assert not_whole.endswith("stop this node, then: ctlha force-primary x/node.toml --abandon b --salvage")


def test_of_two_stopped_nodes_the_one_to_choose_is_told_by_what_they_print_themselves() -> None:
    """Their status is none, or says epoch 0; and the node that says this need not be the one to keep."""
    helps = helps_against(Reason.ARBITER_WENT_BACK)
    assert "status" not in helps
    assert "on both: ctlha adopt-arbiter <its node.toml>, which prints both copies. If they do not agree" in helps
    assert "CONFIG" not in helps


@every_name
def test_the_page_for_operators_has_all_of_it_and_the_same_help(name: Named) -> None:
    helps = helps_against(name, node="NODE", peer="PEER")
    assert f"| `{name.value}` | {helps} |" in OPERATE.read_text()


def test_the_first_look_is_a_line_and_one_that_is_the_same_is_none() -> None:
    (line,) = describe_change(None, STATUS)
    assert line.startswith("degraded: peer-lost, arbiter-silent   role primary")
    assert list(describe_change(STATUS, STATUS)) == []
    assert list(describe_change(STATUS, {**STATUS, "resync_bytes_left": 1})) == []


def test_a_change_is_told_with_what_happened_between_two_looks() -> None:
    later = {
        **STATUS,
        "verdict": "protected",
        "reasons": [],
        "epoch": 3,
        "transitions": [
            {"at_s": 1.0, "what": "alone: secured", "epoch": 2},
            {"at_s": 2.0, "what": "admitting: everything is copied", "epoch": 2},
            {"at_s": 2.1, "what": "mirroring: peer is a member", "epoch": 3},
        ],
    }
    assert list(describe_change(STATUS, later)) == [
        "  admitting: everything is copied, epoch 2",
        "  mirroring: peer is a member, epoch 3",
        "protected   role primary   state CTL_HA_STATE_SINGLE   epoch 3   link unknown   arbiter unknown",
    ]


def test_a_node_that_stops_answering_and_returns() -> None:
    assert list(describe_change(None, {})) == ["no answer"]
    assert list(describe_change({}, {})) == []
    assert list(describe_change(STATUS, {})) == ["no answer"]
    assert len(list(describe_change({}, STATUS))) == 1, "what a new process has been through is no news"


@attrs.define(eq=False)
class ScriptedNode:
    """A status socket that gives one answer after the other. Whoever asks once more has told all of them."""

    answers: list[dict[str, object]]
    told: trio.Event = attrs.field(factory=trio.Event)

    async def answer(self, stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if not self.answers:
                self.told.set()
                await trio.sleep_forever()
            await stream.send_all(json.dumps({"ok": True, "status": self.answers.pop(0)}).encode() + b"\n")


@pytest.fixture
async def socket(loaded: LoadedConfig) -> AsyncIterator[trio.SocketListener]:
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listening.bind(os.fspath(loaded.folder / STATUS_SOCKET))
    listening.listen()
    yield trio.SocketListener(listening)
    listening.close()


@pytest.mark.parametrize("as_json", [False, True])
async def test_watching_prints_a_line_for_each_change(
    loaded: LoadedConfig, socket: trio.SocketListener, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    node = ScriptedNode([STATUS, STATUS, {**STATUS, "role": "secondary"}, {**STATUS, "role": "none"}])
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, node.answer, [socket])
            nursery.start_soon(watch_status, loaded.file, as_json)
            await node.told.wait()
            nursery.cancel_scope.cancel()
    lines = capsys.readouterr().out.splitlines()
    roles = ("primary", "secondary", "none")
    if as_json:
        assert [json.loads(line)["role"] for line in lines] == list(roles)
    else:
        assert [re.search(r"^\d\d:\d\d:\d\d degraded.* role (\w+)", line)[1] for line in lines] == list(roles)  # type: ignore[index]


async def test_on_a_terminal_a_resync_has_a_bar_that_leaves_nothing_behind(
    loaded: LoadedConfig,
    socket: trio.SocketListener,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    over = {**STATUS, "resync_bytes_left": 0}
    pace = {"resync_bytes_per_s": 1024, "resync_left_s": 4}
    begun, known = {**STATUS, "resync_bytes_left": 8192, "resync_left_s": None}, {**STATUS, **pace}
    node = ScriptedNode([begun, known, over, over])
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, node.answer, [socket])
            nursery.start_soon(watch_status, loaded.file, False)
            await node.told.wait()
            nursery.cancel_scope.cancel()
    out = capsys.readouterr().out
    assert "[........................]   0 %   8.0 KiB left" in out
    assert "[############............]  50 %   4.0 KiB left   1.0 KiB/s   about 4 s to go" in out
    assert out.endswith("\r\033[K")


@pytest.mark.parametrize("make", [os.pipe, lambda: [each.detach() for each in socketpair()]], ids=["pipe", "socket"])
async def test_watching_ends_when_nobody_reads_any_more(
    loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Sequence[int]]
) -> None:
    """As after ``| head -1``: there may never be another line."""
    reader, writer = make()
    ended = trio.Event()

    async def watch() -> None:
        assert await watch_status(loaded.file, False) == EXIT_UNWRITTEN
        ended.set()

    with TextIOWrapper(FileIO(writer, "w"), write_through=True) as output, trio.fail_after(20):
        monkeypatch.setattr("sys.stdout", output)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            line = await trio.to_thread.run_sync(os.read, reader, 4096)
            assert line.endswith(b" no answer\n")
            assert not ended.is_set()
            os.close(reader)
            await ended.wait()


async def test_watching_ends_where_there_is_no_output(loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``>&-``: Python has None for it."""
    monkeypatch.setattr("sys.stdout", None)
    with trio.fail_after(20):
        assert await watch_status(loaded.file, False) == EXIT_UNWRITTEN


async def test_a_resync_is_watched_where_there_is_no_output(
    loaded: LoadedConfig, socket: trio.SocketListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, ScriptedNode([STATUS]).answer, [socket])
            assert await watch_status(loaded.file, False) == EXIT_UNWRITTEN
            nursery.cancel_scope.cancel()


async def test_watching_a_configuration_that_is_none(tmp_path: Path) -> None:
    with pytest.RaisesGroup(ConfigError):
        await watch_status(tmp_path / "node.toml", False)


def test_the_page_on_upgrades_shows_the_version_that_a_new_pair_speaks() -> None:
    assert re.findall(r"link online, version (\d+)", OPERATE.read_text()) == [str(PROTOCOL_VERSION_MAX)]


@pytest.mark.parametrize(("blocks", "told"), [(1, "1 block of this copy was"), (3, "3 blocks of this copy were")])
def test_what_was_repaired_is_counted_in_words_that_fit(loaded: LoadedConfig, blocks: int, told: str) -> None:
    lines = describe_status({"verdict": "protected", "repaired_blocks": blocks}, loaded).splitlines()
    assert f"  {told} repaired from the other one since the node started" in lines


def test_of_two_with_one_identity_nothing_is_to_be_deleted_before_both_files_were_compared() -> None:
    twin = remedy_for("twin", config="x/node.toml", node="a", peer="b")
    assert "stop both, and delete neither before it is clear which one is right" in twin
    assert "stop node b too, then: ctlha adopt-arbiter x/node.toml --abandon b" in twin
    behind = remedy_for("copy-went-back", config="x/node.toml", node="a", peer="b")
    assert behind.index("delete neither file") < behind.index("put the newest file back")
