"""Arbiters that cannot be reached, are down, or come back with an old memory, while clients outside ask both nodes."""

import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, HandPair, run_ctlha
from ctlha_trio.testing._processes.networked_pair import Site
from ctlha_trio.testing._processes.outside_clients import OutsideClients, outside_clients

pytestmark = pytest.mark.slow

KeptStill = Callable[[str], AbstractAsyncContextManager[None]]
"""For the length of a block the node of that name cannot change the arbiter's record."""


@pytest.mark.parametrize("role", ["primary", "secondary"])
async def test_one_node_is_cut_off_from_the_arbiter_and_loses_its_peer(
    networked: HandPair, site: Site, role: str
) -> None:
    """Both serve on as long as they have each other. It alone must not, and says why, until it reaches the arbiter."""
    pair = networked
    primary = await pair.primary()
    cut_off = await pair.node_that_is(role)
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        await site.networks.cut(cut_off, "arbiter")
        await pair.wait_for(cut_off, verdict="degraded", reasons=["arbiter-silent"])
        await pair.wait_for(OTHER[cut_off], verdict="protected")
        await clients.wait_served(primary)
        await pair.kill(OTHER[cut_off])
        await pair.wait_for(cut_off, verdict="at-risk", reasons=["arbiter-silent", "peer-lost", "claiming"])
        served = clients.acknowledged[cut_off]
        asked = await run_ctlha("status", pair.config(cut_off))
        assert (asked.code, asked.out.partition("\n")[0]) == (1, "at-risk: arbiter-silent, peer-lost, claiming")
        assert clients.acknowledged[cut_off] == served
        await site.networks.heal()
        await clients.wait_served(cut_off)
        await pair.start(OTHER[cut_off])
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


async def test_the_arbiter_hangs_and_the_nodes_lose_each_other(networked: HandPair, site: Site) -> None:
    """It takes connections and answers nothing: they go on together, and not without each other."""
    pair = networked
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        site.etcd.send_signal(signal.SIGSTOP)
        for node in NODES:
            await pair.wait_for(node, verdict="degraded", reasons=["arbiter-silent"])
        await clients.wait_served()
        await site.networks.cut("a", "b")
        for node in NODES:
            await pair.wait_for(node, verdict="at-risk", reasons=["arbiter-silent", "peer-lost", "claiming"])
        served = dict(clients.acknowledged)
        asked = await run_ctlha("status", pair.config("b"))
        assert (asked.code, asked.out.partition("\n")[0]) == (1, "at-risk: arbiter-silent, peer-lost, claiming")
        assert clients.acknowledged == served
        site.etcd.send_signal(signal.SIGCONT)
        await clients.wait_served()
        await site.networks.heal()
        await pair.wait_protected()
    await clients.compare_copies()


async def test_the_etcd_comes_back_from_an_old_copy(networked: HandPair, site: Site, tmp_path: Path) -> None:
    """Both nodes know newer: they refuse to serve, and say why."""
    pair = networked
    site.etcd.kill()
    shutil.copytree(site.etcd_folder, tmp_path / "old")
    await trio.to_thread.run_sync(site.start_etcd_again)
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        victim = await pair.primary()
        await pair.kill(victim)
        await clients.wait_served(OTHER[victim])
        await pair.start(victim)
        await pair.wait_protected()
        site.etcd.kill()
        site.etcd_folder.rename(tmp_path / "new")
        shutil.copytree(tmp_path / "old", site.etcd_folder)
        await trio.to_thread.run_sync(site.start_etcd_again)
        for node in NODES:
            await pair.wait_for(node, verdict="stopped", reasons=["arbiter-went-back"])
        served = await clients.served_at_last(*NODES)
        asked = await run_ctlha("status", pair.config(victim))
        assert (asked.code, asked.out.partition("\n")[0]) == (1, "stopped: arbiter-went-back")
        assert clients.acknowledged == served
    site.etcd.kill()
    shutil.rmtree(site.etcd_folder)
    (tmp_path / "new").rename(site.etcd_folder)
    await trio.to_thread.run_sync(site.start_etcd_again)


