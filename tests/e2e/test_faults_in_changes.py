"""Nodes that are given a new disk, change roles, or stand still, while clients outside ask both."""

import signal

import pytest
import trio
import trio.testing

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock
from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, HandPair, run_ctlha
from ctlha_trio.testing._processes.outside_clients import ALL_KINDS, outside_clients

pytestmark = pytest.mark.slow

CLOCK = TrioClock()
SWITCHOVERS = 4
HOLD_DOWN_S = 2
READER = 1 << 32
"""A client whose number no other one has."""
LONGER_THAN_LEASES_S = 2.0
"""A peer that is silent is lost after 0.9 s, and all permits have ended by then."""


async def test_a_replaced_disk_holds_everything_when_the_other_node_dies(protected_pair: HandPair) -> None:
    """Also what was written before, while, and after it was filled; nothing else is left that could serve it."""
    pair = protected_pair
    victim = await pair.primary()
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        await clients.write_kept(victim)
        await pair.kill(victim)
        await clients.wait_served(OTHER[victim])
        await pair.replace_disk(victim)
        await pair.wait_protected()
        await clients.wait_served(victim)
        await pair.kill(OTHER[victim])
        await clients.wait_served(victim)
        await pair.wait_for(victim, verdict="degraded", role="primary", reasons=["peer-lost"])
        await clients.read_all(victim)
        await pair.start(OTHER[victim])
        await pair.wait_protected()
    await clients.compare_copies()


async def switch_over(pair: HandPair, node: str) -> None:
    """From this node, which has the role."""
    done = await run_ctlha("switchover", pair.config(node))
    assert done.code == 0, done.err
    await pair.wait_for(OTHER[node], role="primary", verdict="protected")
    await pair.wait_for(node, role="secondary", verdict="protected")


async def test_the_role_is_handed_to_and_fro_under_clients(protected_pair: HandPair) -> None:
    """Of the operations of all kinds that come to both nodes all the while, none fails and none stays unknown."""
    pair = protected_pair
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        for node in NODES:
            await clients.wait_served(node)
        for _ in range(SWITCHOVERS):
            await switch_over(pair, await pair.primary())
            for node in NODES:
                await clients.wait_served(node)
        for node in NODES:
            assert clients.refused_at(node) == 0
            done = {kind for at, kind, outcome in clients.ended if (at, outcome) == (node, Outcome.DONE)}
            assert done == set(ALL_KINDS)
            assert clients.ended[node, OperationKind.COMPARE_AND_WRITE, Outcome.MISCOMPARE]
        assert clients.disconnections == 0
    await clients.compare_copies()


def set_policy(pair: HandPair, mode: str, preferred: str) -> None:
    """Of both nodes, once they start."""
    for node in NODES:
        with pair.config(node).open("a") as file:
            file.write(f'\n[policy]\ngive_back = "{mode}"\npreferred = "{preferred}"\nhold_down_s = {HOLD_DOWN_S}\n')


async def lose_and_return(pair: HandPair, node: str) -> None:
    await pair.kill(node)
    await pair.wait_for(OTHER[node], role="primary", verdict="degraded")
    await pair.start(node)


def waits_to_give_back(status: dict[str, object]) -> bool:
    """As the primary of two that are in sync; on a busy machine it may note more."""
    notes = status["notes"]
    return (status["verdict"], status["role"]) == ("protected", "primary") and "give-back-waits" in str(notes)


def moved_s(status: dict[str, object], what: str) -> float:
    """When that happened last, by the clock that all processes of this machine share: whoever asks may be late."""
    rows = status["transitions"]
    assert isinstance(rows, list)
    return max(float(row["at_s"]) for row in rows if row["what"] == what)


async def test_the_role_goes_back_by_itself_after_the_hold_down(hand_pair: HandPair) -> None:
    """Not before the copy is in sync, nor before all has been well for so long."""
    pair = hand_pair
    set_policy(pair, "automatic", "a")
    await pair.start_protected()
    if await pair.primary() == "b":
        await switch_over(pair, "b")
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        await clients.wait_served("a")
        await lose_and_return(pair, "a")
        in_sync_s = moved_s(await pair.wait_until("b", waits_to_give_back), "mirroring: peer is a member")
        status = await pair.wait_for("a", verdict="protected", role="primary")
        assert moved_s(status, "mirroring: took over by handover") - in_sync_s > HOLD_DOWN_S
        await pair.wait_for("b", verdict="protected", role="secondary")
        await clients.wait_served("a")
    await clients.compare_copies()


