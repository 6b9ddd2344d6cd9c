"""The examples of the documentation's pages run, and print what the pages say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ctlha_trio.testing._processes.free_ports import free_base_port

PAGES = Path(__file__).parents[2] / "docs"
PORT = re.compile(r'(?<="--base-port", ")\d+(?=")')


def _with_free_ports(example: str) -> str:
    """A reader whose port is taken chooses another one too."""
    return PORT.sub(lambda _: str(free_base_port()), example)


@pytest.mark.parametrize(
    "page",
    [
        "reference/vocabulary",
        "reference/messages",
        "reference/transfers",
        "reference/components",
        "reference/arbiters",
        "reference/node",
        "reference/testing",
        "explain/checker",
    ],
)
def test_the_example_prints_what_the_page_says(page: str, tmp_path: Path) -> None:
    """A reader copies it into an empty folder."""
    text = (PAGES / f"{page}.md").read_text()
    found = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    example = tmp_path / "example.py"
    example.write_text(_with_free_ports(found[1]))
    ran = subprocess.run(
        [sys.executable, "-W", "error", example], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines
    promised = re.findall(r"`([^`]+)`", text[text.rindex("It prints") :])
    assert lines == promised
