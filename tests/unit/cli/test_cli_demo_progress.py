"""What ``ctlha demo`` shows while it runs: every step, however soon it is over."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.cli._demo import DemoPlan, Progress, _Demo
from ctlha_trio.cli._demo_command import _bar, _lines
from ctlha_trio.cli._demo_content import read_content
from ctlha_trio.cli._demo_report import DemoReport

STEPS = ("first", "second", "third")


async def at_once() -> None:
    await trio.lowlevel.checkpoint()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(b"content" * 1000)
    return made


async def run_steps(file: Path, progress: Progress) -> None:
    """Beside who looks from time to time."""
    demo = _Demo(read_content(file), DemoPlan(), [], DemoReport(), progress)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(demo.show_progress)
        for step in STEPS:
            await demo._do(step, at_once)
        nursery.cancel_scope.cancel()


async def test_a_step_that_is_over_at_once_has_its_line(
    file: Path, capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    await run_steps(file, _lines())
    assert [line.split("  ")[-1] for line in capsys.readouterr().err.splitlines()] == list(STEPS)


async def test_a_step_without_a_write_stands_beside_the_bar(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with ExitStack() as stack:
        await run_steps(file, _bar(stack))
    shown = capsys.readouterr().err
    assert all(step in shown for step in STEPS)