async def test_the_role_stays_where_it_is_unless_the_policy_says_otherwise(hand_pair: HandPair) -> None:
    """``manual``: the preferred node may ask for it, and nothing asks by itself."""
    pair = hand_pair
    set_policy(pair, "manual", "a")
    await pair.start_protected()
    if await pair.primary() == "b":
        await switch_over(pair, "b")
    async with outside_clients(pair) as clients:
        await lose_and_return(pair, "a")
        await pair.wait_protected()
        epoch = (await pair.status("b"))["epoch"]
        until_s = CLOCK.now() + 2 * HOLD_DOWN_S
        while CLOCK.now() < until_s:
            status = await pair.status("b")
            assert (status["role"], status["epoch"], status["give_back_in_s"]) == ("primary", epoch, None)
            await clients.wait_served()
    await clients.compare_copies()


@pytest.mark.parametrize(("first_role", "change"), [("primary", "go-alone"), ("secondary", "take-over")])
async def test_both_nodes_stand_still_and_one_goes_on_first(
    protected_pair: HandPair, first_role: str, change: str
) -> None:
    """For longer than each waits for the other. The second finds reads of what was overwritten meanwhile at its door.

    What waits at the door of a primary is answered, however old it is: it has held it, and nobody else has decided.
    """
    pair = protected_pair
    first = await pair.node_that_is(first_role)
    second = OTHER[first]
    epoch = await pair.epoch(first)
    async with outside_clients(pair, kinds=ALL_KINDS) as clients, trio.open_nursery() as nursery:
        door = await pair.connect(second, READER, nursery)
        for node in NODES:
            await clients.wait_served(node)
        for node in (second, first):
            pair.send_signal(node, signal.SIGSTOP)
        await CLOCK.sleep_until(CLOCK.now() + LONGER_THAN_LEASES_S)
        pair.send_signal(first, signal.SIGCONT)
        await clients.wait_served(first)
        await pair.wait_for(first, verdict="degraded", role="primary", reasons=["peer-lost"], epoch=epoch + 1)
        await clients.write_all(first)
        nursery.start_soon(clients.ask_at_once, door, second)
        await trio.testing.wait_all_tasks_blocked()
        pair.send_signal(second, signal.SIGCONT)
        await pair.wait_for(second, role="secondary")
        await pair.wait_protected()
        assert await pair.primary() == first
        for node in NODES:
            await clients.wait_served(node)
        assert first_role == "secondary" or clients.refused_at(first) == 0
        door.close()
    await clients.compare_copies()
    for node in NODES:
        assert pair.changes(node, epoch, epoch + 2) == [(change, epoch + 1), ("admit", epoch + 2)]


async def test_both_nodes_stand_still_and_go_on_together(protected_pair: HandPair) -> None:
    """They have each other still; or one of them has not waited for the other, and has gone on alone meanwhile."""
    pair = protected_pair
    primary = await pair.primary()
    epoch = await pair.epoch(primary)
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        await clients.wait_served()
        for node in (primary, OTHER[primary]):
            pair.send_signal(node, signal.SIGSTOP)
        await CLOCK.sleep_until(CLOCK.now() + LONGER_THAN_LEASES_S)
        for node in (OTHER[primary], primary):
            pair.send_signal(node, signal.SIGCONT)
        for node in NODES:
            await clients.wait_served(node)
        await pair.wait_protected()
        for node in NODES:
            await clients.wait_served(node)
        last = await pair.epoch(primary)
        moved = await pair.primary() != primary
    await clients.compare_copies()
    change = "take-over" if moved else "go-alone"
    for node in NODES:
        changes = pair.changes(node, epoch, last)
        assert changes == [(change, epoch + 1), ("admit", epoch + 2)] or (not moved and changes == [])
