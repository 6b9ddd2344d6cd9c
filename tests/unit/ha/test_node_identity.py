"""A node starts only where disk, arbiter, configuration and peer belong together; otherwise it writes nothing."""

import logging
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import ConfigError, RefusedError, StoreError, UntrustedPeerError
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import Node, NodeConfig, run_node
from ctlha_trio.ha._misconfiguration import ends_node
from ctlha_trio.pair import Copy, Metadata, Record, boot
from ctlha_trio.seams import Listener, Stream, Transport
from ctlha_trio.store import image
from ctlha_trio.testing import CallKind, MemoryPair, PowerDisk, open_pair
from ctlha_trio.testing._pairs.first_metadata import first_metadata
from ctlha_trio.wire import KnownRecord


def writes(disk: PowerDisk) -> int:
    return disk.count(CallKind.WRITE) + disk.count(CallKind.FLUSH)


def other_cluster(config: NodeConfig) -> NodeConfig:
    return attrs.evolve(config, cluster="other")


def other_node(config: NodeConfig) -> NodeConfig:
    return attrs.evolve(config, node="other")


def other_resource(config: NodeConfig) -> NodeConfig:
    return attrs.evolve(config, resource="other")


@pytest.mark.parametrize(
    ("key", "change"), [("cluster", other_cluster), ("node", other_node), ("resource", other_resource)]
)
async def test_copy_of_another_pair_is_refused(
    key: str, change: Callable[[NodeConfig], NodeConfig], autojump_clock: MockClock
) -> None:
    async with open_pair(start=False) as pair:
        config = change(pair.config("a"))
        with pytest.raises(ConfigError) as caught:
            await run_node(config, pair.seams("a"))
        assert (caught.value.file, caught.value.key) == ("volume", key)
        assert "other" in caught.value.problem
        assert writes(pair.disks["a"]) == 0
        # The file is free again, and untouched.
        await pair.start("a")


