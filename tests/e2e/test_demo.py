"""The demo with real processes: it passes, and it fails where it must."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from ctlha_trio.cli import _demo, _demo_content, main
from ctlha_trio.cli._demo import DemoPlan, Progress, Victim, run_demo
from ctlha_trio.cli._demo_report import DemoReport, Moment
from ctlha_trio.store import Layout

pytestmark = pytest.mark.slow

WRITES = 1024
"""A quarter of the demo's, to save time; one test runs the whole."""
BLOCKS = 64
LIMIT_S = 120.0
AFTER_THE_KILL = {Moment.LOST, Moment.SWAPPED, Moment.SERVING, Moment.RETURNED, Moment.RESYNCED, Moment.VERIFIED}
HERE = Path(__file__).parent


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something to write, not a multiple of a block."""
    monkeypatch.setattr(_demo_content, "WRITES", WRITES)
    path = tmp_path / "file"
    path.write_bytes(os.urandom(BLOCKS * 4096 - 100))
    return path


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: the path of a socket may have 107 bytes, and tests side by side have long ones."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def temporary(short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its folder."""
    folder = short / "t"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def run(file: Path, plan: DemoPlan, progress: Progress | None = None) -> DemoReport:
    with trio.fail_after(LIMIT_S):
        return await run_demo(file, plan, progress=progress)


def steps_of(killed: str, survivor: str, victim: Victim) -> list[str]:
    """Each is shown, and shown in this order."""
    takes_back = [f"node {killed} takes its role back"] if victim == "primary" else []
    return [
        "waiting for the pair",
        "writing",
        f"node {killed} is killed",
        f"reading back from node {survivor}",
        f"node {killed} returns",
        f"node {killed} is brought in sync",
        *takes_back,
        "writing the file",
        "stopping both nodes",
        "comparing both copies",
    ]


def node_command(script: str) -> Sequence[str]:
    return (sys.executable, str(HERE / script), "node")


