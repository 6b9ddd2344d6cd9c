"""Two links and the network between them: how sessions begin and end. All under virtual time."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import (
    CtlHaError,
    DisconnectError,
    InvalidError,
    LocalProtocolError,
    RefusedError,
    RemoteProtocolError,
)
from ctlha_trio.link import (
    Channel,
    ChannelEvent,
    Connected,
    Disconnected,
    Link,
    LinkConfig,
    LossReason,
)
from ctlha_trio.seams import Clock, MemoryNetwork, Stream, TrioClock
from ctlha_trio.seams._memory_network import MemoryStream
from ctlha_trio.wire import (
    CHANNEL_OPEN_BODY,
    HEADER_SIZE,
    FrameDecoder,
    FrameType,
    Hello,
    KnownRecord,
    Refusal,
    ResourceState,
    decode_hello,
    decode_refusal,
    encode_header,
    encode_hello,
    session_id,
)
from ctlha_trio.wire._frame import HEARTBEAT_BODY

KNOWN = KnownRecord("line", 4, 4, leads=True)
CONFIGS = {
    node: LinkConfig(
        cluster="c", node=node, peer=peer, resource="volume", listen=f"{node}-address", peer_address=f"{peer}-address"
    )
    for node, peer in (("a", "b"), ("b", "a"))
}


@attrs.define(eq=False)
class Side:
    """One node's link with a channel that shows what happens."""

    link: Link
    channel: Channel
    reports: list[CtlHaError]
    heard: list[KnownRecord]
    knows: KnownRecord | None = None
    alive: bool = True
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    events: list[ChannelEvent] = attrs.field(factory=list)

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await self.link.run(task_status=task_status)

    async def watch(self) -> None:
        while True:
            self.events += await self.channel.receive_events()

    def events_of(self, kind: type[ChannelEvent]) -> list[ChannelEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def losses(self) -> list[LossReason]:
        return [event.reason for event in self.events if isinstance(event, Disconnected)]

    @property
    def reasons(self) -> list[str]:
        return [error.reason for error in self.reports if isinstance(error, RefusedError)]


def make_side(network: MemoryNetwork, config: LinkConfig, *, incarnation: int = 1, clock: Clock | None = None) -> Side:
    reports: list[CtlHaError] = []
    heard: list[KnownRecord] = []
    sides: list[Side] = []
    link = Link(
        config,
        clock=clock or TrioClock(),
        entropy=random.Random(f"{config.node}{incarnation}").randbytes,
        transport=network.transport(config.node),
        incarnation=incarnation,
        alive=lambda: sides[0].alive,
        report=reports.append,
        heard=heard.append,
        knows=lambda: sides[0].knows,
    )
    sides.append(Side(link, link.open_channel(0x80, slot_size=16, slots=4), reports, heard))
    return sides[0]


@attrs.define(eq=False)
class Pair:
    network: MemoryNetwork
    nursery: trio.Nursery
    a: Side
    b: Side

    async def start(self, side: Side) -> None:
        await self.nursery.start(side.run)
        self.nursery.start_soon(side.watch)

    async def online(self) -> None:
        await until(lambda: self.is_online)

    @property
    def is_online(self) -> bool:
        one, other = self.a.link.session, self.b.link.session
        return one is not None and other is not None and one.session == other.session


async def until(condition: Callable[[], bool], *, within_s: float = 10.0) -> float:
    """Seconds of virtual time until the condition held."""
    started_s = trio.current_time()
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - states of two nodes at once have no event, and time is virtual
            await trio.sleep(0.001)
    return trio.current_time() - started_s


@asynccontextmanager
async def dialled_by(dialler: str) -> AsyncIterator[Pair]:
    """In session. The other one does not know where to find it."""
    network = MemoryNetwork()
    lost = {node: attrs.evolve(CONFIGS[node], peer_address="nowhere") for node in CONFIGS if node != dialler}
    sides = [make_side(network, lost.get(node, CONFIGS[node])) for node in ("a", "b")]
    async with trio.open_nursery() as nursery:
        pair = Pair(network, nursery, *sides)
        for side in sides:
            await pair.start(side)
        await pair.online()
        yield pair
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_pair(*, start: str = "ab", b_changes: dict[str, str | int] | None = None) -> AsyncIterator[Pair]:
    network = MemoryNetwork()
    b_config = LinkConfig(**{**attrs.asdict(CONFIGS["b"]), **(b_changes or {})})
    sides = {"a": make_side(network, CONFIGS["a"]), "b": make_side(network, b_config)}
    async with trio.open_nursery() as nursery:
        pair = Pair(network, nursery, sides["a"], sides["b"])
        for node in start:
            await pair.start(sides[node])
        yield pair
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_either_may_start_first(autojump_clock: trio.testing.MockClock, order: str) -> None:
    async with open_pair(start=order[0]) as pair:
        await trio.sleep(5)
        first, second = (pair.a, pair.b) if order == "ab" else (pair.b, pair.a)
        assert first.link.state == "unknown"
        assert first.link.session is None
        await pair.start(second)
        await pair.online()
        assert (first.link.state, second.link.state) == ("online", "online")
        assert not first.reports


@pytest.mark.parametrize("_round", range(20))
async def test_simultaneous_connects_end_in_exactly_one_session(
    autojump_clock: trio.testing.MockClock, _round: int
) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(5)
        assert pair.is_online
        for side in (pair.a, pair.b):
            assert len(side.events_of(Connected)) == 1
            assert side.losses == []
            assert side.reports == []
            assert side.link.statistics().sessions == 1


async def test_the_preferred_dialler_refuses_while_its_own_hello_is_unanswered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="") as pair:
        listener = await pair.network.transport("b").listen("b-address")
        unanswered: list[Stream] = []

        async def swallow(stream: Stream) -> None:
            unanswered.append(stream)
            await trio.sleep_forever()

        pair.nursery.start_soon(listener.serve, swallow)
        await pair.start(pair.a)
        await until(lambda: bool(unanswered))
        with trio.fail_after(1):
            stream = await dial(pair.network, "b", "a-address", hello("b"))
            assert await refusal(stream) == "simultaneous"
        assert pair.a.reports == [], "the tie-break is no fault"


