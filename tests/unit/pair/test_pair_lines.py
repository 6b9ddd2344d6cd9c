"""An arbiter that went back to before a force: a copy that was abandoned does not take the line that ended for its own.

``L`` is the line of the copy, from which a person began ``M``, and from that ``N``.
"""

import attrs
import pytest

from ctlha_trio.pair import Copy, Metadata, Phase, Record, SwapOutcome, actions as act, events as ev, messages as msg
from ctlha_trio.wire import KnownRecord
from tests.unit.pair.test_pair_heard import BOTH, PEER, booted, feed, metadata as metadata_of

FIRST = Record(cluster="c", resource="r", epoch=3, lineage="L", primary="b", members=BOTH, proposal="0")
ALONE = attrs.evolve(FIRST, epoch=4, members=("b",), proposal="1")
"""``b`` went on alone, and was said to be off."""
FORCED = ALONE.fork(primary="a", lineage="M", proposal="2")
LATER = attrs.evolve(FORCED, epoch=6, proposal="3")
AGAIN = FORCED.fork(primary="b", lineage="N", proposal="4")
SHOWN = KnownRecord("M", 5, 5, leads=True)
"""What a node that was shown ``FORCED`` remembers."""


def metadata(record: Record, heard: KnownRecord | None = None, *proposed: str) -> Metadata:
    """Of the copy of ``b``, which knows this record."""
    return attrs.evolve(metadata_of("b", record, heard), proposed=proposed)


def shown(record: Record) -> ev.RecordRead:
    return ev.RecordRead(record, record.epoch)


def disk_after(ordered: list[act.Action]) -> Metadata:
    (disk,) = [each.metadata for each in ordered if isinstance(each, act.Persist)]
    return disk


WENT_BACK = Phase.STOPPED, "arbiter-went-back"


@pytest.mark.parametrize("record", [ALONE, FIRST], ids=["its own", "of both"])
def test_an_abandoned_copy_that_was_shown_the_later_line_does_not_go_by_the_old_one(record: Record) -> None:
    """Nobody is there to tell it: the node that was forced is off, and the arbiter restored to before that."""
    state, ordered = feed(booted(metadata(record)), shown(FORCED))
    assert state.phase is Phase.OUTDATED
    disk = disk_after(ordered)
    assert disk == metadata(record, SHOWN)
    state, ordered = feed(booted(disk), shown(record))
    assert (state.phase, state.why) == WENT_BACK
    assert not any(isinstance(each, act.Swap | act.Persist) for each in ordered)
    for timer in ev.Timer:
        assert not any(isinstance(each, act.Swap) for each in feed(state, ev.TimerFired(timer))[1])


@pytest.mark.parametrize(
    ("copy", "heard", "record", "phase"),
    [
        (ALONE, SHOWN, FORCED, Phase.OUTDATED),
        (ALONE, SHOWN, LATER, Phase.OUTDATED),
        (ALONE, SHOWN, AGAIN, Phase.STOPPED),
        (ALONE, SHOWN, attrs.evolve(AGAIN, primary="a", members=("a",)), Phase.OUTDATED),
        (ALONE, SHOWN, attrs.evolve(AGAIN, ancestors=("M", "L")), Phase.STOPPED),
        (FORCED, KnownRecord("M", 6, 6, leads=True), LATER, Phase.OUTDATED),
        (FORCED, None, LATER, Phase.OUTDATED),
        (ALONE, None, ALONE, Phase.CLAIMING),
        (FIRST, None, FIRST, Phase.WAITING),
        # Another line, later than all that is known: one of the two was no line of the pair, and this is the newest.
        (ALONE, SHOWN, attrs.evolve(ALONE, epoch=8).fork(primary="a", lineage="N", proposal="9"), Phase.OUTDATED),
        (ALONE, KnownRecord("N", 6, 6, leads=True), attrs.evolve(FORCED, epoch=7, members=BOTH), Phase.OUTDATED),
        # What was told of its own line ends with that line, whichever of the two is the later epoch.
        (FIRST, KnownRecord("L", 4, 4, leads=True), FORCED, Phase.OUTDATED),
        (FIRST, KnownRecord("L", 9, 9, leads=True), FORCED, Phase.OUTDATED),
    ],
)
def test_a_copy_goes_by_the_newest_line_that_it_knows_and_by_what_descends_from_that(
    copy: Record, heard: KnownRecord | None, record: Record, phase: Phase
) -> None:
    state, _ = feed(booted(metadata(copy, heard)), shown(record))
    assert state.phase is phase
    # ``AGAIN`` names this node, and its disk does not know why.
    assert state.why in {"booted", "copy-went-back"}


