"""Fencing by a program: what its exit code and its first line mean, and what it cannot do to the node."""

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from ctlha_trio import InvalidError
from ctlha_trio.seams import CommandFencer, FenceAnswer, FenceOutcome
from ctlha_trio.seams._command_fencer import EVIDENCE_CHARACTERS_MAX

CONFIRMED, REFUSED, UNKNOWN = FenceOutcome.CONFIRMED, FenceOutcome.REFUSED, FenceOutcome.UNKNOWN


async def fence(program: str, *, timeout_s: float = 20.0) -> FenceAnswer:
    """By a program in Python."""
    with trio.fail_after(30):
        return await CommandFencer((sys.executable, "-S", "-c", program), timeout_s).fence("b", "volume", 7)


async def test_exit_code_0_with_a_line_is_confirmed_by_that_line() -> None:
    assert await fence("print('outlet 7 is off'); print('more')") == FenceAnswer(CONFIRMED, "outlet 7 is off")


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ("pass", FenceAnswer(UNKNOWN, "it ended well, but gave no evidence")),
        ("print('  ')", FenceAnswer(UNKNOWN, "it ended well, but gave no evidence")),
        ("import sys; print('not off', file=sys.stderr)", FenceAnswer(UNKNOWN, "it ended well, but gave no evidence")),
        ("print('locked'); raise SystemExit(1)", FenceAnswer(REFUSED, "locked")),
        ("raise SystemExit('no such outlet')", FenceAnswer(REFUSED, "no such outlet")),
        ("raise SystemExit(1)", FenceAnswer(REFUSED, "exit code 1")),
        ("print('off'); raise SystemExit(2)", FenceAnswer(UNKNOWN, "exit code 2: off")),
        ("raise SystemExit(7)", FenceAnswer(UNKNOWN, "exit code 7")),
        ("import os; print('off', flush=True); os.kill(os.getpid(), 9)", FenceAnswer(UNKNOWN, "ended by SIGKILL: off")),
        ("import os; os.kill(os.getpid(), 40)", FenceAnswer(UNKNOWN, "ended by signal 40")),
    ],
)
async def test_every_other_end_is_refused_or_unknown(program: str, answer: FenceAnswer) -> None:
    assert await fence(program) == answer


async def test_it_is_told_which_node_of_which_resource_in_which_epoch_twice() -> None:
    program = (
        "import os, sys; print(*sys.argv[1:], *(os.environ['CTLHA_FENCE_' + n] for n in ('NODE', 'RESOURCE', 'EPOCH')))"
    )
    assert (await fence(program)).evidence == "b volume 7 b volume 7"


async def test_no_shell_reads_its_arguments(tmp_path: Path) -> None:
    fencer = CommandFencer(("/bin/echo", f"$(touch {tmp_path}/x); `id`"), 20.0)
    answer = await fencer.fence("b; touch y", "volume", 7)
    assert answer == FenceAnswer(CONFIRMED, f"$(touch {tmp_path}/x); `id` b; touch y volume 7")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, math.nan])
def test_a_fence_has_some_time(timeout_s: float) -> None:
    with pytest.raises(InvalidError):
        CommandFencer(("/nowhere/fence",), timeout_s)


async def test_a_program_that_is_none() -> None:
    answer = await CommandFencer(("/nowhere/fence",), 1.0).fence("b", "volume", 7)
    assert answer == FenceAnswer(UNKNOWN, "cannot be run: No such file or directory")


async def test_without_a_thread_to_begin_it_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", no_thread)
    assert await fence("print('off')") == FenceAnswer(UNKNOWN, "cannot be run now: can't start new thread")


async def test_one_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        f"open({os.fspath(pid)!r}, 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )
    assert await fence(program, timeout_s=1.5) == FenceAnswer(UNKNOWN, "no answer within 1.5 s")
    child = int(pid.read_text())
    await until(lambda: not _is_running(child))


async def until(condition: Callable[[], bool]) -> None:
    """Real processes tell nobody what they do."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


async def test_one_that_is_cancelled_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = (
        f"import os, time\nopen({os.fspath(pid)!r} + '.new', 'w').write(str(os.getpid()))\n"
        f"os.rename({os.fspath(pid)!r} + '.new', {os.fspath(pid)!r})\ntime.sleep(600)"
    )
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fence, program)
            await until(pid.exists)
            nursery.cancel_scope.cancel()
    assert not _is_running(int(pid.read_text()))


async def test_what_it_leaves_behind_keeps_nobody_waiting() -> None:
    program = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(3)'], start_new_session=True)\n"
        "print('off')\n"
    )
    began_s = time.monotonic()
    assert await fence(program) == FenceAnswer(CONFIRMED, "off")
    assert time.monotonic() - began_s < 2.9


async def test_a_flood_of_output_is_bounded_and_does_not_block_it() -> None:
    answer = await fence("print('x' * 1_000_000)")
    assert answer == FenceAnswer(CONFIRMED, "x" * EVIDENCE_CHARACTERS_MAX)


async def test_bytes_that_are_no_text_do_not_reach_the_record() -> None:
    answer = await fence(r"import sys; sys.stdout.buffer.write(b'\xff\x1b[31m off\n')")
    assert answer == FenceAnswer(CONFIRMED, "\N{REPLACEMENT CHARACTER}?[31m off")


@pytest.mark.parametrize("refusal", [PermissionError, ProcessLookupError])
async def test_one_that_cannot_be_ended_keeps_nobody_waiting(
    refusal: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that runs as another user than the node: setuid root."""
    started, open_process = list[trio.Process](), trio.lowlevel.open_process

    async def note(*args: Any, **options: Any) -> trio.Process:
        started.append(await open_process(*args, **options))
        return started[-1]

    def refuse(group: int, number: int) -> None:
        raise refusal(f"{number} for {group}")

    monkeypatch.setattr(trio.lowlevel, "open_process", note)
    monkeypatch.setattr(os, "killpg", refuse)
    try:
        answer = await fence("import time; print('working', flush=True); time.sleep(600)", timeout_s=0.5)
        (process,) = started
        left = f"no answer within 0.5 s, and it could not be ended: process {process.pid} still runs"
        assert answer == FenceAnswer(UNKNOWN, left)
        assert _is_running(process.pid)
        for pipe in (process.stdout, process.stderr):
            with pytest.raises(trio.ClosedResourceError):
                await cast("trio.abc.ReceiveStream", pipe).receive_some()
    finally:
        for process in started:
            process.kill()
            await process.wait()
