"""The clients of the tests with real faults find nodes that lie, and two that serve in one epoch."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._processes.hand_pair import NODES, START_S, HandPair
from ctlha_trio.testing._processes.outside_clients import OutsideClients, outside_clients

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("script", ["forging_node.py", "eager_node.py"])
async def test_a_node_that_lies_is_found(hand_pair: HandPair, script: str) -> None:
    program = (str(Path(__file__).parent / script),)
    await hand_pair.start_protected(program)
    with pytest.raises(ExceptionGroup) as ended, trio.fail_after(START_S):
        await serve_through_returns(hand_pair, program)
    # Several clients may find a lie at the same time, so there may be more than one.
    contradictions, others = ended.value.split(is_contradiction)
    assert contradictions is not None
    assert others is None


async def serve_through_returns(pair: HandPair, program: Sequence[str]) -> None:
    """Both members read what is true: a node has reads to lie about while it returns."""
    async with outside_clients(pair) as clients:
        while True:
            await clients.wait_served("a")
            await pair.kill("b")
            await pair.start("b", program)
            await pair.wait_protected()


def is_contradiction(error: BaseException) -> bool:
    return isinstance(error, AssertionError) and re.match(r"block \d+: ", str(error)) is not None


@pytest.mark.parametrize(("epoch", "is_possible"), [(2, False), (3, True)])
def test_two_nodes_that_serve_in_one_epoch_are_found(tmp_path: Path, epoch: int, is_possible: bool) -> None:
    phases = {"a": "alone: secured, epoch 2", "b": f"mirroring: peer is a member, epoch {epoch}"}
    for node in NODES:
        (tmp_path / f"{node}.log").write_text(f"12:00:00.000 INFO    ctlha_trio.ha._pair_driver   {phases[node]}\n")
    clients = OutsideClients(HandPair(tmp_path, base_port=1))
    if is_possible:
        clients.check_all()
        return
    with pytest.raises(AssertionError, match="'2'"):
        clients.check_all()
