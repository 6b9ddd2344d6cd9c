"""Nodes whose standard error is full, as that of a terminal that was stopped: they serve, take over, and end."""

import signal
from pathlib import Path

import pytest
import trio

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._processes.hand_pair import OTHER, HandPair

pytestmark = pytest.mark.slow

UNREAD_NODE = (str(Path(__file__).parent / "unread_node.py"),)
BLOCK = b"kept" * 1024


async def test_one_is_killed_and_the_other_one_takes_over_and_ends(hand_pair: HandPair) -> None:
    pair = hand_pair
    await pair.start_protected(UNREAD_NODE)
    victim = await pair.primary()
    survivor = OTHER[victim]
    async with trio.open_nursery() as nursery:
        door = await pair.connect(victim, 1, nursery)
        written = await door.execute(OperationKind.WRITE, number=1, offset=4096, data=BLOCK)
        assert written.outcome is Outcome.DONE
        door.close()
    await pair.kill(victim)
    await pair.wait_for(survivor, verdict="degraded", role="primary", reasons=["peer-lost"], within_s=5.0)
    async with trio.open_nursery() as nursery:
        door = await pair.connect(survivor, 2, nursery)
        read = await door.execute(OperationKind.READ, number=1, offset=4096, size=len(BLOCK))
        assert (read.outcome, bytes(read.data)) == (Outcome.DONE, BLOCK)
        door.close()
    assert await pair.end(survivor, signal.SIGTERM) == 0


async def test_one_whose_loop_stands_still_ends(hand_pair: HandPair) -> None:
    await hand_pair.start("a", UNREAD_NODE)
    await hand_pair.wait_until("a", bool)
    assert await hand_pair.end("a", signal.SIGUSR1) == 70


async def test_one_that_refuses_its_configuration_ends(hand_pair: HandPair) -> None:
    hand_pair.edit("a", hand_pair.address("a"), "nowhere")
    await hand_pair.start("a", UNREAD_NODE)
    assert await hand_pair.wait_ended("a") == 2
