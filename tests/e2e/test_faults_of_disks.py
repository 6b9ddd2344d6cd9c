"""Disks that are full, fail, are torn or replaced, and a copy of a whole node, while clients outside ask both."""

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from ctlha_trio.store import Layout
from ctlha_trio.store._slots import SLOT_BYTES, SLOT_COUNT, choose_slot
from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, SIZE_BYTES, HandPair, run_ctlha
from ctlha_trio.testing._processes.networked_pair import Site, networked_pair
from ctlha_trio.testing._processes.outside_clients import OutsideClients, outside_clients

pytestmark = pytest.mark.slow

FAILING_NODE = (str(Path(__file__).parent / "failing_node.py"),)
HANGING_NODE = (str(Path(__file__).parent / "hanging_node.py"),)


def fill_disk(pair: HandPair, node: str) -> None:
    """There is room for metadata, and none for data."""
    resource.prlimit(pair.pid(node), resource.RLIMIT_FSIZE, (Layout(SIZE_BYTES).file_offset(0), resource.RLIM_INFINITY))


def fail_flushes(pair: HandPair, node: str) -> None:
    pair.send_signal(node, signal.SIGUSR1)


@pytest.mark.parametrize("role", ["primary", "secondary"])
@pytest.mark.parametrize("fault", [fill_disk, fail_flushes])
async def test_a_disk_fails(site: Site, tmp_path: Path, fault: Callable[[HandPair, str], None], role: str) -> None:
    """The death of that copy: its node serves nothing more and says why. Started again it gets a new one."""
    async with networked_pair(site, tmp_path / "pair", program=FAILING_NODE) as pair:
        victim = await pair.node_that_is(role)
        async with outside_clients(pair) as clients:
            await clients.wait_served()
            fault(pair, victim)
            await clients.wait_served(OTHER[victim])
            await pair.wait_for(victim, verdict="stopped", reasons=["store-failed"])
            asked = await run_ctlha("status", pair.config(victim))
            assert (asked.code, asked.out.partition("\n")[0]) == (1, "stopped: store-failed")
            await pair.kill(victim)
            await pair.start(victim)
            await pair.wait_protected()
            await clients.wait_served()
        await clients.compare_copies()


async def wait_hanging(pair: HandPair, node: str) -> None:
    """Until it says that its disk hangs, first of all."""

    def says_so(status: dict[str, object]) -> bool:
        reasons = status["reasons"]
        return status["verdict"] == "at-risk" and isinstance(reasons, list) and reasons[:1] == ["disk-hangs"]

    await pair.wait_until(node, says_so)


async def test_the_disks_of_both_nodes_hang_and_answer(site: Site, tmp_path: Path) -> None:
    """As a stall of what both have in common: nobody serves, neither copy dies, and both go on by themselves."""
    async with networked_pair(site, tmp_path / "pair", program=HANGING_NODE) as pair:
        async with outside_clients(pair) as clients:
            await clients.wait_served()
            for node in NODES:
                pair.send_signal(node, signal.SIGUSR1)
            for node in NODES:
                await wait_hanging(pair, node)
            acknowledged = sum(clients.acknowledged.values())
            await trio.sleep(2.0)
            assert sum(clients.acknowledged.values()) == acknowledged
            for node in NODES:
                pair.send_signal(node, signal.SIGUSR2)
            await clients.wait_served()
            await pair.wait_protected()
            await clients.wait_served()
        await clients.compare_copies()


@pytest.mark.parametrize("role", ["primary", "secondary"])
async def test_the_disk_of_one_node_hangs_and_answers(site: Site, tmp_path: Path, role: str) -> None:
    """The other one serves meanwhile."""
    async with networked_pair(site, tmp_path / "pair", program=HANGING_NODE) as pair:
        victim = await pair.node_that_is(role)
        async with outside_clients(pair) as clients:
            await clients.wait_served()
            pair.send_signal(victim, signal.SIGUSR1)
            await clients.wait_served(OTHER[victim])
            await wait_hanging(pair, victim)
            pair.send_signal(victim, signal.SIGUSR2)
            await pair.wait_protected()
            await clients.wait_served()
        await clients.compare_copies()


async def test_the_disk_of_the_only_member_hangs_and_answers(site: Site, tmp_path: Path) -> None:
    """It serves again by itself, with all that it acknowledged alone."""
    async with networked_pair(site, tmp_path / "pair", program=HANGING_NODE) as pair:
        lost = await pair.primary()
        survivor = OTHER[lost]
        async with outside_clients(pair) as clients:
            await clients.wait_served()
            await pair.kill(lost)
            await clients.wait_served(survivor)
            pair.send_signal(survivor, signal.SIGUSR1)
            await wait_hanging(pair, survivor)
            pair.send_signal(survivor, signal.SIGUSR2)
            await clients.wait_served(survivor)
            await pair.start(lost)
            await pair.wait_protected()
            await clients.wait_served()
        await clients.compare_copies()


