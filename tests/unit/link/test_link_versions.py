"""Versions of the protocol: this one with itself and with the one before, of which only the recorded bytes are left."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from ctlha_trio._errors import RefusedError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_status
from ctlha_trio.link import Disconnected, Transfer
from ctlha_trio.link._handshake import Handshake
from ctlha_trio.link._meeting import HELLO_TIMEOUT_S, Meeting
from ctlha_trio.seams import MemoryNetwork, Stream
from ctlha_trio.wire import (
    FRAGMENT_SIZE_MAX,
    FRAGMENT_SIZE_MIN,
    HEADER_SIZE,
    OWN_TERMS,
    Frame,
    FrameDecoder,
    FrameType,
    Hello,
    Refusal,
    Terms,
    decode_hello,
    decode_refusal,
    encode_header,
    encode_terms,
    session_id,
)
from tests.unit.link.recorded_link import Record, Said
from tests.unit.link.recorded_scripts import EPOCH, MEMORY, SCRIPTS, recorded, run_recorded
from tests.unit.link.replayed_link import Replay
from tests.unit.link.test_link_sessions import Pair, dial, hello, open_pair, until
from tests.unit.wire.test_wire_codec import reseal

NEWEST = 2
UNKNOWN_OPTIONAL, UNKNOWN_MANDATORY = 1 << 31, 1 << 63
SUCCESS, ERROR = ctl_ha_status.CTL_HA_STATUS_SUCCESS, ctl_ha_status.CTL_HA_STATUS_ERROR


# With what was recorded


def read(version: int, name: str) -> Record:
    return Record.read(recorded(version, name).read_text(encoding="ascii"))


def replay(version: int, name: str, node: str) -> tuple[Record, Replay]:
    """This version as ``node`` beside a peer of that one."""
    record, beside = read(version, name), Replay(node)
    trio.run(beside.run, SCRIPTS[name], record, clock=trio.testing.MockClock())
    return record, beside


def in_order(said: list[Said], node: str) -> tuple[list[Said], list[Said]]:
    """Frames of a node, and beside them its heartbeats: these may stand before or behind what is written with them."""
    frames = [each for each in said if each.node == node and each.data]
    beats = [each for each in frames if each.what == "HEARTBEAT"]
    return [each for each in frames if each not in beats], beats


def knowing_newer_versions(said: Said) -> Said:
    """The same, of a node that differs from the recorded one in nothing but that it speaks later versions too."""
    at = {
        "HELLO": HEADER_SIZE,
        "HELLO_ACCEPT": HEADER_SIZE,
        "HELLO_REFUSE": said.data.find(b"\0", HEADER_SIZE) + 1,
    }.get(said.what, 0)
    if not at:
        return said
    data = bytearray(said.data)
    data[at + 2 : at + 4] = NEWEST.to_bytes(2, "little")
    return attrs.evolve(said, data=reseal(data))


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("version", [1, NEWEST])
def test_it_speaks_as_was_recorded_with_a_peer_of_each_version(version: int, name: str, node: str) -> None:
    record, beside = replay(version, name, node)
    for title, said in record.steps.items():
        expected = [knowing_newer_versions(each) for each in said]
        assert in_order(beside.said[title], node) == in_order(expected, node), title
    assert {(each.version, each.same_version) for each in beside.sessions} <= {(version, version == NEWEST)}


@pytest.mark.parametrize("version", [1, NEWEST])
def test_it_is_served_by_a_peer_of_each_version_and_serves_it(version: int) -> None:
    asker, server = replay(version, "session", "a")[1].party, replay(version, "session", "b")[1].party
    assert [transfer.status for transfer in asker.transfers] == [SUCCESS, ERROR, SUCCESS, ERROR, ERROR]
    assert [transfer.reason for transfer in asker.transfers[1::2]] == ["rights", "unknown-key"]
    assert asker.into == b"pushed" + MEMORY[14:24]
    assert server.memory == b"data" + MEMORY[4:8] + b"pushed" + MEMORY[14:]
    assert asker.link.epoch == EPOCH
    for party in (asker, server):
        assert [type(error) for error in party.reports] in ([], [RefusedError]), "of the hello after the goodbye"
        assert [type(event) for event in party.events].count(Disconnected) == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_bytes_of_this_version_are_as_recorded(name: str) -> None:
    assert run_recorded(SCRIPTS[name]) == recorded(NEWEST, name).read_text(encoding="ascii")


# Ranges


async def test_a_peer_that_speaks_other_versions_is_known_as_such(autojump_clock: trio.testing.MockClock) -> None:
    for newest, agreed in ((1, 1), (2, 2), (3, 2)):
        async with open_pair(start="a") as pair:
            peer = Peer(await dial(pair.network, "b", "a-address", hello("b", newest=newest)))
            await peer.confirm(states=newest > 1)
            await until(lambda: pair.a.link.session is not None)
            session = pair.a.link.session
            assert session is not None
            assert session.version == agreed
            assert session.same_version is (newest == NEWEST)


def speaks(monkeypatch: pytest.MonkeyPatch, node: str, version_min: int, version_max: int) -> None:
    plain = Meeting._own_hello

    def own_hello(meeting: Meeting) -> Hello:
        own = plain(meeting)
        return (
            own if meeting.config.node != node else attrs.evolve(own, version_min=version_min, version_max=version_max)
        )

    monkeypatch.setattr(Meeting, "_own_hello", own_hello)


@pytest.mark.parametrize("dialler", ["a", "b"])
async def test_both_log_which_versions_they_speak_where_they_share_none(
    dialler: str, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks(monkeypatch, "b", 3, 4)
    async with open_pair(start=dialler, b_changes={} if dialler == "b" else {"peer_address": "nowhere"}) as pair:
        await pair.start(pair.b if dialler == "a" else pair.a)
        await until(lambda: bool(pair.a.reports and pair.b.reports))
        assert pair.a.link.session is pair.b.link.session is None
        for side, ranges in ((pair.a, ("1 to 2", "3 to 4")), (pair.b, ("3 to 4", "1 to 2"))):
            own, theirs = ranges
            for error in side.reports:
                assert isinstance(error, RefusedError)
                assert error.reason == "version"
                assert f"speaks versions {theirs} of the protocol, this node {own}" in str(error)


@pytest.mark.parametrize("dialler", ["a", "b"])
async def test_both_log_how_large_their_volumes_are_where_the_sizes_differ(
    dialler: str, autojump_clock: trio.testing.MockClock
) -> None:
    changes: dict[str, str | int] = {"size_bytes": 4096}
    if dialler == "a":
        changes["peer_address"] = "nowhere"
    async with open_pair(start=dialler, b_changes=changes) as pair:
        await pair.start(pair.b if dialler == "a" else pair.a)
        await until(lambda: bool(pair.a.reports and pair.b.reports))
        for side, (own, theirs) in ((pair.a, (0, 4096)), (pair.b, (4096, 0))):
            for error in side.reports:
                assert isinstance(error, RefusedError)
                assert error.reason == "size"
                assert f"has {theirs} bytes, that of this node {own}" in str(error)


# Terms: a peer made of bytes


@attrs.define(eq=False)
class Peer:
    """``b``, in the second version if nothing else is said."""

    stream: Stream
    decoder: FrameDecoder = attrs.field(factory=FrameDecoder)
    session: int = 0

    async def hear(self) -> Frame:
        """The next frame; what it carries is gone with the one behind it."""
        while (frame := self.decoder.next_frame()) is None:
            size = await self.stream.receive_into(self.decoder.space())
            assert size, "closed without an answer"
            self.decoder.received(size)
        return frame

    async def hear_accepted(self) -> None:
        frame = await self.hear()
        assert frame.kind is FrameType.HELLO_ACCEPT
        self.session = frame.session

    async def hear_refusal(self) -> str:
        frame = await self.hear()
        assert frame.kind is FrameType.HELLO_REFUSE
        return decode_refusal(frame.payload)[0]

    def frame(self, kind: FrameType, payload: bytes = b"", *, session: int | None = None) -> bytes:
        return encode_header(kind, (payload,), session=self.session if session is None else session) + payload

    def terms(self, terms: Terms = OWN_TERMS) -> bytes:
        return self.frame(FrameType.TERMS, encode_terms(terms))

    async def confirm(self, terms: Terms = OWN_TERMS, *, states: bool = True) -> None:
        await self.hear_accepted()
        stated = b""
        if states:
            assert (await self.hear()).kind is FrameType.TERMS
            stated = self.terms(terms)
        await self.stream.send_all(stated + self.frame(FrameType.HELLO_CONFIRM))
        self.decoder.admit()


async def dialled(pair: Pair, *, newest: int = NEWEST) -> Peer:
    """It dials ``a``, and is accepted."""
    peer = Peer(await dial(pair.network, "b", "a-address", hello("b", newest=newest)))
    await peer.hear_accepted()
    if newest >= NEWEST:
        assert (await peer.hear()).kind is FrameType.TERMS
    return peer


@asynccontextmanager
async def dialled_by_a(pair: Pair, *, answer: Callable[[Peer], bytes]) -> AsyncIterator[Peer]:
    """It is dialled by ``a``, agrees, and says something behind that."""
    arrived: list[Peer] = []
    listener = await pair.network.transport("b").listen("b-address")

    async def accept(stream: Stream) -> None:
        peer = Peer(stream)
        theirs = decode_hello((await peer.hear()).payload)
        peer.session = session_id(dialler_half=theirs.session_half, acceptor_half=77)
        own = hello("b", newest=NEWEST)[HEADER_SIZE:]
        await stream.send_all(peer.frame(FrameType.HELLO_ACCEPT, own) + answer(peer))
        arrived.append(peer)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, accept)
        await pair.start(pair.a)
        await until(lambda: bool(arrived))
        yield arrived[0]
        nursery.cancel_scope.cancel()
    listener.close()


async def test_features_that_are_unknown_and_optional_are_ignored(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        peer = await dialled(pair)
        stated = peer.terms(Terms(OWN_TERMS.features | UNKNOWN_OPTIONAL, FRAGMENT_SIZE_MAX))
        await peer.stream.send_all(stated + peer.frame(FrameType.HELLO_CONFIRM))
        await until(lambda: pair.a.link.state == "online", within_s=0.1)
        assert pair.a.reports == []


async def test_a_dialler_that_demands_an_unknown_feature_is_refused_by_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(start="a") as pair:
        peer = await dialled(pair)
        stated = peer.terms(Terms(UNKNOWN_MANDATORY, FRAGMENT_SIZE_MAX))
        await peer.stream.send_all(stated + peer.frame(FrameType.HELLO_CONFIRM))
        assert await peer.hear_refusal() == "feature"
        assert f"features 0x8000000000000000, this node {OWN_TERMS.features:#x}" in str(pair.a.reports[0])
        await trio.sleep(0.1)
        assert pair.a.events == [], "there was no session"


async def test_an_acceptor_that_demands_an_unknown_feature_is_refused_by_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_pair(start="") as pair,
        dialled_by_a(pair, answer=lambda peer: peer.terms(Terms(UNKNOWN_MANDATORY, FRAGMENT_SIZE_MAX))) as peer,
    ):
        assert await peer.hear_refusal() == "feature"
        assert pair.a.reasons == ["feature"]
        assert pair.a.events == []


async def test_who_is_refused_for_a_feature_logs_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        peer = await dialled(pair)
        await peer.stream.send_all(peer.frame(FrameType.HELLO_REFUSE, b"feature", session=0))
        await until(lambda: bool(pair.a.reports), within_s=0.1)
        error = pair.a.reports[0]
        assert isinstance(error, RefusedError)
        assert (error.reason, error.by_peer) == ("feature", True)


@pytest.mark.parametrize(
    ("newest", "says", "fault"),
    [
        (2, lambda peer: peer.frame(FrameType.HELLO_CONFIRM), "type: HELLO_CONFIRM instead of TERMS"),
        (2, lambda peer: peer.terms() * 2, "type: TERMS instead of HELLO_CONFIRM"),
        (1, lambda peer: peer.terms(), "type: TERMS instead of HELLO_CONFIRM"),
        (2, lambda peer: peer.terms(Terms(0, FRAGMENT_SIZE_MIN - 1)), "terms: fragments of 4095 bytes at most"),
        (2, lambda peer: peer.frame(FrameType.TERMS, encode_terms(OWN_TERMS), session=1), "session: terms of another"),
    ],
)
async def test_terms_that_are_not_as_they_must_be_are_malformed(
    newest: int, says: Callable[[Peer], bytes], fault: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pair(start="a") as pair:
        peer = await dialled(pair, newest=newest)
        await peer.stream.send_all(says(peer))
        assert await peer.hear_refusal() == "malformed"
        assert f"malformed: {fault}" in str(pair.a.reports[0])
        assert pair.a.link.session is None


async def test_terms_that_come_late_end_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(start="a") as pair:
        peer = Peer(await dial(pair.network, "b", "a-address", hello("b", newest=NEWEST)))
        await peer.confirm()
        await peer.stream.send_all(peer.terms())
        await until(lambda: bool(pair.a.losses), within_s=0.1)
        assert str(pair.a.reports[0]) == "type: TERMS in the session"


async def test_a_dialler_that_states_nothing_is_given_up_without_a_word(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """For it may have confirmed, and a session has no place for a refusal. A network that is cut is no fault of it."""
    caplog.set_level("INFO")
    async with open_pair(start="a", b_changes={"peer_address": "nowhere"}) as pair:
        began_s = trio.current_time()
        peer = await dialled(pair)
        with pytest.raises(AssertionError, match="closed without an answer"):
            await peer.hear()
        assert trio.current_time() - began_s == pytest.approx(HELLO_TIMEOUT_S, abs=0.01)
        assert "RefusedError('slow: no session after 3 s')" in caplog.text
        assert pair.a.reports == []
        assert pair.a.events == [], "there was no session"
        await pair.start(pair.b)
        await pair.online()


async def test_an_acceptor_that_states_nothing_is_dialled_again(autojump_clock: trio.testing.MockClock) -> None:
    """The next one who listens there is honest."""
    async with open_pair(start="", b_changes={"peer_address": "nowhere"}) as pair:
        async with dialled_by_a(pair, answer=lambda _: b"") as peer:
            began_s = trio.current_time()
            with pytest.raises(AssertionError, match="closed without an answer"):
                await peer.hear()
            assert trio.current_time() - began_s == pytest.approx(HELLO_TIMEOUT_S, abs=0.01)
            assert pair.a.events == [], "there was no session"
        await pair.start(pair.b)
        await pair.online()
        assert pair.a.reports == []


@pytest.mark.parametrize("word", ["slow", "busy", "simultaneous"])
async def test_a_dialler_that_is_told_of_no_fault_dials_again_and_logs_it_without_a_report(
    word: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The network may have kept its answer away."""
    caplog.set_level("INFO")

    def answer(peer: Peer) -> bytes:
        return peer.frame(FrameType.HELLO_REFUSE, word.encode(), session=0)

    async with open_pair(start="", b_changes={"peer_address": "nowhere"}) as pair:
        async with dialled_by_a(pair, answer=answer):
            await trio.sleep(0.01)
        assert f"no session yet with node b: {word}: the peer refused" in caplog.text
        await pair.start(pair.b)
        await pair.online()
        assert pair.a.reports == []


