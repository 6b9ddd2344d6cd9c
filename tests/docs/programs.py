"""Writes every Python program of the documentation into a folder, one file each, so that mypy can check them."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = {"docs/testing.md": ("counter", "test_counter", "client", "conftest")}
"""Pages whose programs import each other, by the names that they have there."""


def write_programs(folder: Path) -> None:
    """The files' names tell the pages, where these do not name them."""
    folder.mkdir()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        programs = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        place = page.relative_to(ROOT)
        own = ["_".join((*place.with_suffix("").parts, str(number))) for number in range(len(programs))]
        for name, program in zip(PARTS.get(str(place), own), programs, strict=True):
            (folder / f"{name}.py").write_text(program)


if __name__ == "__main__":
    write_programs(Path(sys.argv[1]))
