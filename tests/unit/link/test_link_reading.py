"""Who receives from a connection while a consumer waits for a message."""

import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

import attrs
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.link._acknowledging import LateAcknowledgements
from ctlha_trio.link._channel import Channel
from ctlha_trio.link._reading import Reading
from ctlha_trio.seams import MemoryNetwork, Stream
from ctlha_trio.seams._memory_network import MemoryStream
from ctlha_trio.wire import FrameDecoder
from tests.unit.link.test_link_acknowledging import in_session
from tests.unit.seams.test_memory_network import connected

SLOTS = 1000
"""Room for all that a test says until somebody leads, which takes as long as the loop's choices want it to."""
WHERE: ContextVar[str] = ContextVar("WHERE", default="nowhere")


@attrs.define(eq=False)
class Session:
    """As much of one as ``Reading`` knows: each byte that comes is news of one message."""

    stream: Stream
    peer: Stream
    late: LateAcknowledgements = attrs.field(factory=LateAcknowledgements)
    channel: Channel = attrs.field(factory=lambda: in_session(SLOTS))
    reading: Reading = attrs.field(init=False)
    taken: list[tuple[str, str, int]] = attrs.field(factory=list)
    """In which context, by the task of which name, how many bytes."""
    news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    """Unparked when bytes have come."""
    wakes: int = 0
    """Of the writer."""
    failure: BaseException | None = None
    """Raised when bytes come."""
    ends_at_failure: bool = False
    """Its own task is cancelled before that."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Of its own task."""
    ended: BaseException | str | None = None
    is_over: bool = False

    def __attrs_post_init__(self) -> None:
        self.reading = Reading(
            stream=self.stream,
            decoder=FrameDecoder(),
            late=self.late,
            take=self.take,
            has_ended=lambda: self.is_over,
            wake_writer=self.wake,
        )

    def wake(self) -> None:
        self.wakes += 1

    def take(self, size_bytes: int) -> None:
        if size_bytes == 0:
            return
        self.taken.append((WHERE.get(), trio.lowlevel.current_task().name, size_bytes))
        if self.failure is not None:
            if self.ends_at_failure:
                self.scope.cancel()
            raise self.failure
        self.channel.session_flow.receive(self.channel.session_flow.received + 1, 1)
        self.late.note(self.channel)
        self.news.unpark_all()

    async def run(self) -> None:
        WHERE.set("session")
        try:
            with self.scope:
                await self.reading.run()
                self.ended = "broken" if self.reading.is_broken else "end"
        except Exception as error:
            self.ended = error

    @property
    def takers(self) -> list[str]:
        return [name for _, name, _ in self.taken]

    def end(self) -> None:
        """As a loss does: channels leave the session."""
        self.is_over = True
        del self.channel.session_flow

    async def say(self, count: int = 1) -> None:
        """The peer sends, and all is taken in."""
        for _ in range(count):
            await self.peer.send_all(b"x")
            await wait_all_tasks_blocked()


@asynccontextmanager
async def a_session() -> AsyncIterator[tuple[Session, trio.Nursery]]:
    async with connected(MemoryNetwork()) as (here, there), trio.open_nursery() as nursery:
        session = Session(here, there)
        nursery.start_soon(session.run, name="reader")
        await wait_all_tasks_blocked()
        yield session, nursery
        nursery.cancel_scope.cancel()


@contextmanager
def no_collection() -> Iterator[None]:
    """Of circles: what is kept must be let go of without that."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


Lead = Callable[[Reading], Awaitable[None]]


async def begin_to_lead(session: Session, nursery: trio.Nursery, lead: Lead = Reading.lead) -> None:
    """Return when a consumer leads. It may when something has come, if it runs before the session's task."""

    async def consume() -> None:
        while not session.reading._is_open:
            await session.news.park()
        await lead(session.reading)

    nursery.start_soon(consume, name="consumer")
    while not session.reading._is_led:
        assert session.ended is None
        await session.say()
    session.taken.clear()
    session.late.clear()
    session.channel.session_flow.tell()
    session.wakes = 0


