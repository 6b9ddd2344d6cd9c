"""The commands in this process: their arguments, their exit codes, and what they print."""

import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from ctlha_trio._errors import BusyError, ConfigError, FailedError
from ctlha_trio.cli import main
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._demo_report import DemoReport, Moment
from ctlha_trio.cli._run import EXIT_INTERRUPTED, MonotonicClock, report
from ctlha_trio.seams import TrioClock


def ctlha(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_command_does_not_load_the_simulators() -> None:
    """They take longer than all the rest, and Trio's own test beds load pytest where it is installed."""
    program = "import sys, ctlha_trio.cli; print(*{'ctlha_trio.testing', 'trio.testing', 'pytest'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    assert ran.stdout.split() == []


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("4096", 4096), ("64K", 65536), ("1m", 1 << 20), ("3M", 3 << 20), ("0064K", 65536)],
)
def test_sizes(tmp_path: Path, text: str, size_bytes: int) -> None:
    done = ctlha("init", tmp_path / "p", "--size", text)
    assert done.exit_code == 0, done.output
    assert load_config(tmp_path / "p" / "a" / "node.toml").content.volume.size_bytes == size_bytes


@pytest.mark.parametrize("text", ["0", "4095", "4097", "1X", "", "-4096", "1.5M", "65T", "9" * 30, "M", "1 M"])
def test_sizes_that_are_none(tmp_path: Path, text: str) -> None:
    done = ctlha("init", tmp_path / "p", f"--size={text}")
    assert done.exit_code == 2
    assert "--size" in done.output
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("port", ["0", "65533", "-1", "x"])
def test_ports_that_leave_no_room(tmp_path: Path, port: str) -> None:
    done = ctlha("init", tmp_path / "p", f"--base-port={port}")
    assert done.exit_code == 2
    assert "--base-port" in done.output
    assert not (tmp_path / "p").exists()


def test_the_default_ports(tmp_path: Path) -> None:
    assert ctlha("init", tmp_path / "p", "--size", "4K").exit_code == 0
    links = [load_config(tmp_path / "p" / node / "node.toml").content.link.listen for node in ("a", "b")]
    assert links == ["127.0.0.1:7900", "127.0.0.1:7902"]


def test_the_links_of_two_machines(tmp_path: Path, etcd_endpoint: str) -> None:
    addresses = "192.0.2.1:7900", "[2001:db8::2]:7901"
    given = "--addresses", ",".join(addresses), "--arbiter", etcd_endpoint
    done = ctlha("init", tmp_path / "p", "--size", "4K", *given)
    assert done.exit_code == 0, done.output
    a, b = (load_config(tmp_path / "p" / node / "node.toml").content for node in ("a", "b"))
    assert (a.link.listen, a.peer.address) == addresses
    assert (b.peer.address, b.link.listen) == addresses


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--addresses", "192.0.2.1:7900"), "expected two addresses"),
        (("--addresses", "192.0.2.1:7900,192.0.2.1:7900"), "expected two addresses"),
        (("--addresses", "192.0.2.1:7900,192.0.2.2:0"), "the port must be"),
        (("--addresses", "192.0.2.1:7900,192.0.2.2"), "expected HOST:PORT"),
        (("--addresses", "192.0.2.1:7900,192.0.2.2:7900"), "give --arbiter"),
        (
            ("--addresses", "192.0.2.1:7900,192.0.2.2:7900", "--arbiter", "http://127.0.0.1:1", "--base-port", "7900"),
            "no --base-port",
        ),
    ],
)
def test_addresses_that_are_none(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    done = ctlha("init", tmp_path / "p", *options)
    assert (done.exit_code, says in done.output) == (2, True), done.output
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("etcd",), "for --arbiter: 'etcd': expected https://HOST:PORT"),
        (("",), "for --arbiter: '': expected https://HOST:PORT"),
        (("https://e:1,",), "for --arbiter: '': expected https://HOST:PORT"),
        (("http://192.0.2.1:2379",), "for --arbiter: 'http://192.0.2.1:2379': http is for loopback only"),
        (("https://e:1,https://e:1", "--arbiter-ca", "x"), "for --arbiter: one comes twice"),
        (("https://e:1",), "for --arbiter-ca: is missing"),
        (("https://e:1", "--arbiter-ca", "x", "--arbiter-key", "y"), "for --arbiter-certificate: is missing"),
        (("sqlite", "--arbiter-credentials", "x"), "for --arbiter-credentials: is for an arbiter in etcd"),
    ],
)
def test_arbiters_that_are_none(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = ctlha("init", tmp_path / "p", "--arbiter", *arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert not (tmp_path / "p").exists()


def test_an_etcd_that_cannot_be_reached(tmp_path: Path) -> None:
    done = ctlha("init", tmp_path / "p", "--arbiter", "http://127.0.0.1:1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "--arbiter: http://127.0.0.1:1: no connection: Connection refused\n"
    assert not (tmp_path / "p").exists()


def test_files_for_etcd_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "credentials").touch(mode=0o644)
    files = ("--arbiter-ca", tmp_path / "none.pem", "--arbiter-credentials", tmp_path / "credentials")
    done = ctlha("init", tmp_path / "p", "--arbiter", "https://127.0.0.1:1", *files)
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        f"{tmp_path / 'none.pem'}: arbiter.ca: there is no such file",
        f"{tmp_path / 'credentials'}: arbiter.credentials: open to others (mode 0644): "
        f"chmod 600 {tmp_path / 'credentials'}",
    ]
    assert not (tmp_path / "p").exists()


def test_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = ctlha("init", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path}: exists and is not empty; nothing is ever overwritten\n"


def test_a_folder_in_which_no_node_could_listen(tmp_path: Path) -> None:
    """Every command of such a node would fail: its sockets' names do not fit."""
    folder = tmp_path / ("x" * (93 - len(str(tmp_path)) - 1))
    assert ctlha("init", folder, "--size", "64K").exit_code == 0
    folder = folder.with_name(f"{folder.name}y")
    done = ctlha("init", folder)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"{folder / 'a'}: too long for a node's sockets: its whole path has 96 bytes, of at most 95; make the pair in "
        "a folder with a shorter path\n"
    )
    assert not folder.exists()


