"""What every arbiter must do: checks to run against any engine.

Each takes a factory that makes a fresh arbiter holding a given record, and raises ``AssertionError`` with a sentence.
"""

from collections.abc import Awaitable, Callable

import attrs
import trio

from ctlha_trio._errors import InvalidError
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import Arbiter, SwapAnswer

ArbiterFactory = Callable[[Record], Awaitable[Arbiter]]
ArbiterCheck = Callable[[ArbiterFactory], Awaitable[None]]

RIVALS = 20
"""Swaps that are tried at once."""


def sample_record(**changes: object) -> Record:
    """A record of a healthy pair; keywords replace fields."""
    record = Record(
        cluster="cluster",
        resource="volume",
        epoch=7,
        lineage="lineage",
        primary="a",
        members=("a", "b"),
        proposal="proposal",
    )
    return attrs.evolve(record, **changes)  # type: ignore[arg-type]


async def check_read_gives_what_was_created(factory: ArbiterFactory) -> None:
    """A new arbiter holds the record that it was made with, at a revision above zero."""
    record = sample_record()
    found = await (await factory(record)).read()
    assert found.record == record, f"made with {record}, read {found.record}"
    assert found.revision > 0, f"revision {found.revision}: zero is for a node that has seen none"


async def check_read_changes_nothing(factory: ArbiterFactory) -> None:
    """Reading twice gives the same record and revision."""
    arbiter = await factory(sample_record())
    first = await arbiter.read()
    assert await arbiter.read() == first, "a second read differs from the first"


async def check_identity_is_constant(factory: ArbiterFactory) -> None:
    """The identity is a text that swaps do not change."""
    arbiter = await factory(sample_record())
    identity = arbiter.identity
    await _swap(arbiter, "next")
    assert identity, "the identity is empty"
    assert arbiter.identity == identity, "a swap changed the identity"


async def check_swap_wins_and_raises_the_revision(factory: ArbiterFactory) -> None:
    """A swap on the present revision wins, the revision rises, and a read gives the new record with it."""
    arbiter = await factory(sample_record())
    before = await arbiter.read()
    record = before.record.succeed(primary="b", members=("b",), proposal="next")
    answer = await arbiter.cas(before.revision, record)
    after = await arbiter.read()
    assert answer.outcome is SwapOutcome.WON, f"a swap on the present revision was {answer.outcome}"
    assert after.revision > before.revision, f"the revision went from {before.revision} to {after.revision}"
    assert answer.revision == after.revision, f"answered {answer.revision}, read {after.revision}"
    assert after.record == record, f"swapped in {record}, read {after.record}"


async def check_stale_swap_is_lost(factory: ArbiterFactory) -> None:
    """A swap on a revision that was left behind, or never was, is LOST and changes nothing."""
    arbiter = await factory(sample_record())
    stale = (await arbiter.read()).revision
    await _swap(arbiter, "next")
    before = await arbiter.read()
    for revision in (stale, before.revision + 1, 0):
        answer = await arbiter.cas(revision, sample_record(proposal="stale"))
        assert answer == SwapAnswer(SwapOutcome.LOST), f"a swap on revision {revision} was {answer}"
    assert await arbiter.read() == before, "a lost swap changed the record"


async def check_repeated_swap_is_lost(factory: ArbiterFactory) -> None:
    """The same swap sent twice is applied once."""
    arbiter = await factory(sample_record())
    revision = (await arbiter.read()).revision
    record = sample_record(epoch=8, proposal="twice")
    outcomes = [(await arbiter.cas(revision, record)).outcome for _ in range(2)]
    assert outcomes == [SwapOutcome.WON, SwapOutcome.LOST], f"the same swap twice: {outcomes}"


async def check_equal_content_still_moves_the_revision(factory: ArbiterFactory) -> None:
    """A swap that writes the record as it was is a swap: the revision counts swaps, not differences."""
    record = sample_record()
    arbiter = await factory(record)
    before = await arbiter.read()
    answer = await arbiter.cas(before.revision, record)
    after = await arbiter.read()
    assert answer.outcome is SwapOutcome.WON, f"a swap to the same content was {answer.outcome}"
    assert after.revision > before.revision, "a swap to the same content did not move the revision"


async def check_a_probe_changes_nothing(factory: ArbiterFactory) -> None:
    """It is taken, and a swap from the revision of before it wins."""
    arbiter = await factory(sample_record())
    before = await arbiter.read()
    assert await arbiter.probe(), "a probe of an arbiter that takes changes failed"
    assert await arbiter.read() == before, "a probe changed the record or its revision"
    await _swap(arbiter, "behind a probe")