async def test_whoever_waits_receives_in_its_own_turn(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        await session.say()
        assert session.takers == ["consumer"]
        await session.say()
        assert session.takers == ["consumer", "reader"], "it left, and somebody reads on"


async def test_a_session_that_ends_in_the_turn_behind_a_message_acknowledges_nothing(autojump_clock: MockClock) -> None:
    """By whoever got the message: its own task runs after that."""
    async with a_session() as (session, nursery):

        async def lead_and_end(reading: Reading) -> None:
            await reading.lead()
            session.end()

        await begin_to_lead(session, nursery, lead_and_end)
        await session.say()
        assert (session.ended, session.wakes) == ("end", 0)


async def test_a_leader_that_comes_again_at_once_stays(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):

        async def lead_on(reading: Reading) -> None:
            while reading._is_open:
                await reading.lead()

        await begin_to_lead(session, nursery, lead_on)
        await session.say(5)
        assert session.takers == 5 * ["consumer"]


async def test_nobody_leads_while_another_receives(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        with trio.fail_after(1):
            await session.reading.lead()
        await begin_to_lead(session, nursery)
        with trio.fail_after(1):
            await session.reading.lead()
        await session.say()
        assert session.takers == ["consumer"]


async def test_nobody_leads_beside_another_that_began_in_the_same_turn(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        session.reading._is_open = True  # as before its own task has had its turn
        with trio.fail_after(1):
            await session.reading.lead()
        session.reading._is_open = False
        await session.say()
        assert (session.takers, session.ended) == (["consumer"], None)


async def test_a_leader_that_is_cancelled_has_taken_nothing(autojump_clock: MockClock) -> None:
    async with a_session() as (session, _):
        async with trio.open_nursery() as others:
            await begin_to_lead(session, others)
            others.cancel_scope.cancel()
        await session.say()
        assert session.takers == ["reader"]


async def test_what_a_leader_has_received_is_acknowledged_a_turn_later(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        await session.say()
        assert session.takers == ["consumer"]
        assert session.wakes == 1
        assert session.late.is_any()


async def test_who_is_told_runs_in_the_context_of_the_session(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        WHERE.set("test")
        await begin_to_lead(session, nursery)
        await session.say()
        assert [where for where, *_ in session.taken] == ["session"]


@pytest.mark.parametrize("failure", [RemoteProtocolError("magic", "not a frame"), AssertionError("a bug")])
async def test_what_a_leader_meets_its_session_raises(autojump_clock: MockClock, failure: Exception) -> None:
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        session.failure = failure
        await session.say()
        assert session.takers == ["consumer"]
        assert session.ended is failure
        with trio.fail_after(1):
            await session.reading.lead()


@pytest.mark.parametrize("failure", [RemoteProtocolError("magic", "not a frame"), AssertionError("a bug")])
async def test_what_a_leader_meets_behind_the_end_of_the_session_is_raised(
    autojump_clock: MockClock, failure: Exception
) -> None:
    """Whoever is told of what came may end the session first, and then fail."""
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        session.ends_at_failure = True
        session.failure = failure
        await session.say()
        assert session.takers == ["consumer"]
        assert session.ended is failure


async def test_a_stream_that_is_gone_with_its_session_is_no_failure(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        session.stream.close()
        session.scope.cancel()
        await wait_all_tasks_blocked()
        assert session.ended is None
        assert session.scope.cancelled_caught


async def test_an_interrupt_is_its_leader_s_and_breaks_the_session(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        met: list[BaseException] = []

        async def lead(reading: Reading) -> None:
            try:
                await reading.lead()
            except KeyboardInterrupt as error:
                met.append(error)

        await begin_to_lead(session, nursery, lead)
        session.failure = KeyboardInterrupt()
        await session.say()
        assert met == [session.failure]
        assert session.ended == "broken"


async def test_the_end_that_a_leader_finds_ends_the_session(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        session.peer.close()
        await wait_all_tasks_blocked()
        assert session.ended == "end"


async def test_a_connection_that_breaks_under_a_leader_ends_the_session(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        session.stream.close()
        await wait_all_tasks_blocked()
        assert session.ended == "broken"


@pytest.mark.parametrize("is_led", [False, True])
async def test_an_error_of_the_stream_is_not_kept(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, is_led: bool
) -> None:
    """It keeps the memory that was to be received into."""
    memory = bytearray(1)

    def break_within(_: MemoryStream, buffer: memoryview) -> int:
        part = memoryview(memory)[: len(buffer)]
        raise trio.BrokenResourceError(f"no record of {len(part)} bytes")

    async with a_session() as (session, nursery):
        if is_led:
            await begin_to_lead(session, nursery)
        monkeypatch.setattr(MemoryStream, "_take", break_within)
        with no_collection():
            await session.say()
            assert session.ended == "broken"
            memory.extend(b"resized")


async def test_what_a_leader_met_is_kept_by_nobody_once_it_was_raised(autojump_clock: MockClock) -> None:
    class BugError(Exception):
        pass

    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        session.failure = BugError()
        kept = weakref.ref(session.failure)
        with no_collection():
            await session.say()
            assert session.takers == ["consumer"]
            assert isinstance(session.ended, BugError)
            session.failure = session.ended = None
            assert kept() is None


async def test_behind_the_end_of_the_session_nothing_is_taken_in(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):
        await begin_to_lead(session, nursery)
        session.scope.cancel()
        await wait_all_tasks_blocked()
        await session.say()
        assert session.takers == []
        with trio.fail_after(1):
            await session.reading.lead()


async def test_to_lead_is_a_checkpoint_although_something_is_there(autojump_clock: MockClock) -> None:
    async with a_session() as (session, nursery):

        async def lead_twice(reading: Reading) -> None:
            await reading.lead()
            await session.peer.send_all(b"x")
            with assert_checkpoints():
                await reading.lead()

        await begin_to_lead(session, nursery, lead_twice)
        await session.say()
        assert session.takers == ["consumer", "consumer"]
