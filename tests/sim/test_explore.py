"""The exploration of the pair core: what it reaches is reached whole, nothing is broken, and all can go on.

And that what makes it small loses nothing.
"""

from functools import cache

import attrs
import pytest

from ctlha_trio.pair import (
    Metadata,
    Operation,
    PairState,
    Record,
    _service as service,
    actions as act,
    events as ev,
    messages as msg,
)
from ctlha_trio.pair._state import Flight, Mirrored, Resync, SwapAttempt
from ctlha_trio.pair._step import Step
from ctlha_trio.testing import Bound, explore
from ctlha_trio.testing._explore.clients import Clients, forced, recorded
from ctlha_trio.testing._explore.counters import SPACES
from ctlha_trio.testing._explore.forgetting import plain_message, plain_node
from ctlha_trio.testing._explore.parts import FIRST_VALUE, Inbox, Node
from ctlha_trio.testing._explore.register import register
from ctlha_trio.testing._explore.search import find_together, no_collection
from ctlha_trio.testing._explore.world import Graph

SMALL = Bound(writes=1, lost_replies=1)


FIGURES = {
    Bound(writes=1, handovers=1, lost_replies=1): (991, 2_785, 25),
    Bound(writes=2, reads=1): (12_168, 42_244, 21),
    Bound(writes=1, cuts=1): (19_618, 75_886, 48),
    Bound(writes=1, crashes=1): (56_315, 189_265, 50),
    Bound(writes=1, cuts=1, forces=1): (49_718, 185_010, 57),
}


@pytest.mark.parametrize("bound", FIGURES, ids=str)
def test_the_graph_is_the_one_that_is_known(bound: Bound) -> None:
    """However it is walked and kept. Another graph shows that the core, or what makes the worlds small, has changed."""
    found = explore(bound)
    found.require()
    assert (found.states, found.transitions, found.depth) == FIGURES[bound]


@pytest.mark.parametrize(
    ("bound", "cold"),
    [
        (Bound(), True),
        (Bound(cuts=1), False),
        (Bound(proposals=1, writes=1), False),
        (Bound(proposals=1, reads=1), False),
        (Bound(proposals=1, handovers=1), False),
        (Bound(forces=1), True),
        (Bound(refusals=1, cuts=1, forces=1), False),
    ],
    ids=str,
)
def test_everything_holds_and_goes_on(bound: Bound, cold: bool) -> None:
    exploration = explore(bound, cold=cold)
    exploration.require()
    assert exploration.states > 1


def test_a_resumption_counts_although_the_secondary_had_said_that_it_claims() -> None:
    """Its claim was refused, and what it said of itself last is still under way: the primary would wait for ever."""
    explore(Bound(cuts=1, refusals=1)).require()


def test_it_reaches_what_the_bound_says() -> None:
    graph = Graph()
    reached = worlds_from(graph, graph.with_bound(find_together(graph), Bound(cuts=1)))
    nodes = [part for world in reached for part in graph.worlds.parts(world)[:2]]
    phases = {node.core.phase.name for node in nodes if node.core}
    assert phases >= {"SUSPENDED", "CLAIMING", "SECURING", "ALONE", "OUTDATED", "RESYNCING", "ADMITTING", "MIRRORING"}


def test_a_force_loses_what_was_acknowledged_without_the_node_and_the_pair_comes_together_without_it() -> None:
    graph = Graph()
    alone, together = False, False
    for world in worlds_from(graph, graph.cold(Bound(writes=1, forces=1))):
        *nodes, _, _, arbiter, clients, bound = graph.worlds.parts(world)
        lost = not (bound.writes or clients.block.writes) and clients.block.values == {FIRST_VALUE}
        serves = any(each.core and each.core.phase.name == "ALONE" and each.block != FIRST_VALUE for each in nodes)
        if clients.abandoned is not None and not clients.abandoned.writes:
            alone |= lost and serves and clients.abandoned.values.isdisjoint({FIRST_VALUE})
        together |= lost and bool(arbiter.record.ancestors) and graph.is_together(world)
    assert alone, "an abandoned node has acknowledged a write, and has not found out"
    assert together, "both hold what the forced copy held"


def test_a_forced_copy_that_lacks_what_was_acknowledged_while_it_counted_is_found() -> None:
    graph = Graph()
    a, *_, arbiter, _, _ = graph.worlds.parts(graph.cold(Bound()))
    both = Clients(register(2))
    b_alone = attrs.evolve(arbiter, record=arbiter.record.succeed(primary="b", members=("b",), proposal="p"))
    counted = recorded(both, arbiter, b_alone)
    for known, before in ((both, arbiter), (counted, b_alone)):
        with pytest.raises(AssertionError, match=r"a is forced and holds 1, but counted with \[2\]"):
            forced(known, before, a)
    later = counted.called(3, write=True, primary=True)
    assert forced(later, b_alone, attrs.evolve(a, block=3)).block.values == {3}
    assert forced(later, b_alone, attrs.evolve(a, block=2)).abandoned == later.block


def worlds_from(graph: Graph, start: int) -> set[int]:
    reached, waiting = {start}, [start]
    with no_collection():
        while waiting:
            for world, way in graph.moves(waiting.pop()):
                assert not way.problem
                if world not in reached:
                    reached.add(world)
                    waiting.append(world)
    return reached


