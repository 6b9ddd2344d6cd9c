"""Writes every Python program of the documentation into a folder, one file each, so that mypy can check them."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ROOT / "docs/testing.md"
"""Its examples are parts of test modules, whose fixtures have no types."""


def write_programs(folder: Path) -> None:
    """The files' names tell the pages."""
    folder.mkdir()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        programs = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        for number, program in enumerate(programs if page != PARTS else []):
            name = "_".join(page.relative_to(ROOT).with_suffix("").parts)
            (folder / f"{name}_{number}.py").write_text(program)


if __name__ == "__main__":
    write_programs(Path(sys.argv[1]))
