"""How two commands meet, over connections that stand at one side only, or break in the middle of it."""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import DisconnectError, FailedError, UntrustedPeerError
from ctlha_trio.cli._meeting import ANSWER_S, MEET_S, OPENING_S, Conversation, Meeting
from ctlha_trio.seams import Buffer, Listener, MemoryNetwork, Stream

NODES = ("a", "b")
ENDS = tuple(itertools.product(NODES, ("accepted", "dialled")))
"""Of the first connection that each makes."""
MEETS_S = len(ENDS) * OPENING_S + 2.0
"""If on each of them an answer is waited for in vain."""

REFUSED, MUTE, CUT_SHORT, FELL_MUTE = None, 0, 1, -1
"""What becomes of an end: it never stood there; nothing comes out of it; it is closed after so many sends, or is mute
after them."""
Fates = Mapping[tuple[str, str], int | None]


@attrs.define(eq=False)
class FaultyStream:
    """An end of a connection out of which only so much comes."""

    _raw: Stream
    _sends_left: int

    @property
    def description(self) -> str:
        return self._raw.description

    def send_nowait(self, *pieces: Buffer) -> bool:
        raise NotImplementedError("a meeting waits for what it sends")

    async def flush(self) -> None:
        raise NotImplementedError("a meeting waits for what it sends")

    async def send_all(self, *pieces: Buffer) -> None:
        if self._sends_left == MUTE:
            await trio.lowlevel.checkpoint()
            return
        await self._raw.send_all(*pieces)
        if self._sends_left == CUT_SHORT:
            self._raw.close()
        self._sends_left += 1 if self._sends_left < 0 else -1

    async def receive_into(self, buffer: memoryview) -> int:
        return await self._raw.receive_into(buffer)

    def close(self) -> None:
        self._raw.close()


@attrs.define(eq=False)
class FaultyTransport:
    """One node's way to the other one: of its ends, the first of each kind has a fate."""

    network: MemoryNetwork
    node: str
    fates: Fates
    _met: set[str] = attrs.field(factory=set, init=False)

    def _end(self, kind: str, raw: Stream) -> Stream | None:
        key = (self.node, kind)
        if kind in self._met or key not in self.fates:
            return raw
        self._met.add(kind)
        fate = self.fates[key]
        return None if fate is None else FaultyStream(raw, fate)

    async def dial(self, address: str) -> Stream:
        raw = await self.network.transport(self.node).dial(address)
        end = self._end("dialled", raw)
        if end is None:
            raw.close()
            raise DisconnectError("its time was over")
        return end

    async def listen(self, address: str) -> Listener:
        return FaultyListener(await self.network.transport(self.node).listen(address), self)

    async def handle(self, handler: Callable[[Stream], Awaitable[None]], raw: Stream) -> None:
        end = self._end("accepted", raw)
        if end is not None:
            await handler(end)


@attrs.define(eq=False)
class FaultyListener:
    _raw: Listener
    _transport: FaultyTransport

    @property
    def address(self) -> str:
        return self._raw.address

    async def serve(self, handler: Callable[[Stream], Awaitable[None]]) -> None:
        async def handle(stream: Stream) -> None:
            await self._transport.handle(handler, stream)

        await self._raw.serve(handle)

    def close(self) -> None:
        self._raw.close()