async def test_the_other_accepts_and_gives_up_its_own_dial(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="") as pair:
        listener = await pair.network.transport("a").listen("a-address")
        ended: list[float] = []

        async def swallow(stream: Stream) -> None:
            buffer = memoryview(bytearray(4096))
            while await stream.receive_into(buffer):
                pass
            ended.append(trio.current_time())

        pair.nursery.start_soon(listener.serve, swallow)
        await pair.start(pair.b)
        await trio.sleep(0.1)
        with trio.fail_after(1):
            stream = await dial(pair.network, "a", "b-address", hello("a"))
            await confirm(stream)
            await until(lambda: pair.b.link.state == "online" and bool(ended))


async def test_what_both_learn_of_each_other(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="") as pair:
        pair.a.link.announce(epoch=7, revision=70)
        pair.b.link.announce(epoch=5, revision=50)
        await pair.start(pair.a)
        await pair.start(pair.b)
        await pair.online()
        session = pair.a.link.session
        assert session is not None
        assert (session.peer_epoch, session.peer_revision, session.peer_incarnation) == (5, 50, 1)
        await trio.sleep(0.1)
        assert pair.b.events == [Connected(session=session.session, peer_incarnation=1, peer_epoch=7, peer_revision=70)]
        pair.b.link.announce(epoch=8, revision=80)
        await trio.sleep(0.2)
        session = pair.a.link.session
        assert session is not None
        assert session.peer_epoch == 8
        with pytest.raises(InvalidError):
            pair.b.link.announce(epoch=7, revision=80)


@pytest.mark.parametrize("cut", ["both", "one"])
async def test_silence_is_noticed_within_a_second(autojump_clock: trio.testing.MockClock, cut: str) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(2.03)
        pair.network.cut("b", "a")
        if cut == "both":
            pair.network.cut("a", "b")
        assert 0.8 <= await until(lambda: pair.a.link.state == "unknown") <= 1.0
        await trio.sleep(0.01)
        assert pair.a.losses == [LossReason.SILENT]
        last = pair.a.events[-1]
        assert isinstance(last, Disconnected)
        assert "0.9" in last.detail


