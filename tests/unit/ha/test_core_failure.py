"""What the core or the driver raises in a turn of the link ends the node, whatever error it is."""

from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ctlha_trio._errors import DisconnectError, LocalProtocolError, RefusedError, RemoteProtocolError
from ctlha_trio.ha import _pair_driver
from ctlha_trio.ha._fault_log import FaultLog
from ctlha_trio.ha._inbox import Inbox
from ctlha_trio.ha._run_node import _BehindLink
from ctlha_trio.link import ChannelEvent, Connected, Disconnected, LossReason
from ctlha_trio.pair import PairState, actions, events, step_pair
from ctlha_trio.seams import TrioClock
from ctlha_trio.testing import open_pair
from ctlha_trio.wire import KnownRecord

FAILURES = [
    LocalProtocolError("a bug"),
    DisconnectError("a bug"),
    RemoteProtocolError("a bug"),
    AssertionError("a bug"),
]
"""One that the link would report, one that it would take for a broken stream, one for a fault of the peer."""


def fail_once(monkeypatch: pytest.MonkeyPatch, node: str, kind: type[events.Event], failure: Exception) -> None:
    failures = [failure]

    def step(state: PairState, event: events.Event) -> tuple[PairState, tuple[actions.Action, ...]]:
        if state.me == node and isinstance(event, kind) and failures:
            raise failures.pop()
        return step_pair(state, event)

    monkeypatch.setattr(_pair_driver, "step_pair", step)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize(
    "kind", [events.SessionUp, events.SessionLost, events.Received, events.PeerKnows], ids=lambda kind: kind.__name__
)
async def test_a_step_of_the_core_that_fails_ends_its_node(
    kind: type[events.Event],
    node: str,
    failure: Exception,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    async with open_pair(size_bytes=1 << 16) as pair:
        fail_once(monkeypatch, node, kind, failure)
        pair.nodes["a"]._link.drop("to have another session")
        await pair.wait_until(lambda: node not in pair.nodes)
        assert pair.failures == {node: failure}
        await pair.wait_alone("ab".replace(node, ""))


class FailingHearer:
    """Of a channel that is in its hands."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.hears: list[Callable[[Any], None]] = []

    def hear(self, take: Callable[[ChannelEvent], None], hear: Callable[[int], None]) -> None:
        self.hears = [take, hear]

    def session_began(self, session: int, peer_incarnation: int) -> None:
        self.calls.append("began")

    def session_ended(self, _: object) -> NoReturn:
        self.calls.append("ended")
        raise DisconnectError("a bug")

    def heard(self, *_: object) -> NoReturn:
        raise AssertionError("it has failed before")


async def test_nothing_is_told_behind_a_failure() -> None:
    hearer: Any = FailingHearer()
    with pytest.RaisesGroup(pytest.RaisesExc(DisconnectError, match="a bug")):
        async with trio.open_nursery() as nursery:
            link: Any = type("Link", (), {"config": type("Config", (), {"peer": "b"})})
            nursery.start_soon(Inbox(link, hearer, hearer, hearer, nursery, 1 << 20).run)
            await trio.testing.wait_all_tasks_blocked()
            take, hear = hearer.hears
            take(Connected(session=1, peer_incarnation=1, peer_epoch=1, peer_revision=1))
            take(Disconnected(LossReason.CLOSED, "gone"))
            take(Connected(session=2, peer_incarnation=1, peer_epoch=1, peer_revision=1))
            hear(1)
    assert hearer.calls == ["began", "ended"]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_a_driver_that_fails_at_a_hello_or_a_report_ends_its_node(failure: Exception) -> None:
    class FailingDriver:
        @property
        def state(self) -> NoReturn:
            raise failure

        def feed(self, _: events.Event) -> NoReturn:
            raise failure

    def report(behind: _BehindLink) -> None:
        behind.report(RefusedError("twin", by_peer=True))

    def hear(behind: _BehindLink) -> None:
        behind.hear(KnownRecord("line", 1, 1, leads=True))

    for tell in (report, hear):
        driver: Any = FailingDriver()
        told: list[object] = []
        with pytest.RaisesGroup(type(failure)):
            async with trio.open_nursery() as nursery:
                behind = _BehindLink(FaultLog(TrioClock()), nursery)
                behind.driver = driver
                tell(behind)
                told.append(tell)
        assert told == [tell], "the link has met nothing"
