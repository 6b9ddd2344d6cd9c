"""Nodes that are killed, stopped, started in any order, or cloned, while clients outside ask both."""

import signal

import pytest

from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, HandPair
from ctlha_trio.testing._processes.outside_clients import outside_clients

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("role", ["primary", "secondary"])
async def test_a_node_is_killed(networked: HandPair, role: str) -> None:
    pair = networked
    victim = await pair.node_that_is(role)
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        await pair.kill(victim)
        await clients.wait_served(OTHER[victim], within_s=5.0)
        await pair.wait_for(OTHER[victim], verdict="degraded", role="primary", reasons=["peer-lost"])
        await pair.start(victim)
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


async def test_the_primary_is_killed_while_all_clients_ask_the_secondary(networked: HandPair) -> None:
    """What it acknowledged as secondary it has as primary, and it goes on answering."""
    pair = networked
    victim = await pair.node_that_is("primary")
    survivor = OTHER[victim]
    async with outside_clients(pair, [survivor]) as clients:
        await clients.wait_served(survivor)
        assert (await pair.status(survivor))["role"] == "secondary"
        await pair.kill(victim)
        await clients.wait_served(survivor, within_s=5.0)
        assert (await pair.status(survivor))["role"] == "primary"
        await pair.start(victim)
        await pair.wait_protected()
        await clients.wait_served(survivor)
    await clients.compare_copies()


@pytest.mark.parametrize("role", ["primary", "secondary"])
async def test_a_node_is_stopped_for_longer_than_it_is_waited_for(networked: HandPair, role: str) -> None:
    """It goes on in the middle of whatever it did, with requests at its door that are as old."""
    pair = networked
    victim = await pair.node_that_is(role)
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        pair.send_signal(victim, signal.SIGSTOP)
        await clients.wait_served(OTHER[victim], within_s=10.0)
        pair.send_signal(victim, signal.SIGCONT)
        await pair.wait_until(victim, lambda status: status["role"] == "secondary")
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


@pytest.mark.parametrize("first", NODES)
async def test_both_are_killed_and_the_first_to_start_goes_alone(networked: HandPair, first: str) -> None:
    pair = networked
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        for node in NODES:
            pair.send_signal(node, signal.SIGKILL)
        for node in NODES:
            await pair.wait_ended(node)
        await pair.start(first)
        await pair.wait_for(first, verdict="degraded", role="primary")
        await clients.wait_served(first)
        await pair.start(OTHER[first])
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()