async def test_the_sqlite_file_comes_back_from_an_old_copy(protected_pair: HandPair, tmp_path: Path) -> None:
    """As with etcd, also when they are started anew; with the newest file they go on."""
    pair = protected_pair
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        file = pair.folder / "arbiter.db"
        shutil.copy(file, tmp_path / "old.db")
        victim = await pair.primary()
        await pair.kill(victim)
        await clients.wait_served(OTHER[victim])
        await pair.start(victim)
        await pair.wait_protected()
        file.rename(tmp_path / "new.db")
        shutil.copy(tmp_path / "old.db", file)
        for node in NODES:
            await pair.wait_for(node, verdict="stopped", reasons=["arbiter-went-back"])
        served = await clients.served_at_last(*NODES)
        await pair.kill(victim)
        await pair.start(victim)
        await pair.wait_for(victim, verdict="stopped", reasons=["arbiter-went-back"])
        assert clients.acknowledged == served
        await pair.kill(victim)
        await pair.kill(OTHER[victim])
        (tmp_path / "new.db").rename(file)
        await pair.start_protected()
        await clients.wait_served()
    await clients.compare_copies()


async def _one_knows_better(
    pair: HandPair, clients: OutsideClients, restore: Callable[[], Awaitable[None]], kept_still: KeptStill
) -> str:
    """The arbiter is restored to before one node went alone, and the other one, which was down, boots and is told.

    It serves nothing, also when it starts anew and the first is gone: the node that went alone is returned, down.
    Whoever boots waits for the other one for some seconds only, and then claims by what the arbiter says. On a busy
    machine the two processes take longer to meet: until then the arbiter is ``kept_still``.
    """
    await clients.wait_served()
    kept = await pair.primary()
    other = OTHER[kept]
    await pair.kill(other)
    await clients.wait_served(kept)
    await restore()
    await pair.wait_for(kept, verdict="stopped", reasons=["arbiter-went-back"])
    served = await clients.served_at_last(*NODES)
    async with kept_still(other):
        await pair.start(other)
        await pair.wait_logged(other, "stopping: the peer refused")  # and has told what it knows
    await pair.wait_for(other, verdict="stopped", reasons=["arbiter-went-back"])
    for node in NODES:
        await pair.kill(node)
    await pair.start(other)
    await pair.wait_for(other, verdict="stopped", reasons=["arbiter-went-back"])
    asked = await run_ctlha("status", pair.config(other))
    assert (asked.code, asked.out.partition("\n")[0]) == (1, "stopped: arbiter-went-back")
    assert clients.acknowledged == served
    await pair.kill(other)
    return kept


async def _adopt(pair: HandPair, clients: OutsideClients, kept: str) -> None:
    """The way out, on the node whose copy is the newest: the other one's is made anew."""
    other = OTHER[kept]
    statement = ("--statement", f"{other} is powered off")
    adopted = await run_ctlha(
        "adopt-arbiter", pair.config(kept), "--abandon", other, *statement, launcher=pair.launchers.get(kept, ())
    )
    assert adopted.code == 0, adopted.err
    await pair.start(kept)
    await clients.wait_served(kept)
    await pair.start(other)
    await pair.wait_protected()
    await clients.wait_served()


