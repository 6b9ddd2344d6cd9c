"""Draws the diagram of the phases from their table: ``python -m tests.docs.phase_diagram`` writes it into the page.

Where a box stands is said here; what leads where, and which phases serve, hold or execute, comes from the core.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ctlha_trio.pair import TRANSITIONS, Phase
from ctlha_trio.pair._phase import _ANY_END, _DECIDED, ACCEPTING, HOLDING, SERVING

DIAGRAM: Final = Path(__file__).parents[2] / "docs" / "explain" / "phases.svg"
WIDTH, HEIGHT = 960, 580
BOX_WIDTH, BOX_HEIGHT = 136, 44
CENTERS: Final = {
    Phase.BOOTING: (100, 60),
    Phase.WAITING: (100, 180),
    Phase.CLAIMING: (290, 180),
    Phase.SECURING: (480, 180),
    Phase.ALONE: (670, 180),
    Phase.ADMITTING: (860, 180),
    Phase.SUSPENDED: (480, 310),
    Phase.MIRRORING: (860, 310),
    Phase.OUTDATED: (100, 440),
    Phase.RESYNCING: (290, 440),
    Phase.FOLLOWING: (480, 440),
    Phase.HANDING_OVER: (860, 440),
    Phase.STOPPED: (670, 60),
    Phase.LEFT: (860, 60),
}
KINDS: Final = (
    (SERVING, "#cfe8cf", "serves clients"),
    (HOLDING, "#fbe8b0", "holds clients"),
    (ACCEPTING, "#cfe0f5", "executes the primary's writes"),
)
OTHERS: Final = "#eeeeee"
APART: Final = 8
"""Between the two arrows of two phases that lead to each other."""


def is_decided(phase: Phase) -> bool:
    """Whether a record that was read afresh leads from here to each of the phases that it can lead to."""
    return TRANSITIONS[phase] >= _DECIDED


def arrows() -> Iterator[tuple[Phase, Phase]]:
    """All that is not said by a mark: of what ends, and of what a record leads to."""
    for phase, others in TRANSITIONS.items():
        said = _DECIDED if is_decided(phase) else frozenset[Phase]()
        ends = _ANY_END if phase not in _ANY_END else frozenset[Phase]()
        yield from ((phase, other) for other in Phase if other in others - said - ends)


def _edge_point(of: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    (x, y), (to_x, to_y) = of, towards
    across, down = to_x - x, to_y - y
    scale = min(BOX_WIDTH / 2 / abs(across) if across else 9.0, BOX_HEIGHT / 2 / abs(down) if down else 9.0)
    return x + across * scale, y + down * scale


def _arrow(start: Phase, end: Phase) -> str:
    (x, y), (to_x, to_y) = CENTERS[start], CENTERS[end]
    if start in TRANSITIONS[end]:
        length = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
        aside_x, aside_y = (to_y - y) / length * APART, (x - to_x) / length * APART
        x, y, to_x, to_y = x + aside_x, y + aside_y, to_x + aside_x, to_y + aside_y
    (from_x, from_y), (tip_x, tip_y) = _edge_point((x, y), (to_x, to_y)), _edge_point((to_x, to_y), (x, y))
    ends = f'x1="{from_x:.0f}" y1="{from_y:.0f}" x2="{tip_x:.0f}" y2="{tip_y:.0f}"'
    return f'<line {ends} class="arrow"><title>{start.name} to {end.name}</title></line>'


def _box(phase: Phase) -> str:
    x, y = CENTERS[phase]
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    fill = next((color for phases, color, _ in KINDS if phase in phases), OTHERS)
    box = f'<rect x="{left:.0f}" y="{top:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{fill}"/>'
    mark = f'<circle cx="{left + 10:.0f}" cy="{top + 10:.0f}" r="4"/>' if is_decided(phase) else ""
    return f'<g class="phase">{box}{mark}<text x="{x}" y="{y + 5}">{phase.name}</text></g>'


def _legend() -> Iterator[str]:
    y = HEIGHT - 54
    left = 24
    for _, color, says in (*KINDS, (None, OTHERS, "does none of these")):
        yield f'<rect x="{left}" y="{y - 12}" width="18" height="14" fill="{color}" stroke="#555555"/>'
        yield f'<text x="{left + 24}" y="{y}" class="said">{says}</text>'
        left += 60 + 8 * len(says)
    decided = ", ".join(phase.name for phase in Phase if phase in _DECIDED)
    yield f'<circle cx="33" cy="{y + 19}" r="4"/>'
    yield f'<text x="48" y="{y + 24}" class="said">a record that was read afresh may lead to {decided}</text>'
    ends = " or ".join(phase.name for phase in Phase if phase in _ANY_END)
    yield f'<text x="48" y="{y + 44}" class="said">each phase but those two may lead to {ends}</text>'


def draw() -> str:
    """The picture, in SVG."""
    style = (
        "text{font:13px sans-serif;text-anchor:middle}.said{font:12px sans-serif;text-anchor:start}"
        ".arrow{stroke:#444444;stroke-width:1.3;marker-end:url(#tip)}.phase rect{stroke:#555555}"
    )
    tip = (
        '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="#444444"/></marker>'
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f"<style>{style}</style><defs>{tip}</defs>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *(_arrow(start, end) for start, end in arrows()),
        *map(_box, CENTERS),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DIAGRAM.write_text(draw(), encoding="utf-8")
