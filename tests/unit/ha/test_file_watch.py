"""A backing file that is removed, replaced, or of another size while its node runs: both nodes say so.

One that was cut short is a dead copy; else both go on.
"""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import StoreError
from ctlha_trio.ha._file_watch import FILE_LOOK_S, FileWatch
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import Layout
from ctlha_trio.testing import MemoryPair, open_pair
from tests.unit.ha.test_node_repair import SIZE_BYTES, filled

GONE = "volume: was removed or replaced, and the copy of this node ends with its process"
BACK = "volume: names the file of this node's copy again"


def stands(pair: MemoryPair, name: str) -> tuple[str, tuple[str, ...]]:
    status = pair.nodes[name].status()
    return status.verdict, status.reasons


async def wait_stands(pair: MemoryPair, name: str, verdict: str, *reasons: str) -> None:
    with trio.move_on_after(2 * FILE_LOOK_S):
        await pair.wait_until(lambda: stands(pair, name) == (verdict, reasons))
    assert stands(pair, name) == (verdict, reasons)


@pytest.mark.parametrize(("name", "other"), [("a", "b"), ("b", "a")])
async def test_neither_node_says_protected_until_the_file_is_back(
    name: str, other: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        pair.disks[name].take_name("volume")
        await wait_stands(pair, name, "degraded", "file-gone")
        await wait_stands(pair, other, "degraded", "peer-disk-failing")
        pair.break_link()
        await trio.sleep(30.0)
        await wait_stands(pair, other, "degraded", "peer-disk-failing")
        await pair.nodes["a"].volume.write(0, b"both go on")
        pair.disks[name].give_name("volume")
        await wait_stands(pair, name, "protected")
        await wait_stands(pair, other, "protected")
    found = [message for message in caplog.messages if message.startswith("volume: ")]
    assert [message.partition(";")[0] for message in found] == [GONE, BACK], "one line each"
    assert f"if node {other} is no member, hold the process with SIGSTOP, save the copy: cp --sparse=" in found[0]


async def test_the_only_member_serves_on_and_brings_the_other_one_back(autojump_clock: MockClock) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        await pair.stop("b")
        a = await pair.wait_alone("a")
        pair.disks["a"].take_name("volume")
        await wait_stands(pair, "a", "degraded", "file-gone", "peer-lost")
        await a.volume.write(0, b"kept")
        await pair.start("b")
        await pair.wait_until(lambda: stands(pair, "b") == ("degraded", ("peer-disk-failing",)))
        assert stands(pair, "a") == ("degraded", ("file-gone",))
        await pair.stop("a")
        b = await pair.wait_alone("b")
        assert await b.volume.read(0, 4) == b"kept"
        assert stands(pair, "b") == ("degraded", ("peer-lost",))


async def test_who_stops_such_a_node_is_warned(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        pair.disks["b"].take_name("volume")
        await wait_stands(pair, "b", "degraded", "file-gone")
        caplog.clear()
        await pair.stop("b")
        (warning,) = [record for record in caplog.records if GONE in record.getMessage()]
        assert warning.levelname == "WARNING"
        assert warning.getMessage() == (
            f"stopping: {GONE}; if the file was only moved, move it back; if not, and node a is a member, move away "
            "what lies there, then make the copy anew: ctlha replace"
        ), "it says nothing of what could have been done before"
        await pair.wait_alone("a")
        caplog.clear()
        await pair.stop("a")
        assert not [message for message in caplog.messages if "removed" in message]


@pytest.mark.parametrize(("name", "other"), [("a", "b"), ("b", "a")])
async def test_a_file_that_was_cut_short_is_a_dead_copy_before_anyone_reads_it(
    name: str, other: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Left to the first read, the node might be the only member by then, and nobody would serve."""
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        whole = Layout(2 * SIZE_BYTES).file_bytes
        pair.disks[name].told_sizes["volume"] = whole - 1
        with trio.move_on_after(2 * FILE_LOOK_S):
            await pair.wait_until(lambda: stands(pair, name)[1] == ("store-failed",))
        assert stands(pair, name) == ("stopped", ("store-failed",))
        await wait_stands(pair, other, "degraded", "peer-lost")
        assert await pair.nodes[other].volume.read(0, 4), "it serves alone"
        await pair.wait_until(lambda: "the copy on the failed disk is marked as dead" in caplog.messages)
    (failed,) = [message for message in caplog.messages if message.startswith("the store failed: ")]
    assert f"volume: has {whole - 1} bytes, of the {whole} with which it was made: it was cut short" in failed


async def test_a_file_that_has_grown_is_told_of_once_and_loses_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(size_bytes=2 * SIZE_BYTES) as pair:
        await filled(pair)
        whole = Layout(2 * SIZE_BYTES).file_bytes
        for size_bytes in (whole + 1, whole + 2, whole, whole + 3):
            pair.disks["b"].told_sizes["volume"] = size_bytes
            await trio.sleep(3 * FILE_LOOK_S)
            assert stands(pair, "a") == stands(pair, "b") == ("protected", ())
    found = [(record.levelname, record.getMessage()) for record in caplog.records if "volume: has " in record.message]
    assert found == [
        ("ERROR", f"volume: {grown(whole + 1, whole)}"),
        ("WARNING", f"volume: has the {whole} bytes again with which it was made"),
        ("ERROR", f"volume: {grown(whole + 3, whole)}"),
    ]


def grown(file_bytes: int, whole: int) -> str:
    return (
        f"has {file_bytes} bytes, of the {whole} with which it was made: it has grown; nothing is lost, but the node "
        f"would not start again; what puts it right, also while the node runs: truncate -s '<{whole}' volume"
    )


async def test_of_what_cannot_be_told_the_last_look_counts(autojump_clock: MockClock) -> None:
    cannot_tell = StoreError("no right to look")
    looks: list[str | StoreError | None] = [cannot_tell, None, cannot_tell, "", cannot_tell, "", None, cannot_tell]
    told: list[tuple[int, bool]] = []
    left = list(looks)

    async def look() -> str | None:
        await trio.lowlevel.checkpoint()
        if not left:
            await trio.sleep_forever()
        found = left.pop(0)
        if isinstance(found, StoreError):
            raise found
        return found

    watch = FileWatch(TrioClock(), "volume", "b", look, lambda gone: told.append((len(looks) - len(left), gone)))
    with trio.move_on_after((len(looks) + 1) * FILE_LOOK_S):
        await watch.run()
    assert told == [(4, True), (7, False)]
