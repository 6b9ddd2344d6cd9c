"""The diagram of the phases is drawn from their table, and shows each way."""

from ctlha_trio.pair import TRANSITIONS, Phase
from ctlha_trio.pair._phase import _ANY_END, _DECIDED
from tests.docs.phase_diagram import CENTERS, DIAGRAM, arrows, draw, is_decided


def test_the_diagram_of_the_documentation_is_that_of_the_table() -> None:
    assert DIAGRAM.read_text(encoding="utf-8") == draw(), "python -m tests.docs.phase_diagram draws it anew"


def test_each_way_of_the_table_is_an_arrow_or_said_by_a_mark() -> None:
    shown = {phase: set[Phase]() for phase in Phase}
    for start, end in arrows():
        shown[start].add(end)
    for phase in Phase:
        shown[phase] |= _DECIDED if is_decided(phase) else set()
        shown[phase] |= _ANY_END if phase not in _ANY_END else set()
    assert shown == TRANSITIONS
    assert set(CENTERS) == set(Phase)
    assert draw().count('class="arrow"') == len(list(arrows()))
