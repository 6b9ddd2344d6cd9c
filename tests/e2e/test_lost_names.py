"""Backing files that are removed or replaced under nodes that run: what both say, and how the copy is saved."""

import os
import shutil
import signal
from pathlib import Path
from typing import Final

import trio

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import read_volume
from ctlha_trio.testing._processes.hand_pair import OTHER, POLL_S, SIZE_BYTES, START_S, HandPair, run_ctlha

CONTENT: Final = bytes(range(1, 129)) * (SIZE_BYTES // 128)
GONE: Final = "was removed or replaced, and the copy of this node ends with its process"
SAVE: Final = "cp --sparse=always "

_CLOCK: Final = TrioClock()


async def write(pair: HandPair, node: str, number: int) -> None:
    async with trio.open_nursery() as nursery:
        client = await pair.connect(node, number, nursery)
        assert (await client.execute(OperationKind.WRITE, number=1, data=CONTENT)).outcome is Outcome.DONE
        client.close()
        nursery.cancel_scope.cancel()


def volume_of(pair: HandPair, node: str) -> bytes:
    return b"".join(data for _, data in read_volume(str(pair.volume(node)), size_bytes=SIZE_BYTES))


def lines(pair: HandPair, node: str, text: str) -> list[str]:
    return [line for line in pair.log(node).splitlines() if text in line]


async def wait_lines(pair: HandPair, node: str, text: str, number: int) -> list[str]:
    """Those with that text, once there are so many: a node that runs writes its log beside what it does."""
    with trio.fail_after(START_S):
        while len(found := lines(pair, node, text)) < number:
            await _CLOCK.sleep_until(_CLOCK.now() + POLL_S)
    assert len(found) == number
    return found


async def first_lines(pair: HandPair, node: str) -> list[str]:
    """Of what people are shown."""
    return (await run_ctlha("status", pair.config(node))).out.splitlines()


async def test_the_file_of_the_secondary_is_removed(protected_pair: HandPair) -> None:
    """The pair goes on, nobody says that either node may die, and the copy is made anew."""
    pair = protected_pair
    here = await pair.primary()
    there = OTHER[here]
    os.unlink(pair.volume(there))
    await pair.wait_for(there, verdict="degraded", reasons=["file-gone"])
    await pair.wait_for(here, verdict="degraded", reasons=["peer-disk-failing"])
    assert (await first_lines(pair, there))[0] == "degraded: file-gone"
    shown = "\n".join(await first_lines(pair, here))
    assert shown.startswith("degraded: peer-disk-failing\n")
    assert "may die now" not in shown
    await write(pair, here, 1)
    await wait_lines(pair, there, GONE, 1)
    assert await pair.end(there, signal.SIGTERM) == 0
    found, warned = lines(pair, there, GONE)
    assert (" ERROR " in found, " WARNING " in warned) == (True, True)
    assert f"stopping: {pair.volume(there)}: {GONE}" in warned
    made = await run_ctlha("replace", pair.config(there), there)
    assert made.code == 0, made.err
    await pair.start(there)
    await pair.wait_protected()
    assert await pair.end(there, signal.SIGTERM) == 0
    assert volume_of(pair, there) == CONTENT
    assert len(lines(pair, there, GONE)) == 2


async def test_the_file_of_the_only_member_is_moved_and_replaced(protected_pair: HandPair, tmp_path: Path) -> None:
    """It serves on. While it stands still the command in its log makes a file with which it starts again."""
    pair = protected_pair
    here = await pair.primary()
    assert await pair.end(OTHER[here], signal.SIGTERM) == 0
    await pair.wait_for(here, reasons=["peer-lost"])
    os.rename(pair.volume(here), tmp_path / "away")
    await pair.wait_for(here, verdict="degraded", reasons=["file-gone", "peer-lost"])
    shutil.copyfile(tmp_path / "away", tmp_path / "another")
    os.rename(tmp_path / "away", pair.volume(here))
    await pair.wait_for(here, verdict="degraded", reasons=["peer-lost"])
    await wait_lines(pair, here, f"{pair.volume(here)}: names the file of this node's copy again", 1)
    os.replace(tmp_path / "another", pair.volume(here))
    await pair.wait_for(here, verdict="degraded", reasons=["file-gone", "peer-lost"])
    await write(pair, here, 1)
    *_, found = await wait_lines(pair, here, GONE, 2)
    stray = found.partition(SAVE)[2].partition(" ")[0]
    assert stray.startswith(f"/proc/{pair.pid(here)}/fd/")
    pair.send_signal(here, signal.SIGSTOP)
    await trio.run_process([*SAVE.split(), stray, str(tmp_path / "saved")])
    await pair.kill(here)
    os.replace(tmp_path / "saved", pair.volume(here))
    await pair.start(here)
    await pair.wait_for(here, role="primary", reasons=["peer-lost"])
    await pair.start(OTHER[here])
    await pair.wait_protected()
    for node in (here, OTHER[here]):
        assert await pair.end(node, signal.SIGTERM) == 0
        assert volume_of(pair, node) == CONTENT
    assert len(lines(pair, here, GONE)) == 2


async def test_who_stops_the_only_member_is_warned(protected_pair: HandPair) -> None:
    pair = protected_pair
    here = await pair.primary()
    assert await pair.end(OTHER[here], signal.SIGTERM) == 0
    await pair.wait_for(here, reasons=["peer-lost"])
    os.unlink(pair.volume(here))
    await pair.wait_for(here, verdict="degraded", reasons=["file-gone", "peer-lost"])
    assert await pair.end(here, signal.SIGTERM) == 0
    found, warned = lines(pair, here, GONE)
    assert f"{SAVE}/proc/" in found, "as long as that can be done"
    assert " WARNING " in warned
    assert f"stopping: {pair.volume(here)}: {GONE}; if the file was only moved, move it back" in warned
