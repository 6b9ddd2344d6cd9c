"""``ctlha bench``: what it prints, what it leaves behind, and what it says when it cannot measure."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from click.testing import CliRunner, Result

from ctlha_trio import ConfigError, DisconnectError, FailedError
from ctlha_trio.bench import Comparison, Figure, Results, Sizes, Unit, open_measured_node, serve_benchmark
from ctlha_trio.cli import _bench as bench, _main, main, open_configured_node
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._demo_pair import free_addresses
from ctlha_trio.cli._init import NewPair, create_pair
from ctlha_trio.cli._run import leaves_of

FEW = Sizes(messages=3000, header_messages=3000, round_trips=5, loaded_round_trips=2, transfers=6)
PLAN = bench.BenchPlan(rounds=1, sizes=FEW, as_json=True)
STEP_S = 60.0
"""For what takes a second or two, on a machine that is busy with something else."""


def ctlha(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def own_children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture
async def pair(tmp_path: Path) -> Path:
    create_pair(tmp_path / "pair", NewPair(size_bytes=4096, link_addresses=await free_addresses()))
    return tmp_path / "pair"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MEET_S", 0.2)


def only_error(found: BaseException) -> BaseException:
    (leaf,) = leaves_of(found)
    return leaf


def test_one_machine_is_measured_from_end_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_main, "Sizes", lambda: FEW)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = own_children()
    done = ctlha("--json", "--rounds", "1")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == ["warming up", "round 1 of 1"]
    found = json.loads(done.stdout)
    assert (found["where"], found["rounds"]) == ("two processes on this machine", 1)
    for carrier in ("tls", "tcp"):
        for name in ("one_way", "one_way_header", "round_trip_p50", "push", "pull", "bare_push", "bare_round_trip_p99"):
            figure = found["figures"][f"{carrier}_{name}"]
            assert 0 < figure["least"] <= figure["median"] <= figure["most"], name
        for name in ("round_trip_to_bare", "push_to_bare", "pull_to_bare", "round_trip_beside_push"):
            assert found["ratios"][f"{carrier}_{name}"]["median"] > 0, name
    assert "tls_stream_push" in found["figures"]
    assert own_children() <= before
    assert list(tmp_path.iterdir()) == []


def test_people_see_each_figure_and_each_ratio_under_its_carrier(capsys: pytest.CaptureFixture[str]) -> None:
    figures = [Figure(name, name, Unit.MEGABYTES) for name in ("tls_push", "tls_bare", "tcp_push")]
    faster = Comparison(name="tls_faster", title="faster", figure="tls_push", beside="tls_bare")
    results = Results(figures, [faster])
    for push in (1500.0, 600.0, 2400.0):
        results.add({"tls_push": push, "tls_bare": 3000.0, "tcp_push": 7.0})
    bench._show(attrs.evolve(PLAN, rounds=3, as_json=False), results, "here")
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "here, messages of 256 bytes, transfers of 1 MiB; median of 3 rounds",
        "TLS 1.3",
        "tls_push 1,500 MB/s (600 to 2,400)",
        "tls_bare 3,000 MB/s (3,000 to 3,000)",
        "faster 0.50 x (0.20 to 0.80)",
        "plain TCP, which only a benchmark on one machine uses",
        "tcp_push 7 MB/s (7 to 7)",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_and_no_file_outlive_the_command(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ctlha_trio", "bench", "--rounds", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        start_new_session=True,
    ) as running:
        try:
            assert running.stderr is not None
            assert running.stderr.readline() == "warming up\n"
            if number is signal.SIGINT:
                os.killpg(running.pid, number)  # as a terminal does: to its other processes too
            else:
                running.send_signal(number)
            # Its other processes hold the other end too: it is closed when the last one has ended.
            said, complained = running.communicate(timeout=STEP_S)
        except BaseException:
            running.kill()
            raise
    assert said == ""
    if number is signal.SIGKILL:
        assert running.returncode == -number
        return
    assert list(tmp_path.iterdir()) == []
    assert (running.returncode, complained) == (130, "")


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, ""), (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")]
)
@pytest.mark.parametrize("complains", [False, True])
async def test_a_signal_ends_it_and_nothing_else_is_told(number: signal.Signals, said: str, complains: bool) -> None:
    """One half of what is torn apart may find the other one gone before it is cancelled itself."""

    async def work() -> None:
        signal.raise_signal(number)
        try:
            await trio.sleep_forever()
        finally:
            if complains:
                raise DisconnectError("no session")

    kind = FailedError if said else KeyboardInterrupt
    with trio.fail_after(STEP_S), pytest.raises(kind, match=f"^{said}$"):
        await bench._unless_signalled(work)


async def test_two_machines_are_measured_over_tls_and_their_copies_are_not_touched(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(pair)
    other = bench._side_of(load_config(pair / "b" / "node.toml"))
    with trio.fail_after(STEP_S):
        async with open_measured_node(other) as node, trio.open_nursery() as nursery:
            nursery.start_soon(serve_benchmark, node, other)
            for _ in range(2):  # it serves one after the other
                assert await bench.bench_pair(pair / "a" / "node.toml", PLAN) == 0
            nursery.cancel_scope.cancel()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["where"] == second["where"] == "node a to node b"
    assert {name.partition("_")[0] for name in first["figures"]} == {"tls"}
    assert contents(pair) == before


async def test_nobody_who_serves_is_told_with_the_command_that_does(
    pair: Path, impatient: None, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(pair / "a" / "node.toml")
    with trio.fail_after(STEP_S), pytest.RaisesGroup(DisconnectError, flatten_subgroups=True) as raised:
        await bench.bench_pair(config.file, PLAN)
    assert str(only_error(raised.value)) == (
        f"no answer from {config.content.peer.address} within 0.2 s: first, at node b, "
        "ctlha bench <its node.toml> --serve"
    )
    assert capsys.readouterr().err == f"waiting for node b at {config.content.peer.address}, up to 0.2 s\n"


@pytest.mark.parametrize("serve", [False, True])
async def test_an_address_that_is_taken_is_a_fault_of_the_configuration(pair: Path, serve: bool) -> None:
    config = load_config(pair / "a" / "node.toml")
    host, _, port = config.content.link.listen.rpartition(":")
    with trio.fail_after(STEP_S), trio.socket.socket() as taken:
        await taken.bind((host, int(port)))
        taken.listen()
        with pytest.raises(ConfigError, match=r"link\.listen: cannot listen on 127.*: Address already in use"):
            await (bench.serve_pair(config.file) if serve else bench.bench_pair(config.file, PLAN))


@pytest.mark.parametrize("serve", [False, True])
async def test_a_node_that_runs_is_left_alone(pair: Path, monkeypatch: pytest.MonkeyPatch, serve: bool) -> None:
    monkeypatch.setattr("ctlha_trio.cli._stopped_node.is_answered", lambda _: True)
    config = pair / "a" / "node.toml"
    with pytest.raises(FailedError, match="node a runs; stop it first"):
        await (bench.serve_pair(config) if serve else bench.bench_pair(config, PLAN))


@pytest.mark.parametrize("serve", [False, True])
async def test_a_node_that_runs_at_the_other_machine_goes_on_and_is_told_of(pair: Path, serve: bool) -> None:
    """One that waits for its peer would end, were it greeted by a node of another pair."""
    ended: list[str] = []
    with trio.fail_after(STEP_S):
        async with open_configured_node(pair / "b" / "node.toml") as node:
            with pytest.raises(FailedError, match=r"no benchmark with .*; if node b runs there, stop it"):
                await (bench.serve_pair if serve else partial(bench.bench_pair, plan=PLAN))(pair / "a" / "node.toml")
            await trio.testing.wait_all_tasks_blocked()
            ended.append(node.status().verdict)
    assert ended == ["at-risk"]


async def test_another_key_is_a_fault_of_the_pins(pair: Path, tmp_path: Path) -> None:
    create_pair(tmp_path / "another", NewPair(size_bytes=4096, link_addresses=await free_addresses()))
    for node in ("a", "b"):
        (pair / node / "node.key").replace(tmp_path / f"{node}.key")
    (tmp_path / "another" / "b" / "node.key").replace(pair / "b" / "node.key")
    (tmp_path / "a.key").replace(pair / "a" / "node.key")
    other = bench._side_of(load_config(pair / "b" / "node.toml"))
    with trio.fail_after(STEP_S):
        async with open_measured_node(other):
            with pytest.raises(ConfigError, match=r"peer\.pins: .* its key"):
                await bench.bench_pair(pair / "a" / "node.toml", PLAN)


def test_serving_needs_to_know_whom() -> None:
    done = ctlha("--serve")
    assert done.exit_code == 2
    assert "give the CONFIG" in done.output