async def test_silence_is_noticed_under_load(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(1)
        pair.network.cut("b", "a")
        for _ in range(4):
            pair.a.channel.send_nowait(bytes(16))
        assert 0.8 <= await until(lambda: pair.a.link.state == "unknown") <= 1.0


async def test_both_lose_a_session_in_which_one_hears_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """And there is no other one, although one side hears each hello of the other."""
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(1)
        pair.network.cut("b", "a")
        await until(lambda: pair.a.link.state == "unknown")
        assert await until(lambda: pair.b.link.state == "unknown") < 0.05
        await trio.sleep(20)
        assert [len(side.events_of(Connected)) for side in (pair.a, pair.b)] == [1, 1]
        assert (pair.a.losses, pair.b.losses) == ([LossReason.SILENT], [LossReason.CLOSED])


async def test_a_quiet_link_stays(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(120)
        assert pair.is_online
        assert pair.a.losses == pair.b.losses == []
        statistics = pair.a.link.statistics()
        assert statistics.sessions == 1
        assert statistics.round_trip_s == pytest.approx(0.0, abs=0.001)
        assert 1190 < statistics.frames_in < 1210


async def test_heartbeats_are_withheld_while_the_disk_path_hangs(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(1)
        pair.b.alive = False
        assert 0.8 <= await until(lambda: pair.a.link.state == "unknown") <= 1.0
        await trio.sleep(0.01)
        assert pair.a.losses == [LossReason.SILENT]
        pair.b.alive = True
        await pair.online()
        await trio.sleep(3)
        assert pair.is_online


async def test_a_broken_connection_is_noticed_at_once_and_made_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        for _ in range(5):
            pair.network.reset("a", "b")
            await until(lambda: pair.a.link.session is None or pair.b.link.session is None, within_s=0.1)
            assert await until(lambda: pair.is_online) < 1.0
        for side in (pair.a, pair.b):
            assert set(side.losses) <= {LossReason.CLOSED, LossReason.REPLACED}
            assert len(side.events_of(Connected)) == len(side.losses) + 1
            assert [type(event) for event in side.events[:3]] == [Connected, Disconnected, Connected]
            assert side.reports == []


async def test_a_message_whose_sender_finds_the_connection_broken_ends_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Who sends it may not wait, and is told nothing; it counts as sent, and nothing may come behind it."""
    async with open_pair() as pair:
        await pair.online()
        connection = pair.a.link._connection
        assert connection is not None
        assert isinstance(connection.stream, MemoryStream)
        sending = connection.stream._sending
        write = sending._write

        def fail_once(pieces: list[memoryview]) -> int:
            sending._write = write
            raise trio.BrokenResourceError

        sending._write = fail_once
        pair.a.channel.send_nowait(bytes(16))
        await until(lambda: pair.a.link._connection is not connection, within_s=0.09)
        assert pair.a.losses == [LossReason.CLOSED]


async def test_the_link_comes_back_after_a_cut(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        before = pair.a.link.session
        pair.network.cut("a", "b")
        pair.network.cut("b", "a")
        await trio.sleep(20)
        assert (pair.a.link.state, pair.b.link.state) == ("unknown", "unknown")
        pair.network.heal()
        assert await until(lambda: pair.is_online) < 4.5, "a hello under way may have to run out first"
        assert before is not None
        assert pair.a.link.session is not None
        assert pair.a.link.session.session != before.session
        await trio.sleep(5)
        assert pair.is_online


async def test_a_newer_connection_replaces_the_old(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        first = await dial(pair.network, "b", "a-address", hello("b"))
        await confirm(first)
        await until(lambda: pair.a.link.state == "online")
        second = await dial(pair.network, "b", "a-address", hello("b"))
        assert pair.a.events_of(Disconnected) == []
        await confirm(second)
        await until(lambda: len(pair.a.events) == 3, within_s=0.5)
        assert pair.a.losses == [LossReason.REPLACED]
        assert len(pair.a.events_of(Connected)) == 2


async def test_a_second_process_with_the_peer_s_identity_is_refused_by_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The first answers what was asked of it after the second had come. Its session goes on as if nothing had been."""
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(1)
        twin = make_side(pair.network, attrs.evolve(CONFIGS["b"], listen="elsewhere"), incarnation=2)
        await pair.start(twin)
        assert await until(lambda: bool(twin.reasons)) < 0.5
        await trio.sleep(5)
        assert set(twin.reasons) == {"twin"}
        assert all(isinstance(each, RefusedError) and each.by_peer for each in twin.reports)
        assert (pair.a.losses, pair.b.losses) == ([], [])
        assert pair.is_online
        assert set(pair.a.reasons) == {"twin"}


async def test_a_process_that_comes_before_the_end_of_the_last_one_is_noticed_is_accepted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its machine lost its power: no connection was closed, and nothing is answered any more."""
    async with open_pair(start="a") as pair:
        first = await dial(pair.network, "b", "a-address", hello("b"))
        await confirm(first)
        await until(lambda: pair.a.link.state == "online")
        second = await dial(pair.network, "b", "a-address", hello("b", incarnation=2))
        await confirm(second)
        await until(lambda: len(pair.a.events) == 3, within_s=1.0)
        assert pair.a.losses == [LossReason.SILENT]
        assert [event.peer_incarnation for event in pair.a.events if isinstance(event, Connected)] == [1, 2]


async def test_what_a_dead_process_had_sent_is_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    """It arrives after the next process has introduced itself, and answers what was asked before."""
    async with open_pair(start="a") as pair:
        first = await dial(pair.network, "b", "a-address", hello("b"))
        session = await confirm(first)
        await trio.sleep(1 / 2)
        second = await dial(pair.network, "b", "a-address", hello("b", incarnation=2))
        await trio.sleep(0.01)
        body = HEARTBEAT_BODY.pack(1, 1, 0)
        await first.send_all(encode_header(FrameType.HEARTBEAT, (body,), session=session) + body)
        await confirm(second)
        await until(lambda: len(pair.a.events) == 3, within_s=0.1)
        assert pair.a.reasons == [], "it answered the first heartbeat"
        assert [event.peer_incarnation for event in pair.a.events if isinstance(event, Connected)] == [1, 2]


async def test_of_two_processes_that_are_agreed_to_at_once_the_first_that_confirms_stays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="a") as pair:
        tries = [await dial(pair.network, "b", "a-address", hello("b", incarnation=each)) for each in (1, 2)]
        await trio.testing.wait_all_tasks_blocked()
        for each in reversed(tries):
            await confirm(each)
            await trio.testing.wait_all_tasks_blocked()
        assert [event.peer_incarnation for event in pair.a.events if isinstance(event, Connected)] == [2]
        assert pair.a.losses == []


async def test_a_hello_that_is_never_confirmed_replaces_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        stream = await dial(pair.network, "b", "a-address", hello("b"))
        await trio.sleep(5)
        assert pair.is_online
        assert pair.a.losses == []
        stream.close()


async def test_a_peer_that_restarts_is_another_incarnation(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        pair.b.scope.cancel()
        await until(lambda: pair.a.link.session is None, within_s=0.2)
        pair.b = make_side(pair.network, CONFIGS["b"], incarnation=2)
        await pair.start(pair.b)
        await pair.online()
        session = pair.a.link.session
        assert session is not None
        assert session.peer_incarnation == 2


async def test_goodbye_is_heard_at_once_and_is_for_good(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(1)
        started_s = trio.current_time()
        await pair.b.link.goodbye("store failed")
        assert trio.current_time() - started_s < 0.01
        await until(lambda: bool(pair.a.losses) and bool(pair.b.losses), within_s=0.01)
        assert pair.a.events[-1] == Disconnected(LossReason.GOODBYE, "store failed")
        assert pair.b.events[-1] == Disconnected(LossReason.CLOSED, "goodbye said here: store failed")
        await trio.sleep(10)
        assert pair.a.link.session is pair.b.link.session is None
        assert set(pair.a.reasons) == set(pair.b.reasons) == {"stopping"}


async def test_a_goodbye_is_one_whatever_it_is_for(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await pair.b.link.goodbye("rack 5,\nrow \ud800")
        await until(lambda: bool(pair.a.losses), within_s=0.01)
        assert pair.a.events[-1] == Disconnected(LossReason.GOODBYE, "rack 5,?row ?")
        assert pair.a.reasons == []


async def test_hellos_tell_what_the_other_one_knows_before_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="") as pair:
        pair.a.knows = KNOWN
        await pair.start(pair.a)
        await pair.start(pair.b)
        await pair.online()
        assert set(pair.b.heard) == {KNOWN}
        assert pair.a.heard == [], "b knows no record"


@pytest.mark.parametrize("dialler", ["a", "b"])
async def test_a_node_that_said_goodbye_tells_what_it_knows_whoever_dials(
    dialler: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with dialled_by(dialler) as pair:
        await pair.b.link.goodbye("stopped")
        pair.b.knows = KNOWN
        await until(lambda: KNOWN in pair.a.heard)
        assert pair.a.link.session is pair.b.link.session is None


@pytest.mark.parametrize("dialler", ["a", "b"])
async def test_a_node_that_rests_hears_what_one_that_stopped_knows(
    dialler: str, autojump_clock: trio.testing.MockClock
) -> None:
    """By a hello that it refuses: it dials nobody."""
    async with dialled_by(dialler) as pair:
        resting, stopped = (pair.b, pair.a) if dialler == "a" else (pair.a, pair.b)
        await resting.link.rest(Refusal.DISK_HANGS)
        await stopped.link.goodbye("stopped")
        stopped.knows = KNOWN
        await until(lambda: KNOWN in resting.heard)
        assert not pair.is_online


async def test_a_node_that_stops_while_it_rests_goes_on_to_tell(autojump_clock: trio.testing.MockClock) -> None:
    async with dialled_by("b") as pair:
        await pair.b.link.rest(Refusal.DISK_HANGS)
        await trio.sleep(5)
        await pair.b.link.goodbye("stopped")
        pair.b.knows = KNOWN
        await until(lambda: KNOWN in pair.a.heard)


async def test_what_a_twin_says_does_not_count(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        twin = make_side(pair.network, attrs.evolve(CONFIGS["b"], listen="elsewhere"), incarnation=2)
        twin.knows = KNOWN
        await pair.start(twin)
        await until(lambda: bool(twin.reasons))
        await trio.sleep(1)
        assert pair.a.heard == []


async def test_what_another_node_says_does_not_count(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="", b_changes={"cluster": "other"}) as pair:
        pair.b.knows = KNOWN
        await pair.start(pair.a)
        await pair.start(pair.b)
        await until(lambda: bool(pair.a.reasons))
        await pair.b.link.goodbye("stopped")
        await trio.sleep(5)
        assert pair.a.heard == []


async def test_goodbye_goes_behind_everything_queued(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(0.1)
        for number in range(4):
            pair.b.channel.send_nowait(bytes([number]) * 16)
        await pair.b.link.goodbye("bye")
        await trio.sleep(0.1)
        assert [pair.a.channel.receive_nowait()[0] for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(DisconnectError):
            pair.b.channel.send_nowait(bytes(16))


async def test_goodbye_to_a_peer_that_does_not_listen_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        pair.network.cut("b", "a")
        pair.network.cut("a", "b")
        with trio.fail_after(1.01):
            await pair.b.link.goodbye("bye")
        assert pair.b.link.session is None
        await pair.b.link.goodbye("again")


async def test_a_cancelled_goodbye_still_leaves(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        pair.network.cut("b", "a")
        with trio.move_on_after(0.1) as scope:
            await pair.b.link.goodbye("bye")
        assert scope.cancelled_caught
        assert pair.b.link.session is None


async def test_drop_ends_the_session_and_the_link_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await trio.sleep(1)
        pair.a.link.drop("the probe was not answered")
        assert pair.a.link.session is None
        await pair.online()
        await trio.sleep(0.1)
        assert pair.a.events[1] == Disconnected(LossReason.CLOSED, "the probe was not answered")
        pair.b.link.drop("")
        assert pair.b.link.session is None


async def test_whoever_hears_a_message_may_end_its_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        heard: list[ChannelEvent] = []
        channel = pair.b.link.open_channel(0x81, slot_size=8, slots=4)
        channel.hear(heard.append, lambda _: pair.b.link.drop("what it says is wrong"))
        sender = pair.a.link.open_channel(0x81, slot_size=8, slots=4)
        await until(lambda: sender.has_credit)
        sender.send_nowait(b"nonsense")
        await until(lambda: Disconnected(LossReason.CLOSED, "what it says is wrong") in heard)
        await pair.online()


async def test_an_address_that_cannot_be_had_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        other = make_side(pair.network, CONFIGS["a"])
        with pytest.raises(OSError, match="in use"):
            await other.link.run()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"node": "a"}, "same-node"),
        ({"cluster": "other"}, "foreign-cluster"),
        ({"node": "z"}, "wrong-peer"),
        ({"resource": "other"}, "resource"),
        ({"size_bytes": 4096}, "size"),
    ],
)
async def test_a_refusal_has_its_reason_on_both_sides(
    autojump_clock: trio.testing.MockClock, changes: dict[str, str | int], reason: str
) -> None:
    async with open_pair(b_changes=changes) as pair:
        await trio.sleep(3)
        assert pair.a.link.session is pair.b.link.session is None
        assert reason in pair.a.reasons
        assert reason in pair.b.reasons
        assert len(pair.a.reasons) < 60, "tries back off"


async def test_a_peer_that_refuses_is_not_dialled_all_the_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="", b_changes={"cluster": "d"}) as pair:
        await pair.start(pair.b)
        await pair.start(pair.a)
        await trio.sleep(5)
        assert 5 <= len(pair.a.reasons) <= 30, "it is told of its own dials and of the other's"


async def test_only_one_side_may_find_the_other_wrong(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(b_changes={"peer": "z"}) as pair:
        await trio.sleep(3)
        assert pair.a.link.session is pair.b.link.session is None
        assert set(pair.a.reasons) == set(pair.b.reasons) == {"wrong-peer"}
        assert pair.a.events == pair.b.events == []


# A peer made of bytes


def hello(node: str, *, incarnation: int = 1, version: int = 1, newest: int | None = None, half: int = 77) -> bytes:
    """Of the first version if nothing else is said: what of that a session needs, every later one takes."""
    body = encode_hello(
        Hello(
            cluster="c",
            node=node,
            incarnation=incarnation,
            session_half=half,
            resources=(ResourceState("volume", 0, 0),),
            version_min=version,
            version_max=newest or version,
        )
    )
    return encode_header(FrameType.HELLO, (body,)) + body


async def dial(network: MemoryNetwork, node: str, address: str, data: bytes) -> Stream:
    stream = await network.transport(node).dial(address)
    await stream.send_all(data)
    return stream


async def answer(stream: Stream) -> tuple[FrameType, int, bytes]:
    decoder = FrameDecoder()
    while (frame := decoder.next_frame()) is None:
        size = await stream.receive_into(decoder.space())
        assert size, "closed without an answer"
        decoder.received(size)
    return frame.kind, frame.session, bytes(frame.payload)


async def refusal(stream: Stream) -> str:
    kind, _, payload = await answer(stream)
    assert kind is FrameType.HELLO_REFUSE
    return decode_refusal(payload)[0]


async def confirm(stream: Stream, *, xor: int = 0) -> int:
    kind, session, _ = await answer(stream)
    assert kind is FrameType.HELLO_ACCEPT
    await stream.send_all(encode_header(FrameType.HELLO_CONFIRM, session=session ^ xor))
    return session


async def test_a_version_that_is_unknown_here_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        stream = await dial(pair.network, "b", "a-address", hello("b", version=3))
        assert await refusal(stream) == "version"
        assert pair.a.reasons == ["version"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n" + bytes(64),
        encode_header(FrameType.HELLO, (b"nonsense",)) + b"nonsense",
        encode_header(FrameType.HELLO, (bytes(5000),)),
        encode_header(FrameType.HEARTBEAT, (bytes(24),), session=1) + bytes(24),
        encode_header(FrameType.HELLO_CONFIRM, session=1),
    ],
)
async def test_what_is_no_hello_is_malformed(autojump_clock: trio.testing.MockClock, data: bytes) -> None:
    async with open_pair(start="a") as pair:
        stream = await dial(pair.network, "b", "a-address", data)
        assert await refusal(stream) == "malformed"
        assert pair.a.reasons == ["malformed"]


async def test_the_confirmation_must_name_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        stream = await dial(pair.network, "b", "a-address", hello("b"))
        await confirm(stream, xor=1)
        await trio.sleep(0.1)
        assert pair.a.link.session is None
        assert pair.a.reasons == ["malformed"]


@pytest.mark.parametrize("wrong", ["session", "kind", "node"])
async def test_an_answer_that_is_wrong_is_refused_by_the_dialler(
    autojump_clock: trio.testing.MockClock, wrong: str
) -> None:
    async with open_pair(start="") as pair:
        listener = await pair.network.transport("b").listen("b-address")
        heard: list[str] = []

        async def answer_wrongly(stream: Stream) -> None:
            kind, _, payload = await answer(stream)
            assert kind is FrameType.HELLO
            session = session_id(dialler_half=decode_hello(payload).session_half, acceptor_half=77)
            body = hello("z" if wrong == "node" else "b")[HEADER_SIZE:]
            kind = FrameType.HELLO_ACCEPT
            if wrong == "session":
                session ^= 1 << 40
            elif wrong == "kind":
                kind, body = FrameType.HELLO_CONFIRM, b""
            await stream.send_all(encode_header(kind, (body,), session=session) + body)
            heard.append(await refusal(stream))

        pair.nursery.start_soon(listener.serve, answer_wrongly)
        await pair.start(pair.a)
        await until(lambda: bool(heard))
        expected = "wrong-peer" if wrong == "node" else "malformed"
        assert heard[0] == expected
        assert set(pair.a.reasons) == {expected}
        assert pair.a.events == []


async def test_a_slow_hello_ends_after_three_seconds_however_it_trickles(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="a") as pair:
        started_s = trio.current_time()
        stream = await dial(pair.network, "b", "a-address", b"")
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):  # noqa: PT012
            for byte in hello("b"):
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.05)
        assert trio.current_time() - started_s == pytest.approx(3.0, abs=0.06)
        assert pair.a.events == []


async def test_at_most_eight_strangers_are_listened_to(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        strangers = [await dial(pair.network, "x", "a-address", b"") for _ in range(8)]
        await trio.sleep(0.1)
        ninth = await dial(pair.network, "x", "a-address", b"")
        with trio.fail_after(0.1):
            assert await refusal(ninth) == "simultaneous"
            assert await ninth.receive_into(memoryview(bytearray(1))) == 0
        await trio.sleep(3)
        for stream in strangers:
            assert await refusal(stream) == "simultaneous"
            assert await stream.receive_into(memoryview(bytearray(1))) == 0
        stream = await dial(pair.network, "b", "a-address", hello("b"))
        await confirm(stream)
        await until(lambda: pair.a.link.state == "online", within_s=0.1)


async def test_strangers_do_not_disturb_a_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        for _ in range(8):
            await dial(pair.network, "x", "a-address", b"x")
        await trio.sleep(5)
        assert pair.is_online
        assert pair.a.losses == []


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (encode_header(FrameType.HEARTBEAT, (bytes(24),), session=1) + bytes(24), "session"),
        (b"junk" * 20, "magic"),
        (hello("b"), "type"),
    ],
)
async def test_what_a_session_does_not_allow_ends_it_with_a_name(
    autojump_clock: trio.testing.MockClock, frame: bytes, fault: str
) -> None:
    async with open_pair(start="a") as pair:
        stream = await dial(pair.network, "b", "a-address", hello("b"))
        await confirm(stream)
        await until(lambda: pair.a.link.state == "online")
        await stream.send_all(frame)
        await until(lambda: pair.a.link.state == "unknown", within_s=0.1)
        await trio.sleep(0.01)
        last = pair.a.events[-1]
        assert isinstance(last, Disconnected)
        assert last.reason is LossReason.CLOSED
        assert last.detail.startswith(f"{fault}: ")
        assert [str(error).partition(":")[0] for error in pair.a.reports] == [fault]


async def test_a_goodbye_is_heard_though_sending_fails_at_the_same_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="a") as pair:
        for number in range(1, 11):
            stream = await dial(pair.network, "b", "a-address", hello("b"))
            session = await confirm(stream)
            offer = CHANNEL_OPEN_BODY.pack(16, 4)
            await stream.send_all(
                encode_header(FrameType.CHANNEL_OPEN, (offer,), session=session, channel=0x80, credit=4) + offer
            )
            await trio.sleep(0.01)
            assert pair.a.link.state == "online"
            await stream.send_all(encode_header(FrameType.GOODBYE, (b"bye",), session=session) + b"bye")
            stream.close()
            pair.a.channel.send_nowait(bytes(16))
            await trio.sleep(0.1)
            assert pair.a.losses == [LossReason.GOODBYE] * number


async def test_a_frame_that_comes_slowly_is_no_silence_and_one_that_stays_away_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """On a slow line a large frame takes longer than silence may last, and no heartbeat comes in between."""
    async with open_pair(start="a") as pair:
        stream = await dial(pair.network, "b", "a-address", hello("b"))
        session = await confirm(stream)
        offer, message = CHANNEL_OPEN_BODY.pack(16, 4), bytes(range(16))
        await stream.send_all(
            encode_header(FrameType.CHANNEL_OPEN, (offer,), session=session, channel=0x80, credit=4) + offer
        )
        frame = encode_header(
            FrameType.MESSAGES, (message,), session=session, channel=0x80, count=1, first_sequence=1, credit=4
        )
        with suppress(trio.BrokenResourceError):
            for byte in frame + message:
                await trio.sleep(0.5)
                await stream.send_all(bytes([byte]))
            await trio.sleep(0.1)
        assert pair.a.losses == []
        assert pair.a.channel.receive_nowait() == message
        await stream.send_all(frame[:10])
        assert 0.8 <= await until(lambda: pair.a.link.state == "unknown") <= 1.0
        await trio.sleep(0.01)
        assert pair.a.losses == [LossReason.SILENT]


async def test_one_side_that_stands_still_does_not_suspect_the_other(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as pair:
        mock_clock.autojump_threshold = 0
        await pair.online()
        await trio.sleep(1)
        mock_clock.jump(5)
        await trio.sleep(5)
        assert pair.is_online
        assert pair.a.losses == pair.b.losses == []


async def test_a_link_that_rests_has_no_session_and_tells_why(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await pair.a.link.rest(Refusal.DISK_HANGS)
        await trio.sleep(20)
        assert not pair.is_online
        assert pair.a.losses == [LossReason.CLOSED]
        assert pair.b.losses == [LossReason.GOODBYE]
        assert set(pair.a.reasons) | set(pair.b.reasons) == {"disk-hangs"}
        pair.a.link.go_on()
        await pair.online()
        assert len(pair.a.losses) == len(pair.b.losses) == 1


async def test_both_links_rest_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        async with trio.open_nursery() as nursery:
            for side in (pair.a, pair.b):
                nursery.start_soon(side.link.rest, Refusal.DISK_HANGS)
        for side in (pair.a, pair.b):
            await trio.sleep(5)
            assert not pair.is_online
            side.link.go_on()
        await pair.online()


async def test_a_rest_does_not_take_a_farewell_back(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as pair:
        await pair.online()
        await pair.a.link.rest(Refusal.DISK_HANGS)
        await pair.a.link.goodbye("stopped")
        await pair.a.link.rest(Refusal.DISK_HANGS)
        pair.a.link.go_on()
        await trio.sleep(20)
        assert not pair.is_online
        assert pair.b.reasons[-1] == "stopping"


def fail_at_next_session(side: Side, failure: Exception) -> None:
    """In the channel that is told last."""
    failures: list[Exception] = []

    def hear(event: ChannelEvent) -> None:
        if isinstance(event, Connected) and failures:
            raise failures.pop()

    side.link.open_channel(0x81, slot_size=16, slots=4).hear(hear, lambda _: None)
    failures.append(failure)


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize("dialler", ["a", "b"])
async def test_a_session_of_which_a_channel_cannot_be_told_is_over(
    autojump_clock: trio.testing.MockClock, dialler: str, node: str
) -> None:
    async with dialled_by(dialler) as pair:
        side = pair.a if node == "a" else pair.b
        fail_at_next_session(side, DisconnectError("no session for this one"))
        side.link.drop("to have another session")
        await until(lambda: side.losses == 2 * [LossReason.CLOSED], within_s=1.0)
        await pair.online()
        await trio.sleep(30.0)
        assert pair.is_online
        assert len(side.losses) == 2
        assert [str(error) for error in side.reports] == ["no session for this one"]


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize(
    "failure",
    [LocalProtocolError("a bug"), RemoteProtocolError("malformed", "another's"), trio.BrokenResourceError("another's")],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_bug_of_whoever_is_told_of_a_session_ends_the_link(
    autojump_clock: trio.testing.MockClock, failure: Exception, node: str
) -> None:
    """It is no end of a connection, and no fault of the peer: the next session would go the same way, for ever."""

    async def fail() -> None:
        async with dialled_by("a") as pair:
            side = pair.a if node == "a" else pair.b
            fail_at_next_session(side, failure)
            side.link.drop("to have another session")
            await trio.sleep(30.0)

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="has failed"), flatten_subgroups=True):
        await fail()


@pytest.mark.parametrize("node", ["a", "b"])
async def test_a_bug_of_whoever_is_told_what_the_peer_knows_ends_the_link(
    autojump_clock: trio.testing.MockClock, node: str
) -> None:
    async def fail() -> None:
        async with dialled_by("a") as pair:
            side, other = (pair.a, pair.b) if node == "a" else (pair.b, pair.a)

            def hear(_: KnownRecord) -> None:
                raise DisconnectError("of something else")

            side.link._heard = hear
            other.knows = KNOWN
            side.link.drop("to have another session")
            await trio.sleep(30.0)

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="has failed"), flatten_subgroups=True):
        await fail()


async def test_each_channel_is_told_of_a_loss_whatever_another_one_raises(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else it would be in no session any more, and join none. Here the loss is that a newer connection took over."""
    async with open_pair() as pair:
        await pair.online()
        failures: list[Exception] = []
        told: list[ChannelEvent] = []

        def hear(event: ChannelEvent) -> None:
            if isinstance(event, Disconnected) and failures:
                raise failures.pop()

        for side, hears in ((pair.a, hear), (pair.b, lambda _: None)):
            side.link.open_channel(0x81, slot_size=16, slots=4).hear(hears, lambda _: None)
        second = pair.a.link.open_channel(0x82, slot_size=16, slots=4)
        second.hear(told.append, lambda _: None)
        pair.b.link.open_channel(0x82, slot_size=16, slots=4).hear(lambda _: None, lambda _: None)
        failures.append(DisconnectError("would begin something in the session that has ended"))
        pair.network.silence("b")
        pair.b.link.drop("to dial anew")
        await trio.sleep(30.0)
        assert failures == []
        lost = [event.reason for event in told if isinstance(event, Disconnected)]
        assert lost == [LossReason.REPLACED]
        assert [type(error) for error in pair.a.reports] == [DisconnectError]
        assert second.has_session
        assert second.has_credit
