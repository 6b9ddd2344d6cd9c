"""The program on the page of the data socket, whose tasks share a connection, does what the page says."""

import re
import signal
import sys
from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._processes.hand_pair import START_S, made_pair

PAGE = (Path(__file__).parents[2] / "docs/reference/door.md").read_text()
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(COMMAND,) = re.findall(r"^\.venv/bin/python tasks\.py (.*)$", PAGE, re.MULTILINE)
(PRINTED,) = re.findall(r"^```text\n(0: DONE.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LIMIT, SHORT = "LIMIT_S = 5.0", "LIMIT_S = 0.25"


async def run_program(folder: Path) -> list[str]:
    """The lines that it prints, sorted."""
    with trio.fail_after(START_S):
        ran = await trio.run_process(
            [sys.executable, "-W", "error", "tasks.py", *COMMAND.split()],
            capture_stdout=True,
            capture_stderr=True,
            cwd=folder,
        )
    assert ran.stderr == b""
    return sorted(bytes(ran.stdout).decode().splitlines())


@pytest.mark.slow
async def test_tasks_share_a_connection_and_wait_no_longer_than_they_say(tmp_path: Path) -> None:
    assert LIMIT in PROGRAM
    async with made_pair(tmp_path / "pair") as pair:
        await pair.start_protected()
        (tmp_path / "tasks.py").write_text(PROGRAM)
        assert await run_program(tmp_path) == PRINTED.splitlines()
        (tmp_path / "tasks.py").write_text(PROGRAM.replace(LIMIT, SHORT))
        pair.send_signal("a", signal.SIGSTOP)
        assert await run_program(tmp_path) == [f"{place}: no answer within 0.25 s" for place in range(3)]
