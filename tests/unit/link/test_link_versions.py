"""Versions of the protocol: this one with itself and with the one before, of which only the recorded bytes are left."""

import pytest
import trio
import trio.testing

from tests.unit.link.recorded_link import Record, Said
from tests.unit.link.recorded_scripts import SCRIPTS, recorded, run_recorded
from tests.unit.link.replayed_link import Replay


def read(version: int, name: str) -> Record:
    return Record.read(recorded(version, name).read_text(encoding="ascii"))


def in_order(said: list[Said], node: str) -> tuple[list[Said], list[Said]]:
    """Frames of a node, and beside them its heartbeats: these may stand before or behind what is written with them."""
    frames = [each for each in said if each.node == node and each.data]
    beats = [each for each in frames if each.what == "HEARTBEAT"]
    return [each for each in frames if each not in beats], beats


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_says_what_was_recorded_beside_a_peer_that_does(name: str, node: str) -> None:
    record, replay = read(1, name), Replay(node)
    trio.run(replay.run, SCRIPTS[name], record, clock=trio.testing.MockClock())
    for title, said in record.steps.items():
        assert in_order(replay.said[title], node) == in_order(said, node), title


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_bytes_of_this_version_are_as_recorded(name: str) -> None:
    assert run_recorded(SCRIPTS[name]) == recorded(1, name).read_text(encoding="ascii")
