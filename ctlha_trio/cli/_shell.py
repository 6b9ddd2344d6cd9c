"""Paths in commands that are printed, so that they can be copied into a shell as they are."""

import shlex
from pathlib import Path


def quote_path(path: Path) -> str:
    """One word of a command line, which is no option though the path may begin with a dash."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