@attrs.define(eq=False)
class Commands:
    """Both, in one network. What each was told, or its error."""

    fates: Fates = attrs.field(factory=dict)
    network: MemoryNetwork = attrs.field(factory=MemoryNetwork)
    ends: dict[str, object] = attrs.field(factory=dict, init=False)

    async def give(self, node: str) -> None:
        """The command at one node, to its end."""

        async def converse(other: Conversation, told: dict[str, Any]) -> None:
            if node == "a":
                await other.say(text="to b")
            heard = await other.hear()
            if node == "b":
                await other.say(text="to a")
            self.ends[node] = (told["of"], heard["text"])

        peer = NODES[node == "a"]
        transport = FaultyTransport(self.network, node, self.fates)
        listener = await transport.listen(node)
        try:
            await Meeting(node, peer, peer, {"of": node}, converse, "alone").run(listener, transport)
        except (FailedError, DisconnectError) as error:
            self.ends[node] = str(error)
        finally:
            listener.close()

    async def give_both(self, late: str = "b", late_s: float = 0.0) -> float:
        """At once, or one later. In how many seconds from the later one on both ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.give, NODES[late == "a"])
            await trio.sleep(late_s)
            began_s = trio.current_time()
            nursery.start_soon(self.give, late)
        return trio.current_time() - began_s


MET = {"a": ("b", "to a"), "b": ("a", "to b")}


@pytest.mark.parametrize(("late", "late_s"), [("b", 0.0), ("a", 0.3), ("b", 0.3)])
async def test_they_meet_whatever_becomes_of_the_first_connections(
    late: str, late_s: float, autojump_clock: MockClock
) -> None:
    sound = "sound"
    for chosen in itertools.product((sound, REFUSED, MUTE, CUT_SHORT), repeat=len(ENDS)):
        fates = {end: fate for end, fate in zip(ENDS, chosen, strict=True) if not isinstance(fate, str)}
        commands = Commands(fates)
        took_s = await commands.give_both(late, late_s)
        assert commands.ends == MET, fates
        assert took_s <= MEETS_S, fates


async def test_one_that_believed_to_have_met_is_given_again_and_meets_the_one_that_waits(
    autojump_clock: MockClock,
) -> None:
    """The last word before the talk was lost: no order of words can tell both sides that it came."""
    commands = Commands({("a", "dialled"): FELL_MUTE})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commands.give, "b")
        await commands.give("a")
        assert str(commands.ends["a"]).startswith(f"the command at node b did not answer within {ANSWER_S:g} s")
        assert "b" not in commands.ends
        commands.fates = {}
        await commands.give("a")
    assert commands.ends == MET
    assert trio.current_time() <= ANSWER_S + 2 * OPENING_S


@attrs.define(eq=False)
class StrangeTransport(FaultyTransport):
    """Where a dials somebody else answers, who is found out only after b has reached a."""

    met: trio.Event = attrs.field(factory=trio.Event)

    async def dial(self, address: str) -> Stream:
        await self.met.wait()
        raise UntrustedPeerError("its key is not among peer.pins")


async def test_a_stranger_where_one_dials_does_not_end_a_talk_under_way(autojump_clock: MockClock) -> None:
    network, met, ends = MemoryNetwork(), trio.Event(), {}

    async def converse(other: Conversation, _: dict[str, Any]) -> None:
        met.set()
        await trio.sleep(1.0)
        await other.say(text="to b")
        ends["a"] = await other.hear()

    transport = StrangeTransport(network, "a", {}, met=met)
    listener = await transport.listen("a")
    commands = Commands(network=network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commands.give, "b")
        await Meeting("a", "b", "b", {"of": "a"}, converse, "alone").run(listener, transport)
    listener.close()
    assert ends == {"a": {"text": "to a"}}
    assert commands.ends == {"b": MET["b"]}


@attrs.define(eq=False)
class LastMomentStream:
    """Of b, who has opened. Its sender goes on after the time is over: a send that is done is not cancelled."""

    _sends: int = 0

    @property
    def description(self) -> str:
        return "b"

    def send_nowait(self, *pieces: Buffer) -> bool:
        raise NotImplementedError("a meeting waits for what it sends")

    async def flush(self) -> None:
        raise NotImplementedError("a meeting waits for what it sends")

    async def send_all(self, *pieces: Buffer) -> None:
        self._sends += 1
        until_s = trio.current_time() if self._sends == 1 else MEET_S + 1.0
        with trio.CancelScope(shield=True):
            await trio.sleep_until(until_s)

    async def receive_into(self, buffer: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        said = b'{"of": "b"}\n'
        buffer[: len(said)] = said
        return len(said)

    def close(self) -> None:
        """Nothing is behind it."""


@attrs.define(eq=False)
class LateTransport(FaultyTransport):
    async def dial(self, address: str) -> Stream:
        await trio.sleep_until(MEET_S - 1.0)
        return LastMomentStream()


async def test_a_talk_that_begins_when_the_time_is_over_is_no_success(autojump_clock: MockClock) -> None:
    async def converse(other: Conversation, _: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError("the time is over")

    transport = LateTransport(MemoryNetwork(), "a", {})
    listener = await transport.listen("a")
    with pytest.raises(FailedError, match="was not met"):
        await Meeting("a", "b", "b", {"of": "a"}, converse, "alone").run(listener, transport)
    listener.close()


async def test_one_that_waits_in_vain_says_what_it_can_do_alone(autojump_clock: MockClock) -> None:
    commands = Commands()
    began_s = trio.current_time()
    await commands.give("a")
    assert commands.ends == {
        "a": f"node b was not met at b within {MEET_S:g} s: give the command there too; alone",
    }
    assert trio.current_time() - began_s == pytest.approx(MEET_S)


@pytest.mark.parametrize("line", [b"{\n", b"{}[]\n", b'{"": ' * 2000 + b"\n", b"frame"])
async def test_whatever_speaks_otherwise_is_no_command(line: bytes) -> None:
    network = MemoryNetwork()
    listener = await network.transport("b").listen("b")

    async def say(stream: Stream) -> None:
        await stream.send_all(line)
        await trio.sleep_forever()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, say)
            conversation = Conversation("b", await network.transport("a").dial("b"))
            with pytest.raises(FailedError, match="node b runs"):
                await conversation.hear()
            nursery.cancel_scope.cancel()
    listener.close()