@pytest.mark.parametrize(
    ("heard", "record"),
    [
        (SHOWN, ALONE),
        (SHOWN, FIRST),
        # Somebody went on in the line that had ended.
        (SHOWN, attrs.evolve(ALONE, epoch=9, proposal="9")),
        (SHOWN, attrs.evolve(ALONE, epoch=9, primary="a", members=("a",), proposal="9")),
        # Forced once more from there, before the epoch or the revision that is known.
        (SHOWN, ALONE.fork(primary="a", lineage="N", proposal="9")),
        (KnownRecord("M", 6, 6, leads=True), FORCED),
        (KnownRecord("N", 6, 6, leads=True), FORCED),
        (KnownRecord("N", 5, 9, leads=True), LATER),
        (KnownRecord("N", 9, 6, leads=True), attrs.evolve(FORCED, epoch=7)),
    ],
)
def test_its_own_line_is_past_then_and_of_any_other_what_is_not_later(heard: KnownRecord, record: Record) -> None:
    state, _ = feed(booted(metadata(ALONE, heard)), shown(record))
    assert (state.phase, state.why) == WENT_BACK


def test_a_node_that_was_forced_and_then_abandoned_does_not_go_on_from_its_own_force() -> None:
    """It crashed behind its swap; the other one was forced since, which it was shown."""
    mine = attrs.evolve(FORCED, primary="b", members=("b",))
    disk = metadata(ALONE, None, mine.proposal)
    assert feed(booted(disk), shown(mine))[0].phase is Phase.CLAIMING
    theirs = mine.fork(primary="a", lineage="N", proposal="4")
    state, ordered = feed(booted(disk), shown(theirs))
    assert (state.phase, disk_after(ordered).heard) == (Phase.OUTDATED, KnownRecord("N", 6, 6, leads=True))
    state, _ = feed(booted(disk_after(ordered)), shown(mine))
    assert (state.phase, state.why) == WENT_BACK


def test_an_abandoned_copy_that_is_forced_goes_on_although_it_crashed_before_it_had_recorded_that() -> None:
    state, _ = feed(booted(metadata(ALONE, SHOWN)), shown(FORCED))
    state, ordered = feed(state, ev.ForceAsked("a", "N", FORCED.epoch, ""))
    asked = disk_after(ordered)
    assert (asked.lineage, asked.heard) == ("L", SHOWN)
    state, ordered = feed(state, ev.Persisted(asked))
    (swap,) = [each for each in ordered if isinstance(each, act.Swap)]
    state, ordered = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 6))
    assert state.phase is Phase.SECURING
    assert (disk_after(ordered).lineage, disk_after(ordered).heard) == ("N", None)
    assert feed(booted(asked), ev.RecordRead(swap.record, 6))[0].phase is Phase.CLAIMING


def test_what_an_older_copy_of_the_peer_tells_of_the_old_line_does_not_replace_what_is_known_of_the_later_one() -> None:
    state, _ = feed(booted(metadata(ALONE, SHOWN)), shown(FORCED))
    state, ordered = feed(state, ev.PeerKnows(KnownRecord("L", 9, 9, leads=True)))
    assert ordered == []
    state, ordered = feed(state, ev.PeerKnows(KnownRecord("M", 6, 6, leads=True)))
    assert disk_after(ordered).heard == KnownRecord("M", 6, 6, leads=True)
    assert feed(state, shown(LATER))[0].phase is Phase.OUTDATED


def test_a_copy_that_returned_into_the_later_line_knows_it_by_itself() -> None:
    state, _ = feed(booted(metadata(ALONE, SHOWN)), shown(FORCED), ev.SessionUp(PEER))
    _, ordered = feed(state, msg.ResyncStart(5, FORCED.proposal))
    disk = disk_after(ordered)
    assert (disk.lineage, disk.heard, disk.copy) == ("M", None, Copy.RESYNCING)
    for past in (ALONE, attrs.evolve(ALONE, epoch=9, proposal="9")):
        assert feed(booted(disk), shown(past))[0].why == "arbiter-went-back"


@pytest.mark.parametrize("members", [("a",), BOTH])
def test_an_arbiter_that_was_adopted_by_the_node_that_had_been_forced_is_followed(members: tuple[str, ...]) -> None:
    """Its record is written over that of before the force, and descends from both lines, whichever was the last.

    The arbiter, which was restored, counts its revisions on from there.
    """
    adopted = attrs.evolve(FORCED, epoch=9, lineage="N", ancestors=("L", "M"), members=members, proposal="9")
    state, _ = feed(booted(metadata(ALONE, SHOWN)), ev.RecordRead(adopted, SHOWN.revision))
    assert state.phase is Phase.OUTDATED


def test_the_line_that_the_abandoned_copy_itself_begins_is_its_own() -> None:
    """As ``adopt-arbiter --abandon`` binds it: the other line says nothing to it any more."""
    adopted = attrs.evolve(ALONE, epoch=6, lineage="N", ancestors=("L",), proposal="9")
    state, _ = feed(booted(metadata(adopted)), shown(adopted))
    assert state.phase is Phase.CLAIMING


TOLD = KnownRecord("M", 5, 5, leads=True, ancestors=("L",))
"""By the node that was forced, of ``FORCED``."""