def tear_slots(volume: Path, count: int) -> None:
    """The newest ones: their first sector is what it was, the others are of something else."""
    with volume.open("r+b") as file:
        newest, _ = choose_slot(str(volume), file.read(SLOT_COUNT * SLOT_BYTES))
        for age in range(count):
            file.seek((newest - age) % SLOT_COUNT * SLOT_BYTES + 512)
            file.write(os.urandom(SLOT_BYTES - 512))


async def test_the_newest_metadata_slot_of_a_node_that_was_alone_is_torn(networked: HandPair) -> None:
    """The older slot knows nothing of being alone, but the arbiter does."""
    pair = networked
    victim = await pair.primary()
    survivor = OTHER[victim]
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        await pair.kill(victim)
        await clients.wait_served(survivor)
        await pair.kill(survivor)
        tear_slots(pair.volume(survivor), 1)
        await pair.start(victim)
        await pair.wait_for(victim, verdict="at-risk", reasons=["outdated", "peer-lost"])
        await pair.start(survivor)
        await clients.wait_served(survivor)
        await pair.wait_protected()
    await clients.compare_copies()


def tear_both_slots(volume: Path) -> None:
    tear_slots(volume, SLOT_COUNT)


def replace_by_zeros(volume: Path) -> None:
    volume.write_bytes(bytes(volume.stat().st_size))


@pytest.mark.parametrize(
    ("fault", "problem"),
    [(tear_both_slots, "both metadata slots are damaged"), (replace_by_zeros, "is not a ctlha volume")],
)
async def test_a_disk_that_was_torn_or_replaced_is_refused_until_it_is_replaced(
    networked: HandPair, fault: Callable[[Path], None], problem: str
) -> None:
    pair = networked
    victim = await pair.primary()
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        await pair.kill(victim)
        fault(pair.volume(victim))
        before = pair.fingerprint(victim)
        await pair.start(victim)
        assert await pair.wait_ended(victim) == 2
        (said,) = pair.faults(victim)
        assert said.startswith("volume.file: ")
        assert problem in said
        assert f"ctlha replace {pair.config(victim)} {victim}" in said
        assert pair.fingerprint(victim) == before
        await pair.wait_for(OTHER[victim], verdict="degraded", role="primary", reasons=["peer-lost"])
        await clients.wait_served(OTHER[victim])
        pair.volume(victim).unlink()
        done = await run_ctlha("replace", pair.config(victim), victim, launcher=pair.launchers[victim])
        assert done.code == 0, done.err
        await pair.start(victim)
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


async def salvage(pair: HandPair, node: str, *options: str) -> str:
    """What the command says, which must not fail."""
    abandoned = OTHER[node]
    asked = ("--abandon", abandoned, "--salvage", *options)
    told = await run_ctlha("force-primary", pair.config(node), *asked, launcher=pair.launchers[node])
    assert told.code == 0, told.err
    return told.out


async def go_on_with_what_was_salvaged(pair: HandPair, clients: OutsideClients, node: str) -> None:
    await salvage(pair, node, "--statement", f"{OTHER[node]} is powered off")
    await pair.start(node)
    await clients.wait_served(node)
    await pair.start(OTHER[node])
    await pair.wait_protected()
    await clients.wait_served()


async def test_the_slots_of_the_only_member_are_torn_and_its_blocks_are_whole(networked: HandPair) -> None:
    """The salvage makes the slots anew. Nothing that was acknowledged is missing."""
    pair = networked
    lost = await pair.primary()
    survivor = OTHER[lost]
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        await pair.kill(lost)
        await clients.wait_served(survivor)
        assert await pair.end(survivor, signal.SIGTERM) == 0
        tear_both_slots(pair.volume(survivor))
        await pair.start(survivor)
        assert await pair.wait_ended(survivor) == 2
        (said,) = pair.faults(survivor)
        assert f"ctlha force-primary {pair.config(survivor)} --abandon {lost} --salvage" in said
        before = pair.fingerprint(survivor)
        shown = await salvage(pair, survivor, "--dry-run")
        assert pair.fingerprint(survivor) == before
        assert "both metadata slots are damaged" in shown
        assert "damaged: " not in shown
        await go_on_with_what_was_salvaged(pair, clients, survivor)
    await clients.compare_copies()


