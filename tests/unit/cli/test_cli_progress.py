"""The bar of long work."""

import pytest

from ctlha_trio.cli._progress import BAR_CHARACTERS, Progress, duration_of, size_of

MIB = 1 << 20


def test_nothing_under_way_is_no_line() -> None:
    assert Progress().line(0, bytes_per_s=0, left_s=None) == ""


def test_the_bar_says_how_much_is_done_how_fast_and_for_how_long() -> None:
    progress = Progress()
    line = progress.line(100 * MIB, bytes_per_s=0, left_s=None)
    assert line == f"[{'.' * BAR_CHARACTERS}]   0 %   100.0 MiB left"
    line = progress.line(75 * MIB, bytes_per_s=5 * MIB, left_s=15)
    quarter = BAR_CHARACTERS // 4
    bar = "#" * quarter + "." * (BAR_CHARACTERS - quarter)
    assert line == f"[{bar}]  25 %   75.0 MiB left   5.0 MiB/s   about 15 s to go"


def test_more_that_is_left_than_before_moves_the_end() -> None:
    """Clients write meanwhile."""
    progress = Progress()
    lines = [progress.line(left * MIB, bytes_per_s=0, left_s=None) for left in (10, 20, 5)]
    assert lines[1].endswith("  0 %   20.0 MiB left")
    assert " 75 %" in lines[2]


def test_work_that_ended_begins_anew() -> None:
    progress = Progress()
    lines = [progress.line(left, bytes_per_s=0, left_s=None) for left in (100, 50, 0, 60)]
    assert lines[2] == ""
    assert "  0 %   60 B left" in lines[3]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 * MIB, "1.5 GiB"), (2**60, "1048576.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size_of(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_of(seconds) == text