async def check_one_of_many_rivals_wins(factory: ArbiterFactory) -> None:
    """Of many swaps at once on one revision exactly one wins, and its record is the one that is read."""
    arbiter = await factory(sample_record())
    revision = (await arbiter.read()).revision
    answers: dict[str, SwapAnswer] = {}

    async def rival(name: str) -> None:
        answers[name] = await arbiter.cas(revision, sample_record(epoch=8, proposal=name))

    async with trio.open_nursery() as nursery:
        for number in range(RIVALS):
            nursery.start_soon(rival, f"rival-{number}")
    winners = [name for name, answer in answers.items() if answer.outcome is SwapOutcome.WON]
    found = await arbiter.read()
    assert len(winners) == 1, f"{len(winners)} of {RIVALS} swaps on one revision won"
    assert found.record.proposal == winners[0], f"{winners[0]} won, {found.record.proposal} is read"
    losers = {answer.outcome for name, answer in answers.items() if name != winners[0]}
    assert losers <= {SwapOutcome.LOST, SwapOutcome.REFUSED}, f"the others were answered {losers}"


async def check_revisions_are_never_used_twice(factory: ArbiterFactory) -> None:
    """Over many swaps the revision only rises, and each won swap has one of its own."""
    arbiter = await factory(sample_record())
    revisions = [(await arbiter.read()).revision]
    for number in range(RIVALS):
        answer = await arbiter.cas(revisions[-1], sample_record(epoch=8 + number, proposal=str(number)))
        assert answer.revision is not None, f"swap {number} was {answer.outcome}"
        revisions.append(answer.revision)
    assert revisions == sorted(set(revisions)), f"revisions {revisions}"


async def check_unknown_fields_survive(factory: ArbiterFactory) -> None:
    """What a later version wrote comes back character by character, also after a swap by this version."""
    unknown = (("later", '{"b": 1.50, "a": [1e2, "\\u00e9", null]}'), ("also", "0.1000000000000000055511151231257827"))
    arbiter = await factory(sample_record(unknown=unknown))
    before = await arbiter.read()
    assert before.record.unknown == unknown, f"created with {unknown}, read {before.record.unknown}"
    await arbiter.cas(before.revision, before.record.succeed(primary="a", members=("a",), proposal="next"))
    after = await arbiter.read()
    assert after.record.proposal == "next", "the swap was not applied"
    assert after.record.unknown == unknown, f"after a swap {unknown} became {after.record.unknown}"


async def check_odd_texts_survive(factory: ArbiterFactory) -> None:
    """Names and evidence may hold any character."""
    record = sample_record(evidence='quote " backslash \\ newline \n zero \0 snowman \u2603 lone \ud800', lineage="")
    found = await (await factory(record)).read()
    assert found.record == record, f"made with {record}, read {found.record}"


async def check_foreign_record_is_invalid(factory: ArbiterFactory) -> None:
    """A record of another cluster or resource is the caller's mistake, and changes nothing."""
    arbiter = await factory(sample_record())
    before = await arbiter.read()
    for foreign in (sample_record(cluster="other"), sample_record(resource="other")):
        try:
            answer = await arbiter.cas(before.revision, foreign)
        except InvalidError:
            continue
        raise AssertionError(f"a record of {foreign.cluster}/{foreign.resource} was answered {answer}")
    assert await arbiter.read() == before, "a refused record changed the arbiter"


async def check_cancelled_before_it_began_changes_nothing(factory: ArbiterFactory) -> None:
    """Both calls are checkpoints: in a cancelled scope neither has an effect."""
    arbiter = await factory(sample_record())
    before = await arbiter.read()
    with trio.CancelScope() as swapping:
        swapping.cancel()
        await arbiter.cas(before.revision, sample_record(proposal="cancelled"))
    with trio.CancelScope() as reading:
        reading.cancel()
        await arbiter.read()
    assert swapping.cancelled_caught, "cas is no checkpoint"
    assert reading.cancelled_caught, "read is no checkpoint"
    assert await arbiter.read() == before, "a swap that was cancelled before it began was applied"


ARBITER_CHECKS: tuple[ArbiterCheck, ...] = (
    check_read_gives_what_was_created,
    check_read_changes_nothing,
    check_identity_is_constant,
    check_swap_wins_and_raises_the_revision,
    check_stale_swap_is_lost,
    check_repeated_swap_is_lost,
    check_equal_content_still_moves_the_revision,
    check_a_probe_changes_nothing,
    check_one_of_many_rivals_wins,
    check_revisions_are_never_used_twice,
    check_unknown_fields_survive,
    check_odd_texts_survive,
    check_foreign_record_is_invalid,
    check_cancelled_before_it_began_changes_nothing,
)
"""All of them, for a parametrized test."""


async def _swap(arbiter: Arbiter, proposal: str) -> None:
    found = await arbiter.read()
    record = found.record.succeed(primary=found.record.primary, members=found.record.members, proposal=proposal)
    answer = await arbiter.cas(found.revision, record)
    assert answer.outcome is SwapOutcome.WON, f"an undisturbed swap was {answer.outcome}"