def test_init_says_how_to_go_on(tmp_path: Path) -> None:
    done = ctlha("init", tmp_path / "p", "--size", "4K")
    assert done.stdout.splitlines() == [f"ctlha node {tmp_path / 'p' / node / 'node.toml'}" for node in ("a", "b")]


@pytest.mark.parametrize(
    "command",
    ["init", "node", "status", "switchover", "force-primary", "replace", "resolve", "adopt-arbiter", "demo", "sim"],
)
def test_every_command_explains_itself(command: str) -> None:
    done = ctlha(command, "--help")
    assert done.exit_code == 0
    assert len(done.output.splitlines()) > 4


def test_all_faults_of_a_configuration_are_lines_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text('format = 1\n"two\\nlines" = 1\n')
    done = ctlha("node", tmp_path / "node.toml")
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 8
    assert all(line.startswith(f"{tmp_path / 'node.toml'}: ") for line in lines)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FailedError("x"), 1),
        (BusyError("x"), 1),
        (ConfigError("f", "k", "p"), 2),
        (ExceptionGroup("", [FailedError("x"), ExceptionGroup("", [ConfigError("f", "k", "p")])]), 2),
        (KeyboardInterrupt(), EXIT_INTERRUPTED),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), EXIT_INTERRUPTED),
    ],
)
def test_errors_and_their_exit_codes(error: BaseException, code: int) -> None:
    assert report(error) == code


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ExceptionGroup("", [FailedError("x"), KeyError("a bug")])])
def test_a_bug_is_not_dressed_up(error: Exception) -> None:
    with pytest.raises(type(error)):
        report(error)


def test_the_report_as_json_is_flat_and_says_null_for_what_was_not_reached() -> None:
    found = DemoReport(acknowledged_writes=7, verdict="v", durations_s={Moment.HANDED_BACK: 0.12345}).as_json()
    assert json.loads(json.dumps(found)) == {
        "acknowledged_writes": 7,
        "lost_writes": 0,
        "copies_equal": False,
        "verdict": "v",
        "lost_s": None,
        "swapped_s": None,
        "serving_s": None,
        "returned_s": None,
        "resynced_s": None,
        "handed_back_s": 0.123,
        "verified_s": None,
        "total_s": 0.0,
    }


def test_the_timeline_is_in_order_and_the_verdict_last() -> None:
    durations_s = {Moment.SERVING: 0.3, Moment.LOST: 0.1}
    lines = [*DemoReport(verdict="all is well", passed=True, durations_s=durations_s).lines()]
    assert [line.split()[0] for line in lines] == ["lost", "serving", "passed:"]
    assert [*attrs.evolve(DemoReport(), verdict="x").lines()] == ["FAILED: x"]


def test_the_clock_of_the_commands_is_the_one_that_processes_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1234.5)
    clock = MonotonicClock()
    assert clock.current_time() == 1234.5
    assert clock.deadline_to_sleep_time(1235.0) == 0.5


def test_trio_runs_on_that_clock() -> None:
    async def two_looks() -> tuple[float, float]:
        clock = TrioClock()
        began_s = clock.now()
        await clock.sleep_until(began_s + 0.01)
        return began_s, clock.now()

    began_s, ended_s = trio.run(two_looks, clock=MonotonicClock())
    assert ended_s - began_s >= 0.01
