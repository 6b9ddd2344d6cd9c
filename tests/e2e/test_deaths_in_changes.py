"""Nodes that die in the middle of a resync or of a handover, while clients outside ask both."""

import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import attrs
import pytest
import trio

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import read_volume
from ctlha_trio.store._slots import SLOT_BYTES, SLOT_COUNT, choose_slot
from ctlha_trio.testing._processes.hand_pair import (
    NODES,
    OTHER,
    POLL_S,
    START_S,
    Finished,
    HandPair,
    made_pair,
    run_ctlha,
)
from ctlha_trio.testing._processes.outside_clients import ALL_KINDS, outside_clients

pytestmark = pytest.mark.slow

CLOCK = TrioClock()
LARGE_BYTES = 24 * 1024 * 1024
"""So much that a copy of it takes some tenths of a second."""
PIECE_BYTES = 1024 * 1024
TARGET_ALONE = ["outdated", "copy-not-whole", "peer-lost"]
"""Reasons of a node whose source died in the middle of a resync."""


def filling(offset: int) -> bytes:
    """What lies there behind the blocks of the clients: no two blocks are the same."""
    return b"".join((offset + at).to_bytes(4096, "little") for at in range(0, PIECE_BYTES, 4096))


@asynccontextmanager
async def filled_pair(folder: Path) -> AsyncIterator[HandPair]:
    """A pair in sync of which a copy takes a while: it is filled behind the blocks of the clients."""
    async with made_pair(folder, size_bytes=LARGE_BYTES) as pair:
        await pair.start_protected()
        async with trio.open_nursery() as nursery:
            door = await pair.connect(await pair.primary(), 1 << 32, nursery)
            for number, offset in enumerate(range(PIECE_BYTES, LARGE_BYTES, PIECE_BYTES), 1):
                reply = await door.execute(OperationKind.WRITE, number=number, offset=offset, data=filling(offset))
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


@pytest.mark.parametrize(
    ("killed", "changes"), [("source", ["go-on", "admit"]), ("target", ["admit"])], ids=["source", "target"]
)
async def test_a_node_is_killed_in_the_middle_of_a_resync(tmp_path: Path, killed: str, changes: Sequence[str]) -> None:
    """A half-filled copy serves nothing, not a read. It is filled as soon as both run, by the same source."""
    async with filled_pair(tmp_path / "pair") as pair:
        source = await pair.primary()
        target = OTHER[source]
        async with outside_clients(pair, kinds=ALL_KINDS) as clients:
            await clients.wait_served()
            await pair.kill(target)
            await clients.wait_served(source)
            shown = clients.done_at(target)
            await pair.replace_disk(target)
            await wait_resyncing(pair, source)
            epoch = await pair.epoch(source)
            victim = source if killed == "source" else target
            await pair.kill(victim)
            if killed == "source":
                await pair.wait_for(target, verdict="at-risk", role="outdated", reasons=TARGET_ALONE)
                await clients.served_at_last(target)
            else:
                await clients.wait_served(source)
            assert clients.done_at(target) == shown
            await pair.start(victim)
            await pair.wait_protected()
            assert await pair.primary() == source
            last = await pair.epoch(source)
            await clients.wait_served(target)
            await pair.kill(source)
            await clients.wait_served(target)
            await pair.start(source)
            await pair.wait_protected()
        await clients.compare_copies()
        assert pair.changes(source, epoch, last) == list(zip(changes, range(epoch + 1, last + 1), strict=True))
        content = b"".join(data for _, data in read_volume(str(pair.volume(target)), size_bytes=LARGE_BYTES))
        for offset in range(PIECE_BYTES, LARGE_BYTES, PIECE_BYTES):
            assert content[offset : offset + PIECE_BYTES] == filling(offset)


