"""The README's promises: its example runs and prints what it says, and its two lines are one line each."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def block(heading: str, language: str) -> str:
    """The first code block of that language under a heading."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None, f"no section {heading!r}"
    found = re.search(rf"^```{language}\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    assert found is not None, f"no {language} block under {heading!r}"
    return found[1]


def test_the_library_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    """A reader copies it into an empty folder."""
    example = tmp_path / "example.py"
    example.write_text(block("Use the library", "python"))
    ran = subprocess.run(
        [sys.executable, "-W", "error", example], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert f"It prints `{ran.stdout.strip()}`" in README.read_text()


def test_the_example_has_about_ten_lines() -> None:
    """Longer ones are not read."""
    lines = [line for line in block("Use the library", "python").splitlines() if line.strip()]
    assert 5 <= len(lines) <= 12


def test_each_of_the_two_lines_is_one_line() -> None:
    """One makes its environment and runs the demo, the other makes its environment and runs the tests."""
    for heading, ends in (("Run the demo", "ctlha demo"), ("Run the tests", "--no-loadscope-reorder")):
        (line,) = block(heading, "sh").splitlines()
        assert line.startswith("python3 -m venv")
        assert line.endswith(ends)
