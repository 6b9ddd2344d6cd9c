"""Heartbeats that tell a loop which stood still from a peer that is dead. Under virtual time."""

import re
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio.link import Disconnected, LossReason
from ctlha_trio.link._intake import Intake
from ctlha_trio.link._writing import FrameWriter
from ctlha_trio.wire import FrameType, SessionCore
from ctlha_trio.wire._frame import LATE_HEARTBEAT_BODY
from tests.unit.link.test_link_sessions import CONFIGS, Pair, dial, hello, make_side, open_pair, until
from tests.unit.link.test_link_versions import NEWEST, Peer

STALL_S = 2.0
GRACE_S = 0.06
"""With the turns of the loop behind it."""


@attrs.define(eq=False)
class Scene:
    """``a`` in session with a peer made of bytes, of which nothing arrives while the network is cut."""

    pair: Pair
    peer: Peer
    clock: trio.testing.MockClock

    @classmethod
    async def begin(cls, pair: Pair, clock: trio.testing.MockClock) -> "Scene":
        peer = Peer(await dial(pair.network, "b", "a-address", hello("b", newest=NEWEST)))
        await peer.confirm()
        scene = cls(pair, peer, clock)
        for _ in range(5):
            scene.beat()
            await trio.sleep(0.1)
        return scene

    def beat(self) -> None:
        body = LATE_HEARTBEAT_BODY.pack(1, 0, 0, 0)
        assert self.peer.stream.send_nowait(self.peer.frame(FrameType.HEARTBEAT, body))

    def stall(self) -> None:
        """The loop of ``a`` stands still."""
        self.clock.jump(STALL_S)

    async def assert_alive(self) -> None:
        for _ in range(20):
            await trio.sleep(0.1)
            assert self.pair.a.losses == []
            self.beat()


@pytest.mark.parametrize("_round", range(8))
async def test_what_waits_in_the_socket_is_received_before_the_peer_is_believed_dead(
    autojump_clock: trio.testing.MockClock, _round: int
) -> None:
    async with open_pair(start="a") as pair:
        scene = await Scene.begin(pair, autojump_clock)
        scene.stall()
        scene.beat()
        await scene.assert_alive()
        late_s = pair.a.link.statistics().late_s
        assert late_s is not None
        assert late_s == pytest.approx(STALL_S, abs=0.11)


def stall_once(monkeypatch: pytest.MonkeyPatch, kind: Any, name: str, stall: Callable[[], None]) -> None:
    plain, stalls = getattr(kind, name), [stall]

    def stalling(*arguments: Any, **named: Any) -> Any:
        answer = plain(*arguments, **named)
        if stalls:
            stalls.pop()()
        return answer

    monkeypatch.setattr(kind, name, stalling)


