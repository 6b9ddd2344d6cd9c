"""File systems that are full to the last byte and the last name, while clients outside ask both nodes."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from ctlha_trio.door import DATA_SOCKET, DECISIONS_FILE, STATUS_SOCKET
from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, HandPair, made_pair, run_ctlha
from ctlha_trio.testing._processes.outside_clients import ALL_KINDS, outside_clients
from ctlha_trio.testing._processes.small_file_system import SmallFileSystem, missing_for_mounts, mounted_file_system

pytestmark = pytest.mark.slow

FILE_SYSTEM_BYTES = 8 * 1024 * 1024
NO_SPACE = "No space left on device"
SQLITE_NO_SPACE = "database or disk is full"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallFileSystem]:
    """One that can be filled. Whoever may mount one tests with it: what else is in the way fails the test."""
    missing = missing_for_mounts()
    if missing:
        pytest.skip(missing)
    with mounted_file_system(tmp_path / "small", size_bytes=FILE_SYSTEM_BYTES) as file_system:
        yield file_system


@pytest.fixture
async def cramped_pair(small: SmallFileSystem, tmp_path: Path) -> AsyncIterator[HandPair]:
    """A pair of which all is there, but for what its nodes say; nothing runs."""
    async with made_pair(small.folder / "pair") as pair:
        for node in NODES:
            (pair.folder / f"{node}.log").symlink_to(tmp_path / f"{node}.log")
        yield pair


def claims_in_vain(status: dict[str, object]) -> bool:
    """Whether it serves nothing, and says so; the arbiter answers reads, and takes no swap."""
    return (status["verdict"], status["reasons"]) == ("at-risk", ["arbiter-refuses", "peer-lost", "claiming"])


def done(lines: Sequence[Mapping[str, object]]) -> list[object]:
    """Decisions, in their order."""
    return [line["decision"] for line in lines if line["outcome"] == "done"]


async def test_a_full_file_system_stops_changes_and_no_writes(cramped_pair: HandPair, small: SmallFileSystem) -> None:
    """What was preallocated is written on. What needs room is refused, says why, and goes on when there is room."""
    pair = cramped_pair
    await pair.start_protected()
    primary = await pair.primary()
    other = OTHER[primary]
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        await clients.wait_served()
        small.fill_space()
        for node in NODES:
            await clients.wait_served(node)
            assert (await pair.status(node))["verdict"] == "protected"
        refused = await run_ctlha("switchover", pair.config(primary))
        assert (refused.code, refused.out) == (1, "")
        why, helps = refused.err.splitlines()
        assert why == "the arbiter did not take the handover"
        assert helps.startswith("  arbiter-refuses: the node's log says what the arbiter lacks")
        assert helps.endswith(f": ctlha switchover {pair.config(primary)}")
        await clients.wait_served()
        for node in NODES:
            await pair.wait_for(node, verdict="degraded", reasons=["arbiter-refuses"])
            foreseen = await run_ctlha("switchover", pair.config(node), "--dry-run", "--as-failover")
            assert foreseen.code == 1
            assert f"node {node} would not serve: arbiter-refuses" in foreseen.out
        small.empty()
        await pair.wait_protected()
        small.fill_space()
        await pair.kill(primary)
        await pair.wait_until(other, claims_in_vain)
        asked = await run_ctlha("status", pair.config(other))
        assert "arbiter-refuses: the arbiter is read and takes no change: the node's log says" in asked.out
        await pair.wait_logged(other, f"arbiter.db: {SQLITE_NO_SPACE}")
        small.empty()
        await clients.wait_served(other)
        await pair.wait_for(other, verdict="degraded", role="primary", reasons=["peer-lost"])
        await pair.start(primary)
        await pair.wait_protected()
        await clients.wait_served(primary)
        await pair.wait_decisions(other, lambda lines: done(lines)[-2:] == ["take-over", "admit"])
    await clients.compare_copies()


def move_arbiter(pair: HandPair, folder: Path) -> None:
    """To where there is room."""
    for node in NODES:
        pair.edit(node, '"../arbiter.db"', f'"{folder / "arbiter.db"}"')
    shutil.move(pair.folder / "arbiter.db", folder / "arbiter.db")


async def test_only_the_nodes_have_no_room(cramped_pair: HandPair, small: SmallFileSystem, tmp_path: Path) -> None:
    """One takes over, and says that the log of decisions lacks it. What a person decides cannot be logged: refused.

    A node that cannot make its sockets ends and names them. Nothing is left of a new backing file that has no room.
    """
    pair = cramped_pair
    move_arbiter(pair, tmp_path)
    await pair.start_protected()
    victim = await pair.primary()
    other = OTHER[victim]
    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        await clients.wait_served()
        for node in NODES:
            (pair.folder / node / DECISIONS_FILE).unlink()
        small.fill_space()
        small.fill_names()
        refused = await run_ctlha("switchover", pair.config(victim))
        assert (refused.code, refused.out) == (1, "")
        why, helps = refused.err.splitlines()
        assert why.endswith(f"{DECISIONS_FILE}: {NO_SPACE}")
        assert helps.startswith("  decision-not-logged: make room for the log of decisions")
        await pair.wait_for(victim, verdict="protected", role="primary")
        await pair.kill(victim)
        await clients.wait_served(other)
        await pair.wait_logged(
            other, f"is not in the log of decisions: {pair.folder / other / DECISIONS_FILE}: {NO_SPACE}"
        )
        for socket in (STATUS_SOCKET, DATA_SOCKET):
            (pair.folder / victim / socket).unlink()
        small.fill_names()
        await pair.start(victim)
        assert await pair.wait_ended(victim) == 1
        assert f"{STATUS_SOCKET}: cannot listen there: {NO_SPACE}" in pair.log(victim)
        away = pair.volume(victim).rename(pair.volume(victim).with_suffix(".away"))
        replaced = await run_ctlha("replace", pair.config(victim), victim)
        assert replaced.code != 0
        assert NO_SPACE in replaced.err
        assert not pair.volume(victim).exists()
        await clients.wait_served(other)
        small.empty()
        away.rename(pair.volume(victim))
        await pair.start(victim)
        await pair.wait_protected()
        await clients.wait_served(victim)
        await pair.wait_decisions(other, lambda lines: done(lines) == ["admit"])
    await clients.compare_copies()
