"""The client on the page for beginners reads and writes a pair that was made by hand, and prints what the page says."""

import re
import sys
from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._processes.hand_pair import START_S, made_pair

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/start.md").read_text()
README = (ROOT / "README.md").read_text()
(CLIENT,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PRINTED = re.findall(r"^```text\n(pair/a/data\.sock: .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
"""With both nodes, and without node a."""
COMMANDS = re.findall(r"^\.venv/bin/python client\.py (.*)$", PAGE, re.MULTILINE)


def test_the_readme_says_how_long_it_is() -> None:
    lines = sum(1 for line in CLIENT.splitlines() if line)
    assert f"[A client of {lines} lines](docs/start.md#write-and-read)" in README


async def run_client(folder: Path, command: str, *, says: str = "") -> str:
    """What it prints; ``says`` is its last word where neither node has done it."""
    with trio.fail_after(START_S):
        ran = await trio.run_process(
            [sys.executable, "-W", "error", "client.py", *command.split()],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=folder,
        )
    assert (ran.returncode, bytes(ran.stderr).decode()) == (1 if says else 0, says)
    return bytes(ran.stdout).decode()


@pytest.mark.slow
async def test_the_client_prints_what_the_page_says_and_finds_it_on_the_survivor(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT)
    write, read, read_without_a = COMMANDS
    async with made_pair(tmp_path / "pair") as pair:
        nobody = await run_client(tmp_path, write, says="neither node has done it: ctlha status tells why\n")
        assert nobody.count(": no node listens there: No such file or directory\n") == 2
        await pair.start_protected()
        assert await run_client(tmp_path, write) + await run_client(tmp_path, read) == PRINTED[0]
        await pair.kill("a")
        await pair.wait_for("b", verdict="degraded", role="primary")
        assert await run_client(tmp_path, read_without_a) == PRINTED[1]
