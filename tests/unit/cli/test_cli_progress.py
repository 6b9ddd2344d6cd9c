"""The bar of long work."""

import pytest

from ctlha_trio.cli._progress import BAR_CHARACTERS, RATE_OVER_S, Progress, duration_of, size_of

MIB = 1 << 20


def test_nothing_under_way_is_no_line() -> None:
    progress = Progress()
    assert progress.line == ""
    progress.update(0.0, 0)
    assert progress.line == ""


def test_the_bar_says_how_much_is_done_how_fast_and_for_how_long() -> None:
    progress = Progress()
    progress.update(0.0, 100 * MIB)
    assert progress.line == f"[{'.' * BAR_CHARACTERS}]   0 %   100.0 MiB left"
    progress.update(5.0, 75 * MIB)
    quarter = BAR_CHARACTERS // 4
    bar = "#" * quarter + "." * (BAR_CHARACTERS - quarter)
    assert progress.line == f"[{bar}]  25 %   75.0 MiB left   5.0 MiB/s   15 s to go"


def test_more_that_is_left_than_before_moves_the_end() -> None:
    """Clients write meanwhile."""
    progress = Progress()
    progress.update(0.0, 10 * MIB)
    progress.update(1.0, 20 * MIB)
    assert progress.line.endswith("  0 %   20.0 MiB left")
    progress.update(2.0, 5 * MIB)
    assert " 75 %" in progress.line


def test_the_rate_is_that_of_the_last_seconds() -> None:
    progress = Progress()
    progress.update(0.0, 1000 * MIB)
    for second in range(1, 31):
        progress.update(float(second), 900 * MIB - second * MIB)
    assert "1.0 MiB/s" in progress.line
    assert RATE_OVER_S < 30


def test_work_that_ended_begins_anew() -> None:
    progress = Progress()
    for now_s, left in ((0.0, 100), (1.0, 50), (2.0, 0)):
        progress.update(now_s, left)
    assert progress.line == ""
    progress.update(3.0, 60)
    assert "  0 %   60 B left" in progress.line


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
