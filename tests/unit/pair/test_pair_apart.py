"""Two copies that both counted alone since they were equal: neither is made anew from the other one by itself.

No healthy pair has such, for a node that is admitted counts from the epoch of its admission. An arbiter that went back
makes them, wherever the record has moved since.
"""

import attrs
import pytest

from ctlha_trio.pair import (
    COPY_CHUNK_BYTES,
    Copy,
    Metadata,
    PairState,
    Phase,
    Record,
    actions as act,
    boot,
    events as ev,
    messages as msg,
    step_pair,
)
from ctlha_trio.wire import KnownRecord

PEER = 77
BOTH = Record(cluster="c", resource="r", epoch=3, lineage="l", primary="a", members=("a", "b"), proposal="0")
OWN = attrs.evolve(BOTH, epoch=4, members=("a",), proposal="1")
"""By which ``a`` went on alone; the arbiter forgot it."""
PEERS = attrs.evolve(BOTH, epoch=6, primary="b", members=("b",), proposal="2")
"""What ``b``, which was shown ``BOTH``, has made of it by now."""
FORCED = attrs.evolve(PEERS, epoch=7, lineage="n", ancestors=("l",), proposal="3")
"""A person has decided for ``b``."""
APART = KnownRecord("l", 4, 0, leads=True)


def disk(copy: Copy = Copy.MEMBER, heard: KnownRecord | None = None) -> Metadata:
    """Of ``a``, which has served alone."""
    return Metadata(
        cluster="c",
        node="a",
        resource="r",
        lineage="l",
        arbiter="x",
        epoch=4,
        revision=4,
        primary="a",
        members=("a",),
        copy=copy,
        base_epoch=3,
        heard=heard,
    )


def feed(state: PairState, *fed: ev.Event | msg.Message) -> tuple[PairState, list[act.Action]]:
    ordered: list[act.Action] = []
    for event in fed:
        state, actions = step_pair(state, event if isinstance(event, ev.Event) else ev.Received(event))
        ordered += actions
    return state, ordered


def starts(metadata: Metadata, record: Record = PEERS) -> PairState:
    """``a``, once the arbiter has shown it a record, and its disk knows that."""
    state, _ = boot(me="a", peer="b", incarnation=1, size_bytes=2 * COPY_CHUNK_BYTES, metadata=metadata, marked_from=3)
    return durable(feed(state, ev.RecordRead(record, record.epoch + 10))[0])


def durable(state: PairState) -> PairState:
    while state.persisting is not None:
        state, _ = feed(state, ev.Persisted(state.persisting))
    return state


def is_offered(state: PairState, base_epoch: int, record: Record = PEERS) -> tuple[PairState, list[act.Action]]:
    standing = msg.Standing(record.epoch, record.epoch + 10, Phase.ALONE, 0, record.lineage, leads=True)
    return feed(state, ev.SessionUp(PEER), standing, msg.ResyncStart(record.epoch, record.proposal, base_epoch))


def copies(ordered: list[act.Action]) -> list[Copy]:
    return [each.metadata.copy for each in ordered if isinstance(each, act.Persist)]


def went_back(state: PairState) -> bool:
    return (state.phase, state.why) == (Phase.STOPPED, "arbiter-went-back")


@pytest.mark.parametrize("base_epoch", [1, 3, 4])
def test_a_copy_that_counted_alone_since_the_source_counts_is_not_overwritten(base_epoch: int) -> None:
    state = starts(disk())
    assert state.phase is Phase.OUTDATED
    state, ordered = is_offered(state, base_epoch)
    assert went_back(state)
    assert copies(ordered) == [Copy.MEMBER]
    assert durable(state).metadata.is_apart


@pytest.mark.parametrize("base_epoch", [5, 6])
def test_one_that_was_there_when_the_source_was_admitted_is(base_epoch: int) -> None:
    state, ordered = is_offered(starts(disk()), base_epoch)
    assert copies(ordered) == [Copy.RESYNCING]
    assert durable(state).phase is Phase.RESYNCING


def test_a_source_of_a_version_that_does_not_say_from_where_it_counts_is_followed() -> None:
    assert durable(is_offered(starts(disk()), 0)[0]).phase is Phase.RESYNCING


@pytest.mark.parametrize("copy", [Copy.FAILED, Copy.RESYNCING, Copy.REWRITING, Copy.SEALED])
def test_a_copy_that_is_no_state_of_which_anything_was_acknowledged_is_overwritten(copy: Copy) -> None:
    assert durable(is_offered(starts(disk(copy)), 3)[0]).phase is Phase.RESYNCING


def test_a_member_of_two_has_acknowledged_nothing_alone() -> None:
    state = starts(attrs.evolve(disk(), members=("a", "b")))
    assert durable(is_offered(state, 3)[0]).phase is Phase.RESYNCING


def test_what_a_person_has_abandoned_is_overwritten() -> None:
    state, _ = is_offered(starts(disk(), FORCED), 3, FORCED)
    assert durable(state).phase is Phase.RESYNCING


def test_a_source_by_another_record_proves_nothing() -> None:
    state, ordered = is_offered(starts(disk()), 3, attrs.evolve(PEERS, proposal="another"))
    assert (state.phase, copies(ordered)) == (Phase.OUTDATED, [])
    assert act.ReadRecord() in ordered


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(PEERS, id="where the other one is"),
        pytest.param(attrs.evolve(PEERS, epoch=9, members=("a", "b")), id="of both"),
        pytest.param(OWN, id="its own, put back"),
        pytest.param(BOTH, id="older"),
    ],
)
def test_no_record_of_its_line_starts_a_copy_that_is_apart(record: Record) -> None:
    """The other one has served too: not even the arbiter's newest data says whose copy is the volume."""
    assert went_back(starts(disk(heard=APART), record))


def test_a_copy_that_is_apart_keeps_that_in_mind_whatever_it_is_told() -> None:
    later = KnownRecord("l", 8, 18, leads=True)
    state, ordered = feed(starts(disk(heard=APART)), ev.PeerKnows(later))
    assert (went_back(state), copies(ordered)) == (True, [])
    assert went_back(starts(state.metadata, attrs.evolve(PEERS, epoch=8)))


def test_it_is_abandoned_by_the_line_that_a_person_began_from_its_own() -> None:
    told = KnownRecord("n", 7, 17, leads=True, ancestors=("l",))
    state, ordered = feed(starts(disk(heard=APART)), ev.PeerKnows(told))
    assert copies(ordered) == [Copy.MEMBER]
    assert went_back(starts(durable(state).metadata)), "that line is over"
    state, ordered = is_offered(starts(durable(state).metadata, FORCED), 3, FORCED)
    assert copies(ordered) == [Copy.RESYNCING]


def test_one_that_is_apart_and_never_heard_of_the_line_that_a_person_began_is_abandoned_by_its_record() -> None:
    state = starts(disk(heard=APART), FORCED)
    assert state.phase is Phase.OUTDATED
    assert copies(is_offered(state, 3, FORCED)[1]) == [Copy.RESYNCING]


def test_a_copy_that_holds_nothing_is_apart_from_none() -> None:
    assert starts(disk(Copy.FAILED, APART)).phase is Phase.OUTDATED
