"""What heartbeats tell is shown by the node, and logged when the peer falls silent."""

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.testing import open_pair


async def test_a_node_shows_what_the_heartbeats_tell(autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        await trio.sleep(1.0)
        status = pair.nodes["a"].status()
        assert status.link_version == 2
        assert status.round_trip_s == pytest.approx(0.0, abs=0.001)
        assert (status.heartbeat_late_s, status.peer_heartbeat_late_s) == pytest.approx((0.0, 0.0), abs=0.001)
        autojump_clock.jump(0.7)
        await trio.sleep(0.2)
        status = pair.nodes["a"].status()
        assert (status.heartbeat_late_s, status.peer_heartbeat_late_s) == pytest.approx((0.65, 0.65), abs=0.06)


async def test_a_node_whose_peer_falls_silent_logs_what_that_had_said_and_shows_nothing_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair() as pair:
        await trio.sleep(1.0)
        pair.network.cut("b", "a")
        await trio.sleep(2.0)
        status = pair.nodes["a"].status()
        assert status.link == "unknown"
        assert status.link_version is status.round_trip_s is status.heartbeat_late_s is None
        assert status.peer_heartbeat_late_s is None
        told = [line for line in caplog.messages if line.startswith("the session ends, for the peer is silent: ")]
        assert "its last heartbeat was 0.00 s late" in told[0]
