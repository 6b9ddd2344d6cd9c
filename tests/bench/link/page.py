"""What was measured, as tables and as a picture of ``docs/performance``."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ctlha_trio.bench import Comparison, Results

PAGE: Final = "index.md"
PLOT: Final = "figures.svg"
_CARRIERS: Final = {"tls": "TLS", "tcp": "plain TCP"}
_PANELS: Final = (
    ("one way, million messages a second", 1e-6, ("zmq_one_way", "nng_one_way", "*_one_way", "*_one_way_header")),
    (
        "round trip, p50, microseconds",
        1.0,
        ("zmq_round_trip_p50", "nng_round_trip_p50", "*_bare_round_trip_p50", "*_round_trip_p50"),
    ),
    ("1 MiB, GB/s", 1e-3, ("*_push", "*_pull", "*_bare_push", "*_bare_pull", "*_stream_push", "*_stream_pull")),
)
"""Title, scale and figures; a star stands for each carrier."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ratio_table(results: Results) -> str:
    """Each comparison, those with a target first."""
    figures = {figure.name: figure for figure in results.figures}

    def shown(name: str) -> str:
        return f"{results.spread(name).median:,.0f} {figures[name].unit.value}"

    def cells(one: Comparison) -> Sequence[str]:
        ratio = results.ratio(one)
        met = {None: "", True: "yes", False: "**no**"}[one.is_met(ratio.median)]
        between = f"{ratio.median:.2f} x ({ratio.least:.2f} to {ratio.most:.2f})"
        return carried(one.name, one.title), one.target, shown(one.figure), shown(one.beside), between, met

    ordered = sorted(results.comparisons, key=lambda one: not one.target)
    return table(("figure", "target", "measured", "beside", "ratio (spread)", "met"), map(cells, ordered))


def figure_table(results: Results) -> str:
    """Everything that was measured."""
    spreads = ((figure, results.spread(figure.name)) for figure in results.figures)
    return table(
        ("figure", "median", "spread"),
        (
            (
                carried(figure.name, figure.title),
                f"{spread.median:,.0f} {figure.unit.value}",
                f"{spread.least:,.0f} to {spread.most:,.0f}",
            )
            for figure, spread in spreads
        ),
    )


def carried(name: str, title: str) -> str:
    carrier = _CARRIERS.get(name.partition("_")[0])
    return title if carrier is None else f"{carrier}: {title}"


def write_part(page: Path, part: str, content: str) -> None:
    """Replace what stands between the two comments that name the part."""
    text = page.read_text(encoding="utf-8")
    replaced, count = re.subn(
        rf"(<!-- {part} -->\n).*?(<!-- end of {part} -->)",
        lambda found: f"{found[1]}\n{content}\n\n{found[2]}",
        text,
        flags=re.DOTALL,
    )
    assert count == 1, f"{page} has no place for the {part}"
    page.write_text(replaced, encoding="utf-8")


def draw(results: Results, path: Path) -> None:
    """Bars with the spread of the rounds."""
    import matplotlib  # noqa: PLC0415 (of an extra that --help does without)

    matplotlib.use("svg")
    # The same picture from the same figures, with its text as text.
    matplotlib.rcParams |= {"svg.hashsalt": "ctlha", "svg.fonttype": "none"}
    from matplotlib import pyplot  # noqa: PLC0415

    known = {figure.name: figure for figure in results.figures}
    chosen = [[name for pattern in patterns for name in _names(pattern) if name in known] for _, _, patterns in _PANELS]
    drawing, axes = pyplot.subplots(
        len(_PANELS), 1, figsize=(9, 0.32 * sum(map(len, chosen)) + 2.5), height_ratios=[len(each) for each in chosen]
    )
    for axis, (title, scale, _), names in zip(axes, _PANELS, chosen, strict=True):
        spreads = [results.spread(name) for name in names]
        axis.barh(
            [carried(name, known[name].title) for name in names],
            [spread.median * scale for spread in spreads],
            xerr=[
                [(spread.median - spread.least) * scale for spread in spreads],
                [(spread.most - spread.median) * scale for spread in spreads],
            ],
            color=["#4c72b0" if _is_ours(name) else "#b0b0b0" for name in names],
        )
        axis.invert_yaxis()
        axis.set_title(title, loc="left", fontsize="medium")
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})


def _names(pattern: str) -> Sequence[str]:
    return [pattern.replace("*", carrier) for carrier in _CARRIERS] if "*" in pattern else [pattern]


def _is_ours(name: str) -> bool:
    return not any(word in name for word in ("zmq", "nng", "bare", "stream"))
