"""The client on the page for beginners reads and writes a pair that was made by hand, and prints what the page says."""

import re
import sys
from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._processes.hand_pair import START_S, made_pair

PAGE = (Path(__file__).parents[2] / "docs/start.md").read_text()
(CLIENT,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(PRINTED,) = re.findall(r"^```text\n(write: .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\.venv/bin/python client\.py (.*)$", PAGE, re.MULTILINE)


async def run_client(folder: Path, *arguments: str) -> str:
    with trio.fail_after(START_S):
        ran = await trio.run_process(
            [sys.executable, "-W", "error", "client.py", *arguments], capture_stdout=True, cwd=folder
        )
    return bytes(ran.stdout).decode()


@pytest.mark.slow
async def test_the_client_prints_what_the_page_says_and_finds_it_on_the_survivor(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT)
    async with made_pair(tmp_path / "pair") as pair:
        await pair.start_protected()
        printed = [await run_client(tmp_path, *command.split()) for command in COMMANDS]
        assert "".join(printed) == PRINTED
        await pair.kill("a")
        await pair.wait_for("b", verdict="degraded", role="primary")
        assert await run_client(tmp_path, "pair/b/data.sock") == printed[-1]
