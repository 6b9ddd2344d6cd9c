"""What a node tells of its stops and refusals, for the log of decisions."""

from itertools import pairwise

import attrs
import pytest

from ctlha_trio._errors import CtlHaError, DisconnectError, RefusedError, UntrustedPeerError
from ctlha_trio.ha import Notice
from ctlha_trio.ha._notices import Notices
from ctlha_trio.pair import PairState, Phase, Record, SwapOutcome, boot, events
from ctlha_trio.testing._pairs.first_metadata import first_metadata


@pytest.fixture
def state() -> PairState:
    record = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=("a", "b"), proposal="p")
    metadata = first_metadata(record, "a", "arbiter")
    return boot(me="a", peer="b", incarnation=1, size_bytes=4096, metadata=metadata, marked_from=None)[0]


def told(notices: Notices) -> list[Notice]:
    found: list[Notice] = []
    notices.followers.append(found.append)
    return found


@pytest.mark.parametrize(
    ("phase", "what"), [(Phase.CLAIMING, "claim"), (Phase.ADMITTING, "admit"), (Phase.HANDING_OVER, "handover")]
)
@pytest.mark.parametrize(("outcome", "count"), [(SwapOutcome.LOST, 1), (SwapOutcome.REFUSED, 1), (SwapOutcome.WON, 0)])
def test_a_swap_that_was_not_won(state: PairState, phase: Phase, what: str, outcome: SwapOutcome, count: int) -> None:
    before = attrs.evolve(state, phase=phase)
    notices = Notices(lambda: before, lambda: True)
    found = told(notices)
    notices.stepped(before, events.Swapped("p", outcome, 7), before)
    assert [(each.what, each.outcome, each.kind) for each in found] == [(what, "refused", outcome.value)] * count


def test_a_node_that_stops_serving_says_so_once(state: PairState) -> None:
    stopped = attrs.evolve(state, phase=Phase.STOPPED, why="arbiter-went-back", revision=5)
    notices = Notices(lambda: stopped, lambda: True)
    found = told(notices)
    remembers = attrs.evolve(stopped, persisting=state.metadata)
    notices.stepped(state, events.ReadFailed(), remembers)
    assert found == [], "its disk does not know yet"
    for before, after in pairwise((remembers, stopped, stopped, remembers, stopped)):
        notices.stepped(before, events.ReadFailed(), after)
    assert [(each.what, each.outcome, each.why, each.revision) for each in found] == [
        ("halt", "done", "arbiter-went-back", 5)
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefusedError("twin", "127.0.0.1:1"), "twin, False"),
        (RefusedError("size", by_peer=True), "size, True"),
        (UntrustedPeerError("127.0.0.1:1: its key"), "untrusted"),
        (RefusedError("simultaneous"), None),
        (DisconnectError("127.0.0.1:1"), None),
    ],
)
def test_a_refused_peer(state: PairState, error: CtlHaError, kind: str | None) -> None:
    notices = Notices(lambda: state, lambda: True)
    found = told(notices)
    notices.reported(error)
    expected = [] if kind is None else [("peer", str(error), kind)]
    assert [(each.what, each.why, each.kind) for each in found] == expected