@pytest.mark.parametrize(
    ("kind", "name"), [(Intake, "take"), (FrameWriter, "write_control"), (SessionCore, "take_heartbeat_due")]
)
async def test_no_task_of_a_session_that_stands_still_makes_the_peer_dead(
    kind: Any, name: str, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader, the writer, the watchdog."""
    async with open_pair(start="a") as pair:
        scene = await Scene.begin(pair, autojump_clock)
        stalled: list[float] = []

        def stall() -> None:
            stalled.append(trio.current_time())
            scene.stall()
            scene.beat()

        stall_once(monkeypatch, kind, name, stall)
        scene.beat()
        await until(lambda: bool(stalled))
        await scene.assert_alive()


async def test_what_comes_in_a_second_stall_is_received_before_the_verdict(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The grace that followed the first is over by then; and the loop looks at its sockets but once a turn."""
    async with open_pair(start="a") as pair:
        scene = await Scene.begin(pair, autojump_clock)
        scene.stall()
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert pair.a.losses == []
        scene.stall()
        await trio.lowlevel.checkpoint()
        scene.beat()
        await scene.assert_alive()


async def test_a_stall_with_nothing_behind_it_ends_in_a_verdict(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        scene = await Scene.begin(pair, autojump_clock)
        scene.stall()
        assert await until(lambda: pair.a.link.session is None) <= GRACE_S
        await trio.testing.wait_all_tasks_blocked()
        last = pair.a.events[-1]
        assert isinstance(last, Disconnected)
        assert last.reason is LossReason.SILENT
        assert re.search(r"this side looked 0\.00 s late, and lately at most (1\.9\d|2\.00) s$", last.detail)


async def test_stall_upon_stall_with_nothing_behind_it_ends_in_a_verdict(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="a") as pair:
        scene = await Scene.begin(pair, autojump_clock)
        for _ in range(2):
            scene.stall()
            for _ in range(8):
                await trio.lowlevel.checkpoint()
        assert pair.a.link.session is None


@attrs.define(eq=False)
class StallingClock:
    """Of a node whose loop stands still at times."""

    until_s: float = 0.0

    def now(self) -> float:
        return trio.current_time()

    def boottime(self) -> float:
        return self.now()

    async def sleep_until(self, deadline_s: float) -> None:
        """Not before the loop goes on."""
        await trio.sleep_until(deadline_s)
        await trio.sleep_until(self.until_s)


@attrs.define(eq=False)
class Stalling:
    """A pair of which ``b`` stands still at times."""

    pair: Pair
    clock: StallingClock

    @classmethod
    async def begin(cls, pair: Pair) -> "Stalling":
        clock = StallingClock()
        pair.b = make_side(pair.network, CONFIGS["b"], clock=clock)
        await pair.start(pair.a)
        await pair.start(pair.b)
        await pair.online()
        await trio.sleep(1.03)
        return cls(pair, clock)

    def stall(self, stall_s: float) -> None:
        self.clock.until_s = trio.current_time() + stall_s


async def test_a_peer_that_stands_still_for_a_moment_is_not_lost_and_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="") as pair:
        stalling = await Stalling.begin(pair)
        before = pair.a.link.statistics()
        assert before.peer_late_s == pytest.approx(0.0, abs=1e-3)
        stalling.stall(0.6)
        await trio.sleep(1)
        after = pair.a.link.statistics()
        assert after.peer_late_s == pytest.approx(0.55, abs=0.06)
        assert after.peer_late_last_s == pytest.approx(0.0, abs=1e-3)
        assert after.late_s == pytest.approx(0.0, abs=1e-3)
        assert after.round_trip_s == pytest.approx(0.0, abs=1e-3)
        assert pair.b.link.statistics().late_s == pytest.approx(0.55, abs=0.06)
        assert pair.a.losses == pair.b.losses == []


async def test_a_peer_that_stands_still_for_longer_is_lost_and_the_detail_tells_what_it_said_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="") as pair:
        stalling = await Stalling.begin(pair)
        stalling.stall(0.6)
        await trio.sleep(1)
        stalling.stall(30)
        assert 0.8 <= await until(lambda: pair.a.link.session is None) <= 1.0
        await trio.testing.wait_all_tasks_blocked()
        last = pair.a.events[-1]
        assert isinstance(last, Disconnected)
        assert last.reason is LossReason.SILENT
        assert "its last heartbeat was 0.00 s late, and of the recent ones the latest 0.5" in last.detail
        assert last.detail.endswith("this side looked 0.00 s late, and lately at most 0.00 s")


async def test_lateness_is_of_the_session_and_unknown_without_one(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="") as pair:
        statistics = pair.a.link.statistics()
        assert (statistics.late_s, statistics.peer_late_s, statistics.peer_late_last_s) == (None, None, None)
        await pair.start(pair.a)
        await (await dialled_first(pair)).confirm(states=False)
        await trio.sleep(0.3)
        statistics = pair.a.link.statistics()
        assert (statistics.peer_late_s, statistics.peer_late_last_s) == (None, None), "version 1 does not say so"
        assert statistics.late_s == pytest.approx(0.0, abs=1e-3)


async def dialled_first(pair: Pair) -> Peer:
    return Peer(await dial(pair.network, "b", "a-address", hello("b")))


async def test_heartbeats_that_are_withheld_while_the_disk_hangs_are_not_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(1)
        pair.b.alive = False
        await trio.sleep(0.5)
        pair.b.alive = True
        await trio.sleep(0.5)
        assert pair.a.link.statistics().peer_late_s == pytest.approx(0.0, abs=1e-3)


async def test_a_heartbeat_that_waits_for_a_peer_that_reads_nothing_is_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(1)
        pair.network.buffer_bytes = 100
        pair.network.cut("a", "b")
        await trio.sleep(0.5)
        pair.network.heal()
        await trio.sleep(0.2)
        assert pair.b.losses == []
        late_s = pair.b.link.statistics().peer_late_s
        assert late_s is not None
        assert 0.2 < late_s < 0.5