@contextmanager
def locked_arbiter(pair: HandPair) -> Iterator[None]:
    """Nothing is swapped meanwhile: another process has the arbiter's file to itself."""
    with closing(sqlite3.connect(pair.folder / "arbiter.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


async def wait_proposed(pair: HandPair, node: str) -> None:
    """Until its disk knows of a swap that was not there at the call: nothing comes between that and the swap."""

    def proposed() -> Sequence[str]:
        with pair.volume(node).open("rb") as file:
            return choose_slot(str(pair.volume(node)), file.read(SLOT_COUNT * SLOT_BYTES))[1].metadata.proposed

    before = proposed()
    with trio.fail_after(START_S):
        while proposed() == before:
            await CLOCK.sleep_until(CLOCK.now() + POLL_S / 10)


def holds_clients(status: dict[str, object]) -> bool:
    """Whether it says that it serves nothing until the arbiter has answered, which may be silent for longer."""
    reasons = status["reasons"]
    assert isinstance(reasons, list)
    return (status["verdict"], status["role"], reasons[-2:]) == ("at-risk", "primary", ["peer-lost", "claiming"])


@attrs.frozen
class Ending:
    """Of a handover in the middle of which nodes are killed."""

    victims: Sequence[str]
    serves: str
    """Has the role in the end."""
    told: Sequence["Told"]
    """One of these."""


@attrs.frozen
class Told:
    """What became of it."""

    code: int
    said: str
    """By the command that asked for it, on standard error."""
    outcomes: Sequence[str]
    """Of what was asked, in the log of decisions."""
    changes: Sequence[str]
    """Of the record, in the log of who serves."""


LOST = "peer lost during handover"
NOBODY_KNOWS = "nobody knows whether the role was handed over: "
ENDINGS = [
    Ending(["source"], "target", [Told(3, NOBODY_KNOWS, ["asked"], ["take-over", "admit"])]),
    Ending(
        ["target"],
        "source",
        [
            Told(0, "", ["asked", "done"], ["handover", "take-over", "admit"]),
            Told(1, f"{LOST}\n", ["asked", f"failed: {LOST}"], ["go-alone", "admit"]),
        ],
    ),
    Ending(["source", "target"], "source", [Told(3, NOBODY_KNOWS, ["asked"], ["go-alone", "admit"])]),
]
"""Nobody takes the swap of a source that is dead. That of a target that is dead is taken, or given up before."""


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: "-".join(ending.victims))
async def test_nodes_are_killed_in_the_middle_of_a_handover(protected_pair: HandPair, ending: Ending) -> None:
    """Between the last flush of both and the swap, which is under way: nobody serves before it is decided."""
    pair = protected_pair
    source = await pair.primary()
    named = {"source": source, "target": OTHER[source]}
    dying = [named[victim] for victim in ending.victims]
    epoch = await pair.epoch(source)
    asked: list[Finished] = []

    async def hand_over() -> None:
        asked.append(await run_ctlha("switchover", pair.config(source)))

    async with outside_clients(pair, kinds=ALL_KINDS) as clients:
        for node in NODES:
            await clients.wait_served(node)
        async with trio.open_nursery() as nursery:
            with locked_arbiter(pair):
                nursery.start_soon(hand_over)
                await wait_proposed(pair, source)
                for node in dying:
                    pair.send_signal(node, signal.SIGKILL)
                for node in dying:
                    await pair.wait_ended(node)
                if ending.victims == ["target"]:
                    done = clients.done_at(source)
                    await pair.wait_until(source, holds_clients)
                    assert clients.done_at(source) == done
        (told,) = [each for each in ending.told if each.code == asked[0].code]
        assert asked[0].err.startswith(told.said)
        if len(dying) == 1:
            await clients.wait_served(OTHER[dying[0]])
            await pair.wait_for(OTHER[dying[0]], verdict="degraded", role="primary", reasons=["peer-lost"])
        for node in dying:
            await pair.start(node)
        await pair.wait_protected()
        assert await pair.primary() == named[ending.serves]
        last = await pair.epoch(source)
        for node in NODES:
            await clients.wait_served(node)
    await clients.compare_copies()
    outcomes = [
        line["outcome"] for line in pair.decisions(source) if line["decision"] == "switchover" and "after" not in line
    ]
    assert outcomes == told.outcomes
    changes = pair.changes(named[ending.serves], epoch, last)
    assert [decision for decision, _ in changes] == told.changes
    assert [changed for _, changed in changes] == list(range(epoch + 1, last + 1))