@pytest.mark.parametrize("has_read", [False, True])
def test_whoever_was_forced_tells_from_which_line_its_own_was_begun(*, has_read: bool) -> None:
    """Also while it goes on by a record that the arbiter, restored since, does not hold any more."""
    forced = attrs.evolve(FORCED, primary="b", members=("b",))
    state = booted(metadata(forced))
    if has_read:
        state, _ = feed(state, shown(forced))
    assert (state.record == forced) is has_read
    assert state.knows == TOLD


@pytest.mark.parametrize("serves", [False, True], ids=["booting", "about to serve"])
def test_a_node_that_is_told_of_the_line_begun_from_its_own_stops_and_remembers_it(*, serves: bool) -> None:
    """The arbiter, restored to before the force, has shown it nothing of that; the node that was forced does."""
    state, _ = feed(booted(metadata(ALONE)))
    if serves:
        state, ordered = feed(state, shown(ALONE))
        (swap,) = [each for each in feed(state, ev.Persisted(disk_after(ordered)))[1] if isinstance(each, act.Swap)]
        state, _ = feed(state, ev.Persisted(disk_after(ordered)))
        state, ordered = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.WON, 5))
        state, _ = feed(state, ev.Persisted(disk_after(ordered)))
        assert state.phase is Phase.SECURING
    record = ALONE if state.record is None else state.record
    state, ordered = feed(state, ev.PeerKnows(TOLD))
    assert any(isinstance(each, act.Persist) for each in ordered)
    disk = disk_after(ordered)
    assert disk.heard == SHOWN, "its ancestors are of no use any more"
    assert serves is any(isinstance(each, act.ReadRecord) for each in ordered)
    # What was asked for before it was told is asked for again.
    state, _ = feed(state, shown(record), shown(record))
    assert (state.phase, state.why) == WENT_BACK
    assert feed(booted(disk), shown(record))[0].why == "arbiter-went-back"


def test_a_node_that_has_stopped_remembers_the_line_of_which_it_is_told() -> None:
    state, _ = feed(booted(metadata(ALONE)), shown(attrs.evolve(ALONE, cluster="another")))
    assert state.phase is Phase.STOPPED
    assert disk_after(feed(state, ev.PeerKnows(TOLD))[1]).heard == SHOWN


@pytest.mark.parametrize("ancestors", [("L",), ("L", "X")])
@pytest.mark.parametrize("lineage", ["M", "N"])
def test_words_of_a_line_that_was_not_begun_from_its_own_bind_no_node(lineage: str, ancestors: tuple[str, ...]) -> None:
    """A copy that was discarded returns, and tells the node that serves of a line that ended."""
    chosen = attrs.evolve(ALONE, epoch=6, lineage=lineage, ancestors=ancestors, proposal="9")
    state, _ = feed(booted(metadata(chosen)), ev.PeerKnows(KnownRecord("X", 5, 9, leads=True, ancestors=("L",))))
    assert feed(state, shown(chosen))[0].phase is Phase.CLAIMING


def test_a_later_line_is_learned_over_the_one_that_was_known() -> None:
    state, _ = feed(booted(metadata(ALONE, SHOWN)), shown(FORCED))
    _, ordered = feed(state, ev.PeerKnows(KnownRecord("N", 6, 6, leads=True, ancestors=("L", "M"))))
    assert disk_after(ordered).heard == KnownRecord("N", 6, 6, leads=True)


@pytest.mark.parametrize("epoch", [4, 9])
def test_a_copy_of_the_later_line_knows_that_the_one_it_was_begun_from_is_over(epoch: int) -> None:
    """Whatever has become of it since: the other node may have gone on in it."""
    forced = attrs.evolve(FORCED, primary="b", members=("b",))
    gone_on = ev.RecordRead(attrs.evolve(ALONE, epoch=epoch, proposal="9"), 9)
    state, _ = feed(booted(metadata(forced)), gone_on)
    assert (state.phase, state.why) == WENT_BACK


@pytest.mark.parametrize(("follows", "problem"), [(True, ""), (False, "a won epoch 7")])
def test_what_was_forced_is_told_as_done_if_what_the_arbiter_shows_later_descends_from_it(
    follows: bool, problem: str
) -> None:
    """Nobody knew whether the arbiter took it, and the other node was forced before that was found."""
    state, _ = feed(booted(metadata(ALONE, SHOWN)), shown(FORCED))
    state, ordered = feed(state, ev.ForceAsked("a", "N", FORCED.epoch, ""))
    state, ordered = feed(state, ev.Persisted(disk_after(ordered)))
    (swap,) = [each for each in ordered if isinstance(each, act.Swap)]
    state, _ = feed(state, ev.Swapped(swap.record.proposal, SwapOutcome.UNKNOWN, None))
    later = (swap.record if follows else LATER).fork(primary="a", lineage="O", proposal="9")
    state, ordered = feed(state, ev.RecordRead(attrs.evolve(later, epoch=7), 7))
    assert [each.problem for each in ordered if isinstance(each, act.ForceEnded)] == [problem]
    assert state.phase is Phase.OUTDATED
