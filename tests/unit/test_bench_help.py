"""Each script of ``tests/bench`` says with ``--help`` what it measures and what each argument is, and only says so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "tests/bench").glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_tells_what_it_measures_and_the_default_of_each_argument(name: str) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", f"tests/bench/{name}.py", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (0, "")
    first_line = re.search(r'^"""(.*)$', (ROOT / f"tests/bench/{name}.py").read_text(), re.MULTILINE)
    assert first_line is not None
    assert first_line[1] in done.stdout
    _, _, arguments = done.stdout.partition("-h, --help")
    positional = re.search(r"^positional arguments:\n(.*?)\n\n", done.stdout, re.MULTILINE | re.DOTALL)
    told = re.findall(
        r"^  (--[a-z-]+|[A-Z][A-Z=]+)(.*(?:\n {5,}.*)*)",
        f"{positional[1] if positional else ''}\n{arguments}",
        re.MULTILINE,
    )
    assert len(told) == len(re.findall(r"add_argument\(", (ROOT / f"tests/bench/{name}.py").read_text()))
    assert [argument for argument, text in told if "default" not in " ".join(text.split()).lower()] == []