@contextmanager
def _unchanged(file: Path) -> Iterator[None]:
    """Within, a SQLite file can be read, and not be changed."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


async def test_the_sqlite_file_comes_back_from_before_one_node_went_alone(
    protected_pair: HandPair, tmp_path: Path
) -> None:
    pair, file = protected_pair, protected_pair.folder / "arbiter.db"

    async def restore() -> None:
        file.rename(tmp_path / "new.db")
        shutil.copy(tmp_path / "old.db", file)

    @asynccontextmanager
    async def kept_still(_: str) -> AsyncIterator[None]:
        with _unchanged(file):
            yield

    shutil.copy(file, tmp_path / "old.db")
    async with outside_clients(pair) as clients:
        await _adopt(pair, clients, await _one_knows_better(pair, clients, restore, kept_still))
    await clients.compare_copies()


async def test_the_etcd_comes_back_from_before_one_node_went_alone(
    networked: HandPair, site: Site, tmp_path: Path
) -> None:
    pair = networked

    async def restore() -> None:
        site.etcd.kill()
        shutil.rmtree(site.etcd_folder)
        shutil.copytree(tmp_path / "old", site.etcd_folder)
        await trio.to_thread.run_sync(site.start_etcd_again)

    @asynccontextmanager
    async def kept_still(node: str) -> AsyncIterator[None]:
        await site.networks.cut(node, "arbiter")
        yield
        await site.networks.heal()

    site.etcd.kill()
    shutil.copytree(site.etcd_folder, tmp_path / "old")
    await trio.to_thread.run_sync(site.start_etcd_again)
    async with outside_clients(pair) as clients:
        await _adopt(pair, clients, await _one_knows_better(pair, clients, restore, kept_still))
    await clients.compare_copies()


async def test_both_nodes_run_when_the_sqlite_file_comes_back_from_before_one_went_alone(
    protected_pair: HandPair, tmp_path: Path
) -> None:
    """The one that went alone stands still meanwhile, so that the other one may boot before it has found out."""
    pair, file = protected_pair, protected_pair.folder / "arbiter.db"
    shutil.copy(file, tmp_path / "old.db")
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        kept = await pair.primary()
        await pair.kill(OTHER[kept])
        await clients.wait_served(kept)
        pair.send_signal(kept, signal.SIGSTOP)
        file.rename(tmp_path / "new.db")
        shutil.copy(tmp_path / "old.db", file)
        with _unchanged(file):
            await pair.start(OTHER[kept])
            pair.send_signal(kept, signal.SIGCONT)
            for node in NODES:
                await pair.wait_for(node, verdict="stopped", reasons=["arbiter-went-back"])
        for node in NODES:
            await pair.kill(node)
        await _adopt(pair, clients, kept)
    await clients.compare_copies()


@pytest.mark.parametrize("chosen", ["a", "b"])
async def test_each_node_goes_alone_by_an_arbiter_of_its_own_time(
    protected_pair: HandPair, tmp_path: Path, chosen: str
) -> None:
    """Nobody tells ``b``, which moves the record on. Neither copy is made anew before a person has chosen."""
    pair, file = protected_pair, protected_pair.folder / "arbiter.db"
    shutil.copy(file, tmp_path / "old.db")
    await pair.kill("b")
    await _write_alone(pair, "a", 0)
    await pair.kill("a")
    shutil.copy(tmp_path / "old.db", file)
    for block in (1, 2, 3):
        await pair.start("b")
        await _write_alone(pair, "b", block)
        await pair.kill("b")
    await pair.start("b")
    await pair.start("a")
    await pair.wait_for("a", verdict="stopped", reasons=["arbiter-went-back"])
    await pair.kill("a")
    await pair.kill("b")
    await pair.start("b")
    await _write_alone(pair, "b", 4)
    await pair.start("a")
    await pair.wait_for("a", verdict="stopped", reasons=["arbiter-went-back"])
    for node in NODES:
        await pair.kill(node)
    done = await run_ctlha(*_choose(pair, chosen))
    assert done.code == 0, done.err
    assert "later     cannot be told from the copies: both have served alone, node a in epoch" in done.out
    for node in NODES:
        await pair.start(node)
    await pair.wait_protected()
    held = {"a": [b"a", *4 * [b"\0"]], "b": [b"\0", *4 * [b"b"]]}[chosen]
    await pair.write_and_read(await pair.primary(), 9, {}, {block: 4096 * byte for block, byte in enumerate(held)})


async def _write_alone(pair: HandPair, node: str, block: int) -> None:
    await pair.wait_for(node, verdict="degraded", role="primary", reasons=["peer-lost"])
    await pair.write_and_read(node, block + 1, {block: 4096 * node.encode()}, {})


def _choose(pair: HandPair, chosen: str) -> tuple[str | Path, ...]:
    if chosen == "b":
        return "resolve", pair.config("a"), "--discard", "a"
    return "adopt-arbiter", pair.config("a"), "--abandon", "b", "--statement", "b is powered off"