def into(graph: Graph, other: Graph, worlds: set[int], *, forgets: bool) -> set[int]:
    """The worlds of another graph, as this one makes them one."""
    made = set()
    plain_of = cache(plain)  # one part is in thousands of worlds
    for world in worlds:
        parts = other.worlds.parts(world)
        if forgets:
            parts = [plain_of(part) for part in parts]
        made.add(graph.worlds.standing_for(graph.worlds.world(parts)))
    return made


def plain(part: object) -> object:
    if isinstance(part, Node):
        return plain_node(part)
    if isinstance(part, Inbox):
        sessions = (
            attrs.evolve(session, messages=tuple(plain_message(message) for message in session.messages))
            for session in part.sessions
        )
        return attrs.evolve(part, sessions=tuple(sessions))
    return part


BOUNDS = {
    "cold": (Bound(), True),
    "handover": (Bound(writes=1, refusals=1, handovers=1), False),
}
RENAMED = BOUNDS | {
    "handover": (Bound(writes=1, reads=1, refusals=1, handovers=1), False),
    "proposal": (Bound(proposals=1, handovers=1), False),
    "force": (Bound(cuts=1, forces=1), False),
}
"""With less no two worlds differ by counters only: which node may still have to mark the write tells them apart."""


@pytest.mark.parametrize("name", RENAMED)
def test_renaming_loses_nothing_and_invents_nothing(name: str) -> None:
    """What is reached without it is, renamed, exactly what is reached with it."""
    small, large = Graph(), Graph(renames=False)
    reached, without = reached_by_both(small, large, *RENAMED[name])
    assert into(small, large, without, forgets=False) == reached
    assert len(reached) < len(without)


@pytest.mark.parametrize("name", BOUNDS)
def test_forgetting_loses_nothing_and_invents_nothing(name: str) -> None:
    """What is reached without it is, made plain, exactly what is reached with it."""
    small, large = Graph(), Graph(renames=False, forgets=False)
    reached, without = reached_by_both(small, large, *BOUNDS[name])
    assert into(small, large, without, forgets=True) == reached
    assert len(reached) < len(without)


def reached_by_both(small: Graph, large: Graph, bound: Bound, cold: bool) -> tuple[set[int], set[int]]:
    start = small.cold(bound) if cold else small.with_bound(find_together(small), bound)
    return worlds_from(small, start), worlds_from(large, large.worlds.world(small.worlds.parts(start)))


@pytest.mark.parametrize("broken", [False, True], ids=["the core", "a mutant"])
def test_the_verdict_is_the_same_without_what_makes_it_small(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if broken:
        plain_mirror_write = service.mirror_write

        def mirror_write(step: Step, message: msg.MirrorWrite) -> None:
            plain_mirror_write(step, message)
            step.send(msg.Applied(message.epoch, message.sequence))

        monkeypatch.setattr(service, "mirror_write", mirror_write)
    settings = ((True, True), (False, True), (False, False))
    found = [explore(SMALL, renames=renames, forgets=forgets) for renames, forgets in settings]
    assert {bool(each.problem) for each in found} == {broken}
    assert {each.complete and not each.stuck for each in found} == {not broken}


NO_COUNTERS = {
    "phase", "stage", "why", "reading", "arbiter_answers", "untaken", "size_bytes", "handover_attempt", "cluster",
    "resource", "lineage", "arbiter", "copy", "format", "kind", "fence", "evidence", "unknown", "calling", "doubtful",
    "here", "there", "answered", "number", "offset", "size", "equal", "attempt", "outcome", "forcing", "told_ranges",
    "ancestors", "where", "ranges", "cursor", "paused", "whole", "unseen", "left_out", "hurt", "mended", "tried",
    "last_resort", "verification", "keep", "admission_held", "granted", "miscompare_at", "key", "digest", "restarts",
    "said", "told", "beside_clients", "client_came", "resting", "retry_set", "leads", "asks_room", "persists",
    "renewing", "takes_changes", "proved",
}  # fmt: skip
"""Fields that the core does not count with, or (``number`` of an operation, ``attempt``, ``restarts``) that the bound
keeps small.

The ``digest`` is of records, of which there are none here; that of a range is counted.
"""
COUNTED = (
    PairState, Metadata, Record, SwapAttempt, Flight, Mirrored, Resync, Operation, *msg.Message.__args__,
    act.StoreWrite, act.StoreMirrored, act.FetchRead, act.SendCompare, act.CompareRange, act.Swap,
    act.Persist, act.Track, act.FindDirty,
    ev.RecordRead, ev.Swapped,
)  # fmt: skip


@pytest.mark.parametrize("counted", COUNTED, ids=lambda each: each.__name__)
def test_every_field_is_known_as_a_counter_or_as_none(counted: type) -> None:
    fields = {field.name for field in attrs.fields(counted)}
    assert fields - SPACES[counted].keys() <= NO_COUNTERS
    assert SPACES[counted].keys() <= fields


def test_a_search_that_was_ended_early_is_no_proof() -> None:
    exploration = explore(Bound(cuts=1), states_max=50)
    assert not exploration.complete
    with pytest.raises(AssertionError, match="not explored to the end"):
        exploration.require()
