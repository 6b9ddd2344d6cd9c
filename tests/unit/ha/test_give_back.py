"""Giving the role back to the preferred node: after the hold-down, and not to and fro."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import InvalidError
from ctlha_trio._vocabulary import CTL_HA_CHAN_CTL
from ctlha_trio.ha import GiveBackPolicy, NodeConfig
from ctlha_trio.ha._give_back import (
    BACKOFF_MAX_S,
    STABLE_HOLD_DOWNS,
    GiveBack,
    GiveBackStand,
)
from ctlha_trio.pair import Copy, Metadata, PairState, Phase, Record, boot
from ctlha_trio.pair.messages import Standing
from ctlha_trio.testing import MemoryPair
from ctlha_trio.testing._pairs.memory_pair import no_components
from ctlha_trio.testing._pairs.open_pair import opened

BOTH_BY_A = Record(cluster="c", resource="r", epoch=4, lineage="l", primary="a", members=("a", "b"), proposal="0")
ALONE_B = BOTH_BY_A.succeed(primary="b", members=("b",), proposal="1")
BOTH_BY_B = ALONE_B.succeed(primary="b", members=("a", "b"), proposal="2")
GIVEN_TO_B = BOTH_BY_A.succeed(primary="b", members=("a", "b"), proposal="1")
POLICY = GiveBackPolicy(preferred="a", hold_down_s=10.0)


def stand(record: Record = BOTH_BY_B, phase: Phase = Phase.MIRRORING) -> PairState:
    """Of ``b``, which is the primary of two members in sync unless something else is said."""
    metadata = Metadata(
        cluster="c",
        node="b",
        resource="r",
        lineage="l",
        arbiter="x",
        epoch=record.epoch,
        revision=record.epoch,
        primary=record.primary,
        members=record.members,
        copy=Copy.MEMBER,
    )
    state, _ = boot(me="b", peer="a", incarnation=1, size_bytes=4096, metadata=metadata, marked_from=None)
    return attrs.evolve(
        state,
        phase=phase,
        record=record,
        revision=record.epoch,
        session=7,
        sessions=1,
        arbiter_answers=True,
        standing=Standing(record.epoch, record.epoch, Phase.FOLLOWING, 1),
    )


def took_over(policy: GiveBackPolicy = POLICY) -> GiveBack:
    """Of ``b``, to which the role came because ``a`` was lost."""
    give_back = GiveBack("b", policy)
    for before, after in ((None, BOTH_BY_A), (BOTH_BY_A, ALONE_B), (ALONE_B, BOTH_BY_B)):
        give_back.recorded(before, after)
    return give_back


def looks_until_due(give_back: GiveBack, state: PairState, most: int = 20_000) -> int:
    """How many looks of one second it takes; the first of them only shows what the next is compared with."""
    for count in range(1, most):
        if give_back.look(state, 1.0, trusted=True):
            return count
    raise AssertionError("never")


@pytest.mark.parametrize("hold_down_s", [-1.0, math.nan])
def test_a_hold_down_is_a_time(hold_down_s: float) -> None:
    with pytest.raises(InvalidError):
        GiveBackPolicy(preferred="a", hold_down_s=hold_down_s)


def test_the_role_goes_back_when_all_was_well_for_the_whole_hold_down() -> None:
    give_back = took_over()
    assert looks_until_due(give_back, stand()) == 11
    assert give_back.stand is GiveBackStand.WAITING


def test_what_is_left_is_told() -> None:
    give_back = took_over()
    assert give_back.left_s is None
    give_back.look(stand(), 1.0, trusted=True)
    give_back.look(stand(), 1.0, trusted=True)
    assert give_back.left_s == 9.0


@pytest.mark.parametrize(
    "broken",
    [
        attrs.evolve(stand(), sessions=2),
        attrs.evolve(stand(), arbiter_answers=False),
        attrs.evolve(stand(), standing=None),
        stand(phase=Phase.SUSPENDED),
        stand(phase=Phase.HANDING_OVER),
        stand(ALONE_B, Phase.ALONE),
        stand(attrs.evolve(BOTH_BY_B, epoch=8)),
    ],
    ids=["flap", "arbiter", "peer-not-ready", "suspended", "switchover", "alone", "epoch"],
)
def test_anything_that_is_not_well_begins_the_hold_down_anew(broken: PairState) -> None:
    give_back = took_over()
    for _ in range(10):
        assert not give_back.look(stand(), 1.0, trusted=True)
    assert not give_back.look(broken, 1.0, trusted=True)
    assert looks_until_due(give_back, stand()) >= 10


def test_distrust_begins_it_anew() -> None:
    give_back = took_over()
    for _ in range(10):
        give_back.look(stand(), 1.0, trusted=True)
    assert not give_back.look(stand(), 1.0, trusted=False)
    assert looks_until_due(give_back, stand()) == 10


def test_a_machine_that_was_suspended_has_seen_no_hold_down_pass() -> None:
    """What the node has seen counts, not what its clock shows."""
    give_back = took_over()
    give_back.look(stand(), 0.5, trusted=True)
    give_back.look(stand(), 0.5, trusted=True)
    assert give_back.left_s == 9.5


@pytest.mark.parametrize("policy", [attrs.evolve(POLICY, preferred="b"), attrs.evolve(POLICY, preferred="c")])
def test_whoever_is_preferred_or_does_not_know_the_preferred_one_keeps_the_role(policy: GiveBackPolicy) -> None:
    give_back = took_over(policy)
    assert not any(give_back.look(stand(), 1.0, trusted=True) for _ in range(100))
    assert (give_back.stand, give_back.left_s) == (GiveBackStand.NOTHING_TO_DO, None)


def test_a_role_that_was_given_here_stays() -> None:
    give_back = GiveBack("b", POLICY)
    give_back.recorded(None, BOTH_BY_A)
    give_back.recorded(BOTH_BY_A, GIVEN_TO_B)
    assert not any(give_back.look(stand(GIVEN_TO_B), 1.0, trusted=True) for _ in range(100))
    alone = GIVEN_TO_B.succeed(primary="b", members=("b",), proposal="3")
    give_back.recorded(GIVEN_TO_B, alone)
    give_back.recorded(alone, BOTH_BY_B)
    assert looks_until_due(give_back, stand()) == 11, "until this node has had to go on alone"


def test_a_node_that_starts_as_primary_gives_the_role_back_too() -> None:
    give_back = GiveBack("b", POLICY)
    give_back.recorded(None, BOTH_BY_B)
    assert looks_until_due(give_back, stand()) == 11


def test_what_failed_is_tried_again_later_and_later() -> None:
    give_back = took_over()
    waits = []
    for _ in range(12):
        waits.append(looks_until_due(give_back, stand()))
        give_back.ended(well=False)
    assert waits[:3] == [11, 20, 40]
    assert waits == sorted(waits)
    assert waits[-1] == BACKOFF_MAX_S
    give_back.look(stand(), 1.0, trusted=True)
    assert give_back.stand is GiveBackStand.BACKED_OFF


def test_a_hold_down_that_is_longer_than_the_bound_stays() -> None:
    give_back = took_over(attrs.evolve(POLICY, hold_down_s=BACKOFF_MAX_S * 2))
    give_back.ended(well=False)
    give_back.look(stand(), 1.0, trusted=True)
    assert give_back.left_s == BACKOFF_MAX_S * 2


def reverted(give_back: GiveBack, after_s: float) -> None:
    """The role was given back, and ``a`` lost again after that time."""
    give_back.ended(well=True)
    following = stand(BOTH_BY_A, Phase.FOLLOWING)
    give_back.recorded(BOTH_BY_B, BOTH_BY_A)
    give_back.look(following, after_s, trusted=True)
    for before, after in ((BOTH_BY_A, ALONE_B), (ALONE_B, BOTH_BY_B)):
        give_back.recorded(before, after)


def test_a_preferred_node_that_is_lost_again_soon_gets_the_role_later_and_later() -> None:
    give_back = took_over()
    waits = []
    for _ in range(4):
        waits.append(looks_until_due(give_back, stand()))
        reverted(give_back, after_s=5.0)
    assert waits == [11, 21, 41, 81]


def test_a_preferred_node_that_kept_the_role_is_trusted_again() -> None:
    give_back = took_over()
    reverted(give_back, after_s=5.0)
    assert looks_until_due(give_back, stand()) == 21
    reverted(give_back, after_s=STABLE_HOLD_DOWNS * 20.0)
    assert looks_until_due(give_back, stand()) == 11


# In whole nodes.

HOLD_S = 10.0


@attrs.define(eq=False)
class PolicyPair(MemoryPair):
    """A pair in which ``a`` is preferred; each node may have a policy of its own."""

    policies: dict[str, GiveBackPolicy] = attrs.field(
        factory=lambda: dict.fromkeys("ab", GiveBackPolicy(preferred="a", hold_down_s=HOLD_S)), kw_only=True
    )

    def config(self, name: str) -> NodeConfig:
        return attrs.evolve(super().config(name), give_back=self.policies.get(name))


async def fail_over_and_return(pair: MemoryPair) -> float:
    """``a`` dies and returns; when the pair is protected again."""
    pair.crash("a")
    await pair.wait_alone("b")
    await pair.restart("a")
    await pair.wait_protected()
    assert pair.record.primary == "b"
    return trio.current_time()


@asynccontextmanager
async def preferring(**policies: GiveBackPolicy | None) -> AsyncIterator[PolicyPair]:
    """Both nodes prefer ``a``, but for those of which something else is said."""
    both = dict.fromkeys("ab", GiveBackPolicy(preferred="a", hold_down_s=HOLD_S)) | policies

    def make(nursery: trio.Nursery) -> PolicyPair:
        known = {name: policy for name, policy in both.items() if policy is not None}
        return PolicyPair(1 << 20, Random(0), no_components, nursery, policies=known)

    async with opened(make) as pair:
        yield pair


async def until_given_back(pair: PolicyPair, since_s: float) -> float:
    """Seconds from then until ``a`` is the primary."""
    await pair.wait_until(lambda: pair.record.primary == "a")
    return trio.current_time() - since_s


async def test_the_preferred_node_gets_its_role_back_after_the_hold_down(autojump_clock: MockClock) -> None:
    async with preferring() as pair:
        since_s = await fail_over_and_return(pair)
        await trio.sleep(4.0)
        status = pair.nodes["b"].status()
        assert status.notes == ("give-back-waits",)
        assert status.give_back_in_s == pytest.approx(HOLD_S - 4.0, abs=3.0)
        assert (pair.nodes["a"].status().notes, pair.nodes["a"].status().give_back_in_s) == ((), None)
        assert HOLD_S <= await until_given_back(pair, since_s) <= HOLD_S + 4.0
        await pair.wait_serving("a")
        await pair.nodes["a"].volume.write(0, b"kept")
        await trio.sleep(HOLD_S * 3)
        assert pair.record.primary == "a"
        assert pair.nodes["b"].status().notes == ()


async def test_without_a_policy_only_a_person_moves_the_role(autojump_clock: MockClock) -> None:
    async with preferring(b=None) as pair:
        await fail_over_and_return(pair)
        await trio.sleep(10 * HOLD_S)
        assert pair.record.primary == "b"


async def test_a_flap_within_the_hold_down_begins_it_anew(autojump_clock: MockClock) -> None:
    async with preferring() as pair:
        since_s = await fail_over_and_return(pair)
        await trio.sleep(HOLD_S / 2)
        pair.break_link()
        assert await until_given_back(pair, since_s) >= 1.5 * HOLD_S


async def test_a_switchover_by_a_person_is_not_undone(autojump_clock: MockClock) -> None:
    async with preferring() as pair:
        await pair.wait_serving("a")
        await pair.nodes["a"].switchover()
        await trio.sleep(10 * HOLD_S)
        assert pair.record.primary == "b"


async def test_two_nodes_that_prefer_each_other_do_not_hand_the_role_to_and_fro(autojump_clock: MockClock) -> None:
    async with preferring(a=GiveBackPolicy(preferred="b", hold_down_s=HOLD_S)) as pair:
        await fail_over_and_return(pair)
        await trio.sleep(20 * HOLD_S)
        epoch = pair.record.epoch
        await trio.sleep(20 * HOLD_S)
        assert pair.record.epoch == epoch


async def test_a_node_that_is_not_protected_keeps_the_role(autojump_clock: MockClock) -> None:
    """Whatever the reason: here a handler that raised."""
    async with preferring() as pair:
        await fail_over_and_return(pair)
        b = pair.nodes["b"]

        async def fail(*_: object) -> None:
            raise ValueError("a bug")

        b.open_channel(CTL_HA_CHAN_CTL, fail)
        await pair.nodes["a"].open_channel(CTL_HA_CHAN_CTL).send(bytes(512))
        await pair.wait_until(lambda: "handler-failed" in b.status().reasons)
        await trio.sleep(5 * HOLD_S)
        assert pair.record.primary == "b"
        assert isinstance(pair.failures["b"], ExceptionGroup)


async def test_an_arbiter_that_does_not_answer_delays_it(autojump_clock: MockClock) -> None:
    async with preferring() as pair:
        since_s = await fail_over_and_return(pair)
        await trio.sleep(HOLD_S / 2)
        pair.arbiters["b"].unavailable = True
        await trio.sleep(2 * HOLD_S)
        assert pair.record.primary == "b"
        pair.arbiters["b"].unavailable = False
        assert await until_given_back(pair, since_s) >= 3.5 * HOLD_S


@pytest.mark.parametrize("seed", range(2))
async def test_in_lasting_trouble_the_role_does_not_go_to_and_fro_and_comes_home_at_the_end(
    seed: int, autojump_clock: MockClock
) -> None:
    random = Random(seed)
    async with preferring() as pair:
        handed = 0
        for _ in range(8):
            before = pair.record
            trouble = random.choice(["a dies", "b dies", "flap", "parted"])
            if trouble.endswith("dies"):
                pair.crash(trouble[0])
                await trio.sleep(random.uniform(0.5, 4.0))
                await pair.restart(trouble[0])
            elif trouble == "flap":
                pair.break_link()
            else:
                pair.partition()
                await trio.sleep(random.uniform(0.5, 4.0))
                pair.heal()
            await trio.sleep(random.uniform(1.0, HOLD_S / 2))
            handed += pair.record.epoch == before.epoch + 1 and len(before.members) == len(pair.record.members)
        assert handed == 0, "trouble that comes more often than the hold-down lasts"
        await pair.wait_protected()
        moved = pair.record
        await pair.wait_until(lambda: pair.record.primary == "a")
        assert pair.record in (moved, moved.succeed(primary="a", members=("a", "b"), proposal=pair.record.proposal))
        home = pair.record
        await trio.sleep(3 * HOLD_S)
        assert pair.record == home
        assert pair.copy("a") == pair.copy("b")
