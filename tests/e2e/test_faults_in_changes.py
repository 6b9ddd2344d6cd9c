"""Nodes that are given a new disk, change roles, or die in the middle of that, while clients outside ask both."""

import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
import trio

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock
from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, POLL_S, HandPair, made_pair, run_ctlha
from ctlha_trio.testing._processes.outside_clients import ALL_KINDS, outside_clients

pytestmark = pytest.mark.slow

CLOCK = TrioClock()
SWITCHOVERS = 4
HOLD_DOWN_S = 2
LONGER_THAN_LEASES_S = 2.0
"""A peer that is silent is lost after 0.9 s, and all permits have ended by then."""
LARGE_BYTES = 24 * 1024 * 1024
"""So much that a copy of it takes some tenths of a second."""
PIECE_BYTES = 1024 * 1024


async def replace_disk(pair: HandPair, node: str) -> None:
    """A node that was killed loses its backing file, with the metadata in it, and is started with a new one."""
    pair.volume(node).unlink()
    done = await run_ctlha("replace", pair.config(node), node)
    assert done.code == 0, done.err
    await pair.start(node)


async def test_a_replaced_disk_holds_everything_when_the_other_node_dies(protected_pair: HandPair) -> None:
    """Also what was written before, while, and after it was filled; nothing else is left that could serve it."""
    pair = protected_pair
    victim = await pair.primary()
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        await clients.write_kept(victim)
        await pair.kill(victim)
        await clients.wait_served(OTHER[victim])
        await replace_disk(pair, victim)
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
        refused_before = clients.refused
        for _ in range(SWITCHOVERS):
            await switch_over(pair, await pair.primary())
            for node in NODES:
                await clients.wait_served(node)
        assert clients.refused == refused_before == 0
        assert {kind for kind, outcome in clients.ended if outcome is Outcome.DONE} == set(ALL_KINDS)
        assert clients.ended[OperationKind.COMPARE_AND_WRITE, Outcome.MISCOMPARE]
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
        await pair.wait_for(
            "b", verdict="protected", role="primary", notes=["shared-failure-domain", "give-back-waits"]
        )
        in_sync_s = CLOCK.now()
        await pair.wait_for("a", verdict="protected", role="primary")
        assert CLOCK.now() - in_sync_s > HOLD_DOWN_S - 2 * POLL_S
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


@pytest.mark.parametrize(
    ("first_role", "apart"),
    [("primary", True), ("secondary", True), ("secondary", False)],
    ids=["primary-first", "secondary-first", "together"],
)
async def test_both_nodes_stand_still_and_go_on(protected_pair: HandPair, first_role: str, *, apart: bool) -> None:
    """For longer than each waits for the other; with requests at their doors that are as old."""
    pair = protected_pair
    first = await pair.node_that_is(first_role)
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        await clients.wait_served()
        for node in (OTHER[first], first):
            pair.send_signal(node, signal.SIGSTOP)
        await CLOCK.sleep_until(CLOCK.now() + LONGER_THAN_LEASES_S)
        pair.send_signal(first, signal.SIGCONT)
        if apart:
            await clients.wait_served(first)
            await pair.wait_for(first, verdict="degraded", role="primary")
        pair.send_signal(OTHER[first], signal.SIGCONT)
        if apart:
            await pair.wait_for(OTHER[first], role="secondary")
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


@asynccontextmanager
async def filled_pair(folder: Path) -> AsyncIterator[HandPair]:
    """A pair in sync of which a copy takes a while: behind the blocks of the clients lies what no two blocks share."""
    async with made_pair(folder, size_bytes=LARGE_BYTES) as pair:
        await pair.start_protected()
        async with trio.open_nursery() as nursery:
            door = await pair.connect(await pair.primary(), 1 << 32, nursery)
            for number, offset in enumerate(range(PIECE_BYTES, LARGE_BYTES, PIECE_BYTES), 1):
                data = b"".join((offset + at).to_bytes(4096, "little") for at in range(0, PIECE_BYTES, 4096))
                reply = await door.execute(OperationKind.WRITE, number=number, offset=offset, data=data)
                assert reply.outcome is Outcome.DONE
            door.close()
        yield pair


async def wait_resyncing(pair: HandPair, source: str) -> None:
    """Until a part is copied and a part is not."""

    def is_in_the_middle(status: dict[str, object]) -> bool:
        left = status["resync_bytes_left"]
        assert isinstance(left, int)
        return 0 < left < LARGE_BYTES * 3 // 4

    await pair.wait_until(source, is_in_the_middle, poll_s=POLL_S / 10)


@pytest.mark.parametrize("killed", ["source", "target"])
async def test_a_node_is_killed_in_the_middle_of_a_resync(tmp_path: Path, killed: str) -> None:
    """A half-filled copy never serves. It is filled as soon as both run."""
    async with filled_pair(tmp_path / "pair") as pair:
        source = await pair.primary()
        target = OTHER[source]
        async with outside_clients(pair, kinds=ALL_KINDS) as clients:
            await clients.wait_served()
            await pair.kill(target)
            await clients.wait_served(source)
            await replace_disk(pair, target)
            await wait_resyncing(pair, source)
            victim = source if killed == "source" else target
            await pair.kill(victim)
            if killed == "source":
                await pair.wait_for(target, verdict="at-risk", role="outdated", reasons=["outdated", "peer-lost"])
            else:
                await clients.wait_served(source)
            await pair.start(victim)
            await pair.wait_protected()
            assert await pair.primary() == source
            await clients.wait_served(target)
            await pair.kill(source)
            await clients.wait_served(target)
            await pair.start(source)
            await pair.wait_protected()
        await clients.compare_copies()


@contextmanager
def locked_arbiter(pair: HandPair) -> Iterator[None]:
    """Nothing is swapped meanwhile: another process has the arbiter's file to itself."""
    with closing(sqlite3.connect(pair.folder / "arbiter.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("victims", [("source",), ("target",), ("source", "target")], ids="-".join)
async def test_nodes_are_killed_in_the_middle_of_a_handover(protected_pair: HandPair, victims: Sequence[str]) -> None:
    """Between the last flush of both and the swap, which is under way."""
    pair = protected_pair
    source = await pair.primary()
    dying = [source if victim == "source" else OTHER[source] for victim in victims]
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        await clients.wait_served()
        async with trio.open_nursery() as nursery:
            with locked_arbiter(pair):
                nursery.start_soon(run_ctlha, "switchover", pair.config(source))
                await pair.wait_logged(source, "handing-over: ")
                for node in dying:
                    pair.send_signal(node, signal.SIGKILL)
                for node in dying:
                    await pair.wait_ended(node)
        if len(dying) == 1:
            await clients.wait_served(OTHER[dying[0]])
        for node in dying:
            await pair.start(node)
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()