async def test_foreign_arbiter_is_refused(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        foreign = MemoryArbiter(pair.record, identity="foreign")
        with pytest.raises(ConfigError) as caught:
            await run_node(pair.config("a"), attrs.evolve(pair.seams("a"), arbiter=foreign))
        assert caught.value.key == "arbiter"
        assert foreign.reads == foreign.swaps == writes(pair.disks["a"]) == 0


@pytest.mark.parametrize(("size_bytes", "key"), [(4096, "volume.size_bytes"), (1 << 21, "volume.size_bytes")])
async def test_volume_of_another_size_is_refused(size_bytes: int, key: str, autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        with pytest.raises(ConfigError) as caught:
            await run_node(attrs.evolve(pair.config("a"), size_bytes=size_bytes), pair.seams("a"))
        assert caught.value.key == key
        assert writes(pair.disks["a"]) == 0


async def test_missing_volume_and_taken_address(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        with pytest.raises(StoreError, match="no such file"):
            await run_node(attrs.evolve(pair.config("a"), volume_path="nowhere"), pair.seams("a"))
        await pair.start("a")
        with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="in use"), flatten_subgroups=True):
            await run_node(attrs.evolve(pair.config("b"), listen="a"), pair.seams("b"))
        assert writes(pair.disks["b"]) == 0


async def run_stranger(pair: MemoryPair, reason: str, config: NodeConfig) -> None:
    """Run a node, whole in itself, in the place of node b: refused, with nothing written."""
    metadata = attrs.evolve(
        pair.durable_metadata("b"),
        cluster=config.cluster,
        node=config.node,
        epoch=1,
        revision=1,
        primary="a",
        members=("a", "b"),
    )
    disk = PowerDisk({"volume": image(metadata, pair.size_bytes)})
    record = attrs.evolve(pair.record, cluster=config.cluster, epoch=1, primary="a", members=("a", "b"))
    arbiter = MemoryArbiter(record, identity=pair.arbiter.identity)
    seams = attrs.evolve(pair.seams("b"), disk=disk, arbiter=arbiter)
    with pytest.raises(RefusedError) as caught, trio.fail_after(60):
        await run_node(config, seams)
    assert caught.value.reason == reason
    assert writes(disk) == arbiter.swaps == 0


async def test_peer_of_a_foreign_cluster_ends_the_newcomer_only(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await pair.stop("b")
        a = await pair.wait_alone("a")
        await run_stranger(pair, "foreign-cluster", attrs.evolve(pair.config("b"), cluster="other"))
        await a.volume.write(0, b"serves on")
        assert a.status().reasons == ("peer-lost",)
        await pair.start("b")
        await pair.wait_protected()


async def test_peer_with_the_same_id_ends_the_newcomer_only(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await pair.stop("b")
        a = await pair.wait_alone("a")
        await run_stranger(pair, "same-node", attrs.evolve(pair.config("b"), node="a", peer="b", peer_address="a"))
        await a.volume.write(0, b"serves on")
        assert a.status().verdict == "degraded"


async def test_two_fresh_nodes_of_different_clusters_both_end(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        failed: list[str] = []

        async def run_first() -> None:
            with pytest.raises(RefusedError) as caught:
                await run_node(pair.config("a"), pair.seams("a"))
            failed.append(caught.value.reason)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_first)
            await run_stranger(pair, "foreign-cluster", attrs.evolve(pair.config("b"), cluster="other"))
        assert failed == ["foreign-cluster"]
        assert writes(pair.disks["a"]) == pair.arbiters["a"].swaps == 0


async def test_an_outdated_newcomer_is_still_told_that_it_is_configured_wrongly(autojump_clock: MockClock) -> None:
    """It read the record before it met the node that serves alone, and has written nothing."""
    async with open_pair(start=False) as pair, trio.open_nursery() as nursery:
        await pair.start("a")
        await pair.wait_alone("a")
        before = writes(pair.disks["b"])
        pair.network.cut("a", "b")
        pair.network.cut("b", "a")

        async def meet_later() -> None:
            await trio.sleep(1.0)
            pair.network.heal()

        nursery.start_soon(meet_later)
        with pytest.raises(RefusedError) as caught, trio.fail_after(60):
            await run_node(attrs.evolve(pair.config("b"), peer="c"), pair.seams("b"))
        assert caught.value.reason == "wrong-peer"
        assert writes(pair.disks["b"]) == before


async def test_a_copy_of_a_node_that_lives_is_refused_and_stops(autojump_clock: MockClock) -> None:
    """Its folder was copied while it ran. The pair goes on in the same session and the same epoch."""
    async with open_pair() as pair, trio.open_nursery() as nursery:
        epoch = pair.record.epoch
        sessions = pair.nodes["b"].pair.sessions
        disk = PowerDisk({"volume": pair.disks["b"].content("volume")})
        seams = attrs.evolve(pair.seams("b"), disk=disk)
        twin: Node = await nursery.start(run_node, attrs.evolve(pair.config("b"), listen="elsewhere"), seams)
        await trio.sleep(1)
        assert (twin.status().verdict, twin.status().reasons) == ("stopped", ("twin",))
        assert writes(disk) == 0
        await trio.sleep(5)
        assert pair.record.epoch == epoch
        assert pair.nodes["b"].pair.sessions == sessions
        twin.stop("ended by hand")


@attrs.define
class AtTheirAddress:
    """The way to the peer, at whose address another key is shown as long as ``stranger``."""

    way: Transport
    stranger: bool = True
    dials: int = 0

    async def dial(self, address: str) -> Stream:
        self.dials += 1
        if self.stranger:
            await trio.lowlevel.checkpoint()
            raise UntrustedPeerError(f"{address}: its key is not among peer.pins")
        return await self.way.dial(address)

    async def listen(self, address: str) -> Listener:
        return await self.way.listen(address)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_the_only_member_serves_whoever_is_at_the_peers_address(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:
        await pair.stop("b")
        await (await pair.wait_alone("a")).volume.write(0, b"mine")
        await pair.stop("a")
        way = AtTheirAddress(pair.transport("a"))
        node: Node = await nursery.start(run_node, pair.config("a"), attrs.evolve(pair.seams("a"), transport=way))
        await pair.wait_until(lambda: node.status().verdict == "degraded")
        assert await node.volume.read(0, 4) == b"mine"
        await trio.sleep(5)
        assert way.dials > 3
        assert told(caplog) == [
            "link: b: its key is not among peer.pins; look at peer.pins and peer.address in both configurations"
        ]
        way.stranger = False
        await pair.start("b")
        await pair.wait_until(lambda: node.status().verdict == "protected")
        node.stop("tested")


async def test_one_that_does_not_count_waits_for_its_peer_whoever_is_at_its_address(autojump_clock: MockClock) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:
        await pair.stop("b")
        await pair.wait_alone("a")
        await pair.stop("a")
        way = AtTheirAddress(pair.transport("b"))
        node: Node = await nursery.start(run_node, pair.config("b"), attrs.evolve(pair.seams("b"), transport=way))
        await trio.sleep(30)
        assert (node.status().verdict, node.status().reasons[0]) == ("at-risk", "outdated")
        way.stranger = False
        await pair.start("a")
        await pair.wait_until(lambda: node.status().verdict == "protected")
        node.stop("tested")


def as_made(pair: MemoryPair) -> Metadata:
    return pair.durable_metadata("b")


def as_replaced(pair: MemoryPair) -> Metadata:
    """Of a pair that has been in use: see ``ctlha replace``."""
    metadata = as_made(pair)
    return attrs.evolve(metadata, epoch=7, revision=9, copy=Copy.FAILED, in_doubt=9)


@pytest.mark.parametrize("made", [as_made, as_replaced])
async def test_a_copy_that_was_just_made_ends_where_another_key_is_shown(
    made: Callable[[MemoryPair], Metadata], autojump_clock: MockClock
) -> None:
    async with open_pair(start=False) as pair:
        metadata = made(pair)
        disk = PowerDisk({"volume": image(metadata, pair.size_bytes)})
        record = attrs.evolve(pair.record, epoch=metadata.epoch)
        arbiter = MemoryArbiter(record, identity=pair.arbiter.identity)
        way = AtTheirAddress(pair.transport("b"))
        seams = attrs.evolve(pair.seams("b"), disk=disk, transport=way, arbiter=arbiter)
        with pytest.raises(UntrustedPeerError), trio.fail_after(60):
            await run_node(pair.config("b"), seams)
        assert writes(disk) == arbiter.swaps == 0


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2},
        {"proposed": ("asked for",)},
        {"heard": KnownRecord("told of", 2, 2, leads=True)},
        {"copy": Copy.FAILED},
        {"copy": Copy.RESYNCING},
    ],
    ids=str,
)
def test_a_copy_that_took_part_in_anything_is_not_one_that_was_just_made(change: dict[str, Any]) -> None:
    record = Record(cluster="c", resource="r", epoch=1, lineage="l", primary="a", members=("a", "b"), proposal="init")
    made = first_metadata(record, "a", "arbiter")
    for metadata, ends in ((made, True), (attrs.evolve(made, **change), False)):
        state, _ = boot(me="a", peer="b", incarnation=1, size_bytes=4096, metadata=metadata, marked_from=None)
        assert ends_node(UntrustedPeerError("another key"), state) is ends
        assert ends_node(RefusedError("same-node"), state)
        assert not ends_node(RefusedError("stopping"), state)


async def test_a_peer_of_a_foreign_cluster_keeps_no_member_that_was_in_use_from_serving(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair() as pair, trio.open_nursery() as nursery:
        await pair.stop("b")
        await pair.wait_alone("a")
        await pair.stop("a")
        stranger = attrs.evolve(pair.config("b"), cluster="other")
        nursery.start_soon(run_stranger, pair, "foreign-cluster", stranger)
        await pair.start("a")
        await pair.wait_alone("a")
        assert {line.partition("; ")[2] for line in told(caplog)} == {"look at cluster in both configurations"}


async def test_a_copy_of_this_node_at_the_peers_address_ends_though_it_was_in_use(autojump_clock: MockClock) -> None:
    """It has the peer's key. Two with one id would both take the record for theirs."""
    async with open_pair() as pair:
        await pair.stop("b")
        await pair.wait_alone("a")
        disk = PowerDisk({"volume": pair.disks["a"].content("volume")})
        config = attrs.evolve(pair.config("a"), listen="b", peer_address="a")
        with pytest.raises(RefusedError) as caught, trio.fail_after(60):
            await run_node(config, attrs.evolve(pair.seams("b"), disk=disk, arbiter=pair.seams("a").arbiter))
        assert caught.value.reason == "same-node"
        assert writes(disk) == 0
