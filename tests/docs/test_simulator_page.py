"""The samples of the page on the simulator have the form that timelines have."""

import re
from pathlib import Path

import pytest

from ctlha_trio.pair import Phase, events as ev
from ctlha_trio.testing import TIMELINE_HEADER, EventLine

PAGE = (Path(__file__).parents[2] / "docs/explain/simulator.md").read_text()
SAMPLES = [
    block.splitlines()
    for block in re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    if TIMELINE_HEADER in block
]
STEP = re.compile(r" *(\d+) +(\d+\.\d{6}) +(a|b) +([A-Z_]+) -> ([A-Z_]+) +(\d+) (.+ => .+)")
NOTE = re.compile(r" *(\d+) +(\d+\.\d{6}) +(a|b|-) (\S.*)")


def test_there_is_a_sample_of_each_depth() -> None:
    assert len(SAMPLES) == 2


@pytest.mark.parametrize("line", [line for sample in SAMPLES for line in sample if line != TIMELINE_HEADER])
def test_a_line_of_a_sample_stands_in_the_columns_of_a_timeline(line: str) -> None:
    """As the printer writes it, but for the words of the event and the orders."""
    if step := STEP.fullmatch(line):
        number, now_s, node, before, after, epoch, told = step.groups()
        phases = Phase[before], Phase[after]
        printed = str(EventLine(int(number), float(now_s), node, *phases, epoch=int(epoch), event=ev.ReadFailed()))
        assert line == printed.removesuffix("ReadFailed() => nothing") + told
    else:
        note = NOTE.fullmatch(line)
        assert note is not None
        number, now_s, node, what = note.groups()
        assert line == str(EventLine(int(number), float(now_s), node, note=what))


def test_lines_of_a_sample_are_in_order() -> None:
    for sample in SAMPLES:
        numbers = [int(line.split()[0]) for line in sample[1:]]
        assert numbers == sorted(set(numbers))
        times = [float(line.split()[1]) for line in sample[1:]]
        assert times == sorted(times)
