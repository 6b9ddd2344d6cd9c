"""Wires that are cut between nodes that live, while clients outside ask both."""

import pytest
import trio

from ctlha_trio.ha._peer_returns import QUIET_MAX_S
from ctlha_trio.seams import TrioClock
from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, POLL_S, START_S, HandPair
from ctlha_trio.testing._processes.networked_pair import Site
from ctlha_trio.testing._processes.node_networks import BOTH_DIRECTIONS, Direction
from ctlha_trio.testing._processes.outside_clients import outside_clients

pytestmark = pytest.mark.slow

CLOCK = TrioClock()
CUTS: tuple[tuple[Direction, ...], ...] = (BOTH_DIRECTIONS, ("in",), ("out",))
NOTICED_S = 5.0
"""For a silent peer to be noticed and a swap to be won, on a machine that is busy with something else."""
FLAPS_S = (0.1, 0.3, 0.6, 0.8, 1.0, 1.3)
"""Cuts shorter and longer than the 0.9 s after which a peer that is silent is lost."""


async def test_the_wire_between_the_nodes_is_cut_both_ways_and_each_way(networked: HandPair, site: Site) -> None:
    """Exactly one of them goes on, the other one says that it is out; both are back when the wire is."""
    pair = networked
    async with outside_clients(pair) as clients:
        for directions in CUTS:
            await clients.wait_served()
            await site.networks.cut("a", "b", directions)
            serving = await one_serves(pair)
            await clients.wait_served(serving, within_s=NOTICED_S)
            await pair.wait_for(OTHER[serving], role="outdated", verdict="at-risk")
            await site.networks.heal()
            await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


async def one_serves(pair: HandPair) -> str:
    """The node that goes on alone, and says so: one of two members may be degraded by something else."""
    with trio.fail_after(NOTICED_S):
        while True:
            for node in NODES:
                status = await pair.status(node)
                alone = status["reasons"] in (["peer-lost"], ["peer-outdated"])
                if alone and (status["role"], status["verdict"]) == ("primary", "degraded"):
                    return node
            await CLOCK.sleep_until(CLOCK.now() + POLL_S)


async def test_the_primary_is_cut_off_from_everything(networked: HandPair, site: Site) -> None:
    """It holds what it has, acknowledges nothing and says why, until it learns that the other one went on."""
    pair = networked
    primary = await pair.primary()
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        await site.networks.isolate(primary)
        await clients.wait_served(OTHER[primary], within_s=NOTICED_S)
        await pair.wait_for(primary, verdict="at-risk", reasons=["arbiter-silent", "peer-lost", "claiming"])
        await site.networks.heal()
        await pair.wait_protected()
        assert await pair.primary() == OTHER[primary]
        await clients.wait_served()
    await clients.compare_copies()


async def test_the_wire_between_the_nodes_flaps(networked: HandPair, site: Site) -> None:
    """Packets are lost for a while, or the connection is reset, again and again."""
    pair = networked
    async with outside_clients(pair) as clients:
        for flap_s in FLAPS_S:
            await clients.wait_served()
            await site.networks.cut("b", "a")
            await CLOCK.sleep_until(CLOCK.now() + flap_s)
            await site.networks.heal()
            await clients.wait_served()
            await site.networks.reset("b", "a")
            await CLOCK.sleep_until(CLOCK.now() + flap_s / 4)
            await site.networks.heal()
        await clients.wait_served()
        for node in NODES:
            await pair.wait_for(node, verdict="protected", within_s=QUIET_MAX_S + START_S)
        await clients.wait_served()
    await clients.compare_copies()
