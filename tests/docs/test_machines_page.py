"""Figures on the page on two machines are those of the code."""

import re
from pathlib import Path

from ctlha_trio.cli._node_folder import MAX_FOLDER_PATH_BYTES
from ctlha_trio.cli._run import EXIT_MISUSED

PAGE = (Path(__file__).parents[2] / "docs/machines.md").read_text()


def test_the_longest_path_of_a_folder() -> None:
    assert re.findall(r"its path has no more than (\d+) bytes", PAGE) == [str(MAX_FOLDER_PATH_BYTES)]


def test_systemd_does_not_restart_what_only_a_person_can_mend() -> None:
    assert f"\nRestartPreventExitStatus={EXIT_MISUSED}\n" in PAGE
