"""What the link reports twice a second is logged when it changes, then rarely."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import CtlHaError, RefusedError, RemoteProtocolError, UntrustedPeerError
from ctlha_trio._repeats import REPEAT_S
from ctlha_trio.ha._fault_log import LINES_MAX, LINES_S, FaultLog
from ctlha_trio.seams import TrioClock
from ctlha_trio.testing import CallKind, open_pair

STOPPING = RefusedError("stopping", "the peer refused")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines


@pytest.fixture
async def log() -> FaultLog:
    return FaultLog(TrioClock())


async def test_the_same_fault_is_told_once_then_rarely_and_how_often(
    log: FaultLog, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        log.report(STOPPING, session=0)
        await trio.sleep(0.5)
    assert said(caplog) == ["link: stopping: the peer refused"]
    await trio.sleep(REPEAT_S)
    log.report(STOPPING, session=0)
    assert said(caplog) == ["link: stopping: the peer refused, 9 times since it was last said"]
    log.report(STOPPING, session=0)
    assert said(caplog) == []


@pytest.mark.parametrize(
    ("other", "keys"),
    [
        (RefusedError("stopping", "another"), ""),
        (RefusedError("size"), "volume.size_bytes"),
        (RemoteProtocolError("type"), ""),
        (UntrustedPeerError("x"), "peer.pins and peer.address"),
    ],
    ids=str,
)
async def test_another_fault_is_told_at_once(
    log: FaultLog, other: CtlHaError, keys: str, caplog: pytest.LogCaptureFixture
) -> None:
    log.report(STOPPING, session=0)
    log.report(other, session=0)
    assert [each.levelname for each in caplog.records] == ["WARNING", "ERROR" if keys else "WARNING"]
    look = f"; look at {keys} in both configurations" if keys else ""
    assert said(caplog) == [f"link: {STOPPING}", f"link: {other}{look}"]


async def test_two_faults_that_take_turns_are_two_lines(log: FaultLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        log.report(STOPPING, session=0)
        log.report(RefusedError("version"), session=0)
    assert said(caplog) == [f"link: {STOPPING}", "link: version"]


async def test_after_another_session_it_is_told_again(log: FaultLog, caplog: pytest.LogCaptureFixture) -> None:
    log.report(STOPPING, session=0)
    log.report(STOPPING, session=1)
    assert said(caplog) == [f"link: {STOPPING}"] * 2


async def test_a_peer_that_stopped_and_refuses_is_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It refuses every session for as long as it runs."""
    async with open_pair() as pair:
        disk = pair.disks["b"]
        disk.fail_flush_at(disk.count(CallKind.FLUSH) + 1)
        await pair.nodes["a"].volume.write(0, b"x" * 4096)
        await pair.wait_until(lambda: pair.nodes["b"].status().verdict == "stopped")
        await trio.sleep(REPEAT_S - 10.0)
        told = [line for line in said(caplog) if "stopping" in line]
        by_a, by_b = "link: stopping: the peer refused", "link: stopping: hello of node 'a', cluster 'memory'"
        assert sorted(told) == sorted((by_a, by_b))
        await pair.stop("b")
        await pair.start("b")
        await pair.wait_protected()


async def test_faults_with_another_text_each_time_are_a_bounded_number_of_lines(
    log: FaultLog, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As from a peer that introduces itself by another name each time, in and between sessions."""
    for number in range(1000):
        log.report(RefusedError("wrong-peer", f"hello of node {number}"), session=number // 100)
    assert len(said(caplog)) == LINES_MAX
    await trio.sleep(LINES_S)
    log.report(STOPPING, session=10)
    assert said(caplog) == [f"link: {1000 - LINES_MAX} more faults came than may be told of", f"link: {STOPPING}"]
    log.report(RefusedError("version"), session=10)
    assert said(caplog) == ["link: version"]