async def test_a_refusal_of_a_later_version_is_reported_by_its_word(autojump_clock: trio.testing.MockClock) -> None:
    def answer(peer: Peer) -> bytes:
        return peer.frame(FrameType.HELLO_REFUSE, b"moon-phase", session=0)

    async with open_pair(start="") as pair, dialled_by_a(pair, answer=answer):
        await until(lambda: bool(pair.a.reports), within_s=0.1)
        error = pair.a.reports[0]
        assert isinstance(error, RefusedError)
        assert (error.reason, error.by_peer) == ("moon-phase", True)


def recorded_hello(version: int) -> bytes:
    (said,) = (each for each in read(version, "session").steps["a dials b"] if each.what == "HELLO")
    return said.data


@pytest.mark.parametrize(
    ("says", "word"),
    [(b"", "simultaneous"), (recorded_hello(1), "simultaneous"), (recorded_hello(2), "slow")],
    ids=["nothing", "version 1", "version 2"],
)
async def test_words_of_version_2_are_told_to_who_is_known_to_speak_it(says: bytes, word: str) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b-address")
    theirs = await network.transport("a").dial("b-address")
    await theirs.send_all(says)

    async def refuse(stream: Stream) -> None:
        handshake = Handshake(stream)
        if says:
            await handshake.receive_hello()
        handshake.refuse_nowait(Refusal.SLOW)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, refuse)
            assert await Peer(theirs).hear_refusal() == word
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("states", "at_most"), [(FRAGMENT_SIZE_MIN, FRAGMENT_SIZE_MIN), (1 << 30, FRAGMENT_SIZE_MAX)])
async def test_no_fragment_is_larger_than_both_sides_take(
    states: int, at_most: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pair(start="a") as pair:
        peer = Peer(await dial(pair.network, "b", "a-address", hello("b", newest=NEWEST)))
        await peer.confirm(Terms(OWN_TERMS.features, states))
        await until(lambda: pair.a.link.state == "online", within_s=0.1)
        done: list[Transfer] = []
        pair.a.link.start_push(RemoteBuffer(bytes(16)), bytes(at_most + 1), done.append)
        sizes: list[int] = []
        while sum(sizes) <= at_most:
            frame = await peer.hear()
            if frame.kind is FrameType.PUSH:
                sizes.append(frame.data_size)
                peer.decoder.place(None)
                await peer.hear()
        assert sizes == [at_most, 1]