async def test_the_copy_of_the_only_member_died_and_is_salvaged(site: Site, tmp_path: Path) -> None:
    """The disk took no more data, and keeps what it had: all that was acknowledged."""
    async with networked_pair(site, tmp_path / "pair", program=FAILING_NODE) as pair:
        lost = await pair.primary()
        survivor = OTHER[lost]
        async with outside_clients(pair) as clients:
            await clients.wait_served()
            await pair.kill(lost)
            await clients.wait_served(survivor)
            fill_disk(pair, survivor)
            await pair.wait_for(survivor, verdict="stopped", reasons=["store-failed"])
            await pair.wait_logged(survivor, "is marked as dead")
            await pair.kill(survivor)
            await pair.start(survivor)
            await pair.wait_for(survivor, verdict="stopped", reasons=["copy-failed"])
            asked = await run_ctlha("status", pair.config(survivor))
            assert f"ctlha force-primary {pair.config(survivor)} --abandon {lost} --salvage" in asked.out
            refused = await run_ctlha("force-primary", pair.config(survivor), "--abandon", lost, "--salvage")
            assert (refused.code, refused.err) == (1, f"node {survivor} runs; stop it first\n")
            await pair.kill(survivor)
            await go_on_with_what_was_salvaged(pair, clients, survivor)
        await clients.compare_copies()


@pytest.mark.parametrize("role", ["primary", "secondary"])
async def test_a_copy_of_a_node_is_started_beside_it(networked: HandPair, tmp_path: Path, role: str) -> None:
    """The peer refuses the copy, which stops and says why. The original, and whoever is served, notice nothing."""
    pair = networked
    primary = await pair.primary()
    original = await pair.node_that_is(role)
    twin = HandPair(tmp_path / "twin", pair.base_port + 4, SIZE_BYTES, pair.hosts, pair.launchers)
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        shutil.copytree(pair.folder / original, twin.folder / original, ignore=shutil.ignore_patterns("*.sock"))
        twin.edit(original, f'listen = "{pair.address(original)}"', f'listen = "{twin.address(original)}"')
        try:
            epoch = (await pair.status(primary))["epoch"]
            await twin.start(original)
            await twin.wait_for(original, verdict="stopped", reasons=["twin"])
            for node in (original, OTHER[original]):
                own = "primary" if node == primary else "secondary"
                await pair.wait_for(node, verdict="protected", role=own, epoch=epoch)
            await clients.wait_served(primary)
        finally:
            await twin.end_all()
        await pair.kill(original)
        await pair.wait_for(OTHER[original], verdict="degraded", role="primary")
        await pair.start(original)
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


async def back_up(pair: HandPair, node: str, into: Path) -> None:
    """Copy its backing file while it is down, and let the pair go on: since then the record has changed."""
    await pair.kill(node)
    shutil.copyfile(pair.volume(node), into)
    await pair.start(node)
    await pair.wait_protected()


@pytest.mark.parametrize("first", ["the older copy", "the other node"])
@pytest.mark.parametrize("role", ["primary", "secondary"])
async def test_the_backing_file_of_one_of_two_members_is_put_back_while_both_are_down(
    networked: HandPair, tmp_path: Path, role: str, first: str
) -> None:
    """Alone it serves nothing, whatever its own disk says; with the other one it is brought up to date as a whole."""
    pair = networked
    victim = await pair.node_that_is(role)
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        await back_up(pair, victim, tmp_path / "backup")
        await clients.wait_served()
        for node in (await pair.primary(), OTHER[await pair.primary()]):
            await pair.kill(node)
        shutil.copyfile(tmp_path / "backup", pair.volume(victim))
        if first == "the older copy":
            await pair.start(victim)
            await pair.wait_for(victim, verdict="at-risk", reasons=["outdated", "copy-went-back", "peer-lost"])
            await pair.start(OTHER[victim])
        else:
            await pair.start(OTHER[victim])
            await pair.wait_until(OTHER[victim], lambda status: status["role"] == "primary")
            await pair.start(victim)
        await pair.wait_protected()
        await clients.wait_served(OTHER[victim])
    await clients.compare_copies()


async def test_the_backing_file_of_the_only_member_is_put_back(networked: HandPair, tmp_path: Path) -> None:
    """Nobody else has what it acknowledged: it stops and says so, until the newest file is there again."""
    pair = networked
    lost = await pair.primary()
    survivor = OTHER[lost]
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        await back_up(pair, survivor, tmp_path / "backup")
        await pair.kill(lost)
        await clients.wait_served(survivor)
        await pair.kill(survivor)
        newest = pair.volume(survivor).rename(tmp_path / "newest")
        shutil.copyfile(tmp_path / "backup", pair.volume(survivor))
        await pair.start(survivor)
        await pair.wait_for(survivor, verdict="stopped", reasons=["copy-went-back"])
        await pair.start(lost)
        await pair.wait_for(lost, verdict="at-risk", reasons=["outdated", "peer-lost"])
        asked = await run_ctlha("status", pair.config(survivor))
        assert f"ctlha adopt-arbiter {pair.config(survivor)} --abandon {lost}" in asked.out
        await pair.kill(survivor)
        shutil.copyfile(newest, pair.volume(survivor))
        await pair.start(survivor)
        await clients.wait_served(survivor)
        await pair.wait_protected()
    await clients.compare_copies()