def processes_of(folder: Path) -> list[str]:
    """Command lines of this machine's processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


@pytest.mark.parametrize("victim", ["primary", "secondary"])
@pytest.mark.parametrize("kill_at", [0.1, 0.5, 0.9])
async def test_nothing_is_lost(file: Path, temporary: Path, victim: Victim, kill_at: float) -> None:
    shown: list[str] = []
    report = await run(file, DemoPlan(kill_at=kill_at, victim=victim), lambda _, __, step: shown.append(step))
    assert report.passed, report.verdict
    steps = list(dict.fromkeys(shown))
    killed, survivor = "ab" if "node a is killed" in steps else "ba"
    assert steps == steps_of(killed, survivor, victim)
    assert (report.acknowledged_writes, report.lost_writes, report.copies_equal) == (WRITES, 0, True)
    handed_back = {Moment.HANDED_BACK} if victim == "primary" else set()
    assert report.durations_s.keys() == AFTER_THE_KILL | handed_back
    assert 0 < report.durations_s[Moment.LOST] <= report.durations_s[Moment.SWAPPED]
    assert report.durations_s[Moment.SWAPPED] <= report.durations_s[Moment.SERVING]
    assert os.listdir(temporary) == []


async def test_a_forged_acknowledgement_is_found(file: Path, temporary: Path) -> None:
    report = await run(file, DemoPlan(node_command=node_command("forging_node.py")))
    assert not report.passed
    assert report.lost_writes > 0
    assert not report.copies_equal
    assert re.fullmatch(
        r"\d+ acknowledged writes are lost: node b has not that of block \d+ \(offset \d+\)", report.verdict
    )
    assert os.listdir(temporary) == []


async def test_a_node_that_serves_before_it_is_in_sync_is_found(file: Path, temporary: Path) -> None:
    report = await run(file, DemoPlan(node_command=node_command("eager_node.py")))
    assert not report.passed
    assert re.fullmatch(r"node a served block \d+ \(offset \d+\) before it was in sync", report.verdict)
    assert os.listdir(temporary) == []


async def test_a_node_may_serve_as_soon_as_it_is_in_sync(file: Path, temporary: Path) -> None:
    """Its components may still be on their way, and the pair not protected yet."""
    report = await run(file, DemoPlan(node_command=node_command("slow_component_node.py")))
    assert report.passed, report.verdict


def test_a_demo_that_fails_says_so_by_its_exit_code(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_forging_demo(monkeypatch, str(file))
    assert done.exit_code == 1
    *timeline, verdict = done.stdout.splitlines()
    assert re.fullmatch(r"FAILED: \d+ acknowledged writes are lost: node b .*", verdict)
    assert [line.split()[0] for line in timeline] == ["lost", "swapped", "serving"]


def test_a_demo_that_fails_says_so_in_json(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_forging_demo(monkeypatch, "--json", str(file))
    assert done.exit_code == 1
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found["lost_writes"] > 0
    assert found["copies_equal"] is False
    assert re.fullmatch(r"\d+ acknowledged writes are lost: node b .*", found["verdict"])
    assert found["serving_s"] > 0
    assert found["verified_s"] is None


def run_forging_demo(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """``ctlha demo`` on nodes that lose what they acknowledged."""
    plan = DemoPlan(node_command=node_command("forging_node.py"))
    monkeypatch.setattr(_demo, "DemoPlan", lambda: plan)
    return CliRunner().invoke(main, ["demo", *arguments])


@pytest.mark.parametrize(("copy", "name"), [(0, "a"), (1, "b")])
async def test_a_damaged_block_is_found(file: Path, temporary: Path, copy: int, name: str) -> None:
    def damage(volumes: Sequence[Path]) -> None:
        with volumes[copy].open("r+b") as volume:
            volume.seek(Layout(BLOCKS * 4096).file_offset(17 * 4096 + 5))
            byte = volume.read(1)
            volume.seek(-1, os.SEEK_CUR)
            volume.write(bytes([byte[0] ^ 0x80]))

    report = await run(file, DemoPlan(before_compare=damage))
    assert not report.passed
    assert not report.copies_equal
    assert report.verdict.startswith(f"the copy of node {name} is damaged: the block at {17 * 4096}:")
    assert os.listdir(temporary) == []


async def test_a_node_that_dies_unasked_is_the_verdict(file: Path, temporary: Path, tmp_path: Path) -> None:
    script = tmp_path / "dying.py"
    script.write_text("import sys\nsys.exit('its last words')\n")
    report = await run(file, DemoPlan(node_command=(sys.executable, str(script))))
    assert not report.passed
    assert re.fullmatch(r"node [ab] ended unasked with exit code 1: its last words", report.verdict)
    assert os.listdir(temporary) == []


async def test_a_cancelled_demo_leaves_nothing(file: Path, temporary: Path) -> None:
    with trio.fail_after(LIMIT_S), trio.CancelScope() as cut_short:

        def cut_while_writing(acknowledged: int, _: int, __: str) -> None:
            if acknowledged:
                cut_short.cancel()

        await run_demo(file, progress=cut_while_writing)
    assert cut_short.cancelled_caught
    assert os.listdir(temporary) == []
    assert processes_of(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_demo_and_its_nodes(short: Path, number: int) -> None:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "ctlha_trio", "demo"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(short)},
    )
    assert process.stderr is not None
    with trio.fail_after(LIMIT_S):
        said = b""
        async for chunk in process.stderr:
            said += chunk
            if b"  writing" in said:
                process.send_signal(number)
                break
        async for _ in process.stderr:
            pass
        assert await process.wait() == (130 if number == signal.SIGINT else 1)
    await process.stderr.aclose()
    assert os.listdir(short) == []
    assert processes_of(short) == []


async def test_the_whole_demo_as_a_user_runs_it(short: Path) -> None:
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(
            [sys.executable, "-m", "ctlha_trio", "demo", "--json"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, "TMPDIR": str(short)},
        )
    assert done.returncode == 0, done.stdout
    (line,) = done.stdout.decode().splitlines()
    found = json.loads(line)
    assert found["acknowledged_writes"] >= 4096
    assert (found["lost_writes"], found["copies_equal"]) == (0, True)
    durations = [found[f"{moment.value.replace(' ', '_')}_s"] for moment in Moment]
    assert all(isinstance(duration_s, float) and duration_s > 0 for duration_s in durations)
    assert os.listdir(short) == []


def children_of(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


async def test_nodes_of_a_demo_that_is_killed_end_with_it(short: Path) -> None:
    with trio.fail_after(60):
        demo = await trio.lowlevel.open_process(
            [sys.executable, "-m", "ctlha_trio", "demo"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"TMPDIR": str(short)},
        )
        assert demo.stderr is not None
        said = b""
        while b"  writing\n" not in said:
            heard = await demo.stderr.receive_some()
            assert heard, said
            said += heard
        nodes = [os.pidfd_open(pid) for pid in children_of(demo.pid)]
        assert len(nodes) == 2
        demo.kill()
        await demo.wait()
        for node in nodes:
            await trio.lowlevel.wait_readable(node)  # it has ended
            os.close(node)
        await demo.stderr.aclose()
