"""The page of figures has a place for each part of what is measured, and says which target is met."""

import shutil
from pathlib import Path

import pytest

from ctlha_trio.bench import Comparison, Figure, Results, Unit
from tests.bench.link.page import PAGE, figure_table, ratio_table, table, write_part

FOLDER = Path(__file__).parents[3] / "docs" / "performance"


@pytest.mark.parametrize("part", ["ratios", "figures", "memory"])
def test_each_part_of_the_page_can_be_written_anew_and_nothing_else_changes(part: str, tmp_path: Path) -> None:
    page = tmp_path / PAGE
    shutil.copy(FOLDER / PAGE, page)
    before = page.read_text(encoding="utf-8")
    write_part(page, part, "| anew |")
    written = page.read_text(encoding="utf-8")
    assert f"<!-- {part} -->\n\n| anew |\n\n<!-- end of {part} -->" in written
    head, _, rest = before.partition(f"<!-- {part} -->")
    _, _, tail = rest.partition(f"<!-- end of {part} -->")
    assert written.startswith(head)
    assert written.endswith(tail)


def test_a_row_says_the_target_the_ratio_and_whether_its_median_meets_it() -> None:
    figures = [Figure(name, name, Unit.MEGABYTES) for name in ("tcp_push", "tcp_bare_push")]
    comparisons = [
        Comparison(name="tcp_free", title="free", figure="tcp_push", beside="tcp_bare_push"),
        Comparison(name="tcp_far", title="far", figure="tcp_push", beside="tcp_bare_push", at_least=0.6),
        Comparison(name="tcp_just", title="just", figure="tcp_push", beside="tcp_bare_push", at_least=0.4),
        Comparison(name="tcp_near", title="near", figure="tcp_push", beside="tcp_bare_push", at_most=0.5),
    ]
    results = Results(figures, comparisons)
    for ours in (1500.0, 600.0, 2400.0):
        results.add({"tcp_push": ours, "tcp_bare_push": 3000.0})
    measured = ("1,500 MB/s", "3,000 MB/s", "0.50 x (0.20 to 0.80)")
    assert ratio_table(results) == table(
        ("figure", "target", "measured", "beside", "ratio (spread)", "met"),
        [
            ("plain TCP: far", ">= 0.6 x", *measured, "**no**"),
            ("plain TCP: just", ">= 0.4 x", *measured, "yes"),
            ("plain TCP: near", "<= 0.5 x", *measured, "yes"),
            ("plain TCP: free", "", *measured, ""),
        ],
    )
    assert figure_table(results) == table(
        ("figure", "median", "spread"),
        [
            ("plain TCP: tcp_push", "1,500 MB/s", "600 to 2,400"),
            ("plain TCP: tcp_bare_push", "3,000 MB/s", "3,000 to 3,000"),
        ],
    )
