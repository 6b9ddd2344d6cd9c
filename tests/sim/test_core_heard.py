"""What is news to a simulated node: which nodes that take no part any more are heard once more, and no oftener."""

import attrs
import pytest

from ctlha_trio.pair import PairState, Phase
from ctlha_trio.testing._core.heard import have_news
from ctlha_trio.testing._core.world import CoreWorld
from ctlha_trio.wire import KnownRecord


@pytest.fixture
def cores() -> tuple[PairState, PairState]:
    """One that has stopped, and knows of a line that a person began; one that runs and has heard nothing."""
    world = CoreWorld(1, ())
    world.heal()
    one, other = (node.state for node in world.pair.nodes.values())
    assert one is not None
    assert other is not None
    assert one.record is not None
    record = one.record.fork(primary=one.me, lineage="forked", proposal="p")
    return attrs.evolve(one, phase=Phase.STOPPED, record=record), attrs.evolve(other, heard=None)


def test_what_was_heard_is_no_news_although_its_ancestors_are_not_remembered(
    cores: tuple[PairState, PairState],
) -> None:
    gone, other = cores
    assert gone.knows.ancestors
    assert have_news(cores)
    heard = attrs.evolve(gone.knows, ancestors=())
    assert not have_news((gone, attrs.evolve(other, heard=heard)))
    assert have_news((gone, attrs.evolve(other, heard=attrs.evolve(heard, leads=not heard.leads))))


@pytest.mark.parametrize(("line", "ahead", "news"), [("forked", 1, False), ("forked", -1, True), ("other", 1, True)])
def test_who_has_heard_what_is_later_in_the_same_line_is_told_nothing(
    cores: tuple[PairState, PairState], line: str, ahead: int, *, news: bool
) -> None:
    gone, other = cores
    known = gone.knows
    heard = KnownRecord(line, known.epoch + ahead, known.revision + ahead, leads=known.leads)
    assert have_news((gone, attrs.evolve(other, heard=heard))) is news
