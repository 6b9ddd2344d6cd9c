"""The data socket, over real sockets, in front of a node whose every operation the test decides."""

import logging
import os
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ctlha_trio._errors import BusyError, DisconnectError, FailedError, InvalidError, TurnedAwayError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.door import (
    DATA_SOCKET,
    MAX_IN_FLIGHT,
    MAX_REQUEST_BYTES,
    Door,
    DoorClient,
    Reply,
    _data as data_door,
    open_door_client,
)
from ctlha_trio.door._client import greet
from ctlha_trio.door._protocol import Request, TurnedAway, encode_hello, encode_request, encode_turned_away
from ctlha_trio.door._sockets import BoundSocket
from ctlha_trio.door._visitors import send_last
from ctlha_trio.ha import ZEROES_BYTES_MAX, Notice, Rehearsal, Status, booting_status
from ctlha_trio.pair import (
    KEY_BYTES_MAX,
    CarriedRecord,
    FailoverPlan,
    OperationKind,
    Outcome,
    Plan,
    Record,
    encode_records,
)
from ctlha_trio.seams import Buffer, TrioClock

READ, WRITE, FLUSH = OperationKind.READ, OperationKind.WRITE, OperationKind.FLUSH
COMPARE = OperationKind.COMPARE_AND_WRITE
BLOCK = 4096


@attrs.frozen
class Answer:
    outcome: Outcome
    data: Buffer = b""
    miscompare_at: int | None = None


@attrs.define(eq=False)
class Submitted:
    """An operation inside the node; ``end`` lets it return."""

    kind: OperationKind
    client: int
    number: int
    offset: int
    size: int
    data: bytes
    key: str = ""
    _ended: trio.Event = attrs.field(factory=trio.Event)
    _answer: Answer | Exception = Answer(Outcome.UNKNOWN)

    def end(self, answer: Answer | Exception | None = None) -> None:
        self._answer = answer or Answer(Outcome.DONE)
        self._ended.set()

    async def wait(self) -> Answer:
        await self._ended.wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@attrs.define(eq=False)
class SlowNode:
    """Keeps every operation until the test ends it, or answers at once by ``rule``."""

    rule: Callable[[Submitted], Answer | Exception] | None = None
    seen: list[Submitted] = attrs.field(factory=list)
    _came: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def submit(
        self,
        kind: OperationKind,
        *,
        client: int,
        number: int,
        offset: int = 0,
        size: int = 0,
        data: Buffer = b"",
        key: str = "",
    ) -> Answer:
        submitted = Submitted(kind, client, number, offset, size, bytes(data), key)
        self.seen.append(submitted)
        self._came.unpark_all()
        if self.rule is not None:
            submitted.end(self.rule(submitted))
        return await submitted.wait()

    def status(self) -> Status:
        return booting_status("a", ())

    async def switchover(self) -> None:
        raise FailedError("not in this test")

    def verify(self) -> int:
        raise FailedError("not in this test")

    def follow_notices(self, follow: Callable[[Notice], None]) -> None:
        """Nothing is refused."""

    def follow_records(self, follow: Callable[[Record | None, Record, int, str], None]) -> None:
        """No record ever changes here."""

    def rehearse_failover(self) -> FailoverPlan:
        raise AssertionError("nobody asked for a rehearsal")

    def rehearse_switchover(self) -> Rehearsal:
        raise FailedError("not in this test")

    @property
    def lineage(self) -> str:
        raise FailedError("not in this test")

    @property
    def revision(self) -> int:
        raise FailedError("not in this test")

    def plan_force(self, abandon: str) -> Plan:
        raise FailedError("not in this test")

    async def force_primary(self, plan: Plan) -> None:
        raise FailedError("not in this test")

    async def wait_seen(self, count: int) -> list[Submitted]:
        while len(self.seen) < count:
            await self._came.park()
        return self.seen


@attrs.define(eq=False)
class Served:
    """A door that is served, with its hooks."""

    node: SlowNode
    door: Door
    component: ctl_ha_component
    path: Path
    nursery: trio.Nursery
    streams: list[trio.SocketStream] = attrs.field(factory=list)

    async def start(self) -> None:
        answer = await self.component.start(self.component, ctl_ha_state.CTL_HA_STATE_HA)
        assert answer is ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def quiesce(self) -> None:
        assert await self.component.quiesce(self.component) is ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def connect(self, client: int = 1) -> DoorClient:
        opened = await open_door_client(self.path, client=client)
        self.nursery.start_soon(opened.receive_replies)
        return opened

    async def connect_raw(self, hello: bytes) -> trio.SocketStream:
        stream = await trio.open_unix_socket(os.fspath(self.path))
        self.streams.append(stream)
        await stream.send_all(hello)
        return stream


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    node = SlowNode()
    door = Door(tmp_path, TrioClock())
    component = door.component(node)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            assert await component.init(component) is ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
            serving = Served(node, door, component, tmp_path / DATA_SOCKET, nursery)
            await serving.start()
            yield serving
            for stream in serving.streams:
                stream.socket.close()
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Asked:
    """An operation that a task of the test's nursery waits for."""

    ended: trio.Event = attrs.field(factory=trio.Event)
    reply: Reply | None = None

    async def outcome(self) -> Outcome | None:
        await self.ended.wait()
        return self.reply.outcome if self.reply else None


async def ask(
    served: Served,
    client: DoorClient,
    kind: OperationKind,
    number: int,
    *,
    offset: int = 0,
    data: bytes = b"",
    size: int = 0,
) -> Asked:
    """Start an operation and return once its request was sent; without a reply it ended by disconnection."""
    asked = Asked()

    async def run() -> None:
        with suppress(DisconnectError):
            asked.reply = await client.execute(kind, number=number, offset=offset, data=data, size=size)
        asked.ended.set()

    served.nursery.start_soon(run)
    await wait_all_tasks_blocked()
    return asked


async def last_words(stream: trio.SocketStream) -> bytes:
    """What is said on a connection before it is closed."""
    said = b""
    with suppress(trio.BrokenResourceError):
        async for chunk in stream:
            said += chunk
    return said


async def is_closed(stream: trio.SocketStream) -> bool:
    try:
        return not await stream.receive_some(1)
    except trio.BrokenResourceError:
        return True


async def test_an_operation_reaches_the_node_and_its_answer_the_client(served: Served) -> None:
    client = await served.connect(client=77)
    asked = await ask(served, client, WRITE, 5, offset=8192, data=b"x" * BLOCK)
    (submitted,) = await served.node.wait_seen(1)
    assert (submitted.kind, submitted.client, submitted.number) == (WRITE, 77, 5)
    assert (submitted.offset, submitted.size, submitted.data) == (8192, BLOCK, b"x" * BLOCK)
    submitted.end()
    assert await asked.outcome() is Outcome.DONE


async def test_a_read_returns_what_the_node_found(served: Served) -> None:
    served.node.rule = lambda asked: Answer(Outcome.DONE, memoryview(b"r" * asked.size))
    client = await served.connect()
    for number, size in enumerate((1, BLOCK, MAX_REQUEST_BYTES)):
        reply = await client.execute(READ, number=number, size=size)
        assert (reply.outcome, bytes(reply.data)) == (Outcome.DONE, b"r" * size)


@pytest.mark.parametrize("outcome", Outcome)
async def test_each_outcome_is_its_own_answer(served: Served, outcome: Outcome) -> None:
    place = 5 if outcome is Outcome.MISCOMPARE else None
    served.node.rule = lambda _: Answer(outcome, miscompare_at=place)
    client = await served.connect()
    assert (await client.execute(FLUSH, number=1)).outcome is outcome


async def test_a_compare_and_write_brings_both_contents_and_hears_where_they_differ(served: Served) -> None:
    served.node.rule = lambda _: Answer(Outcome.MISCOMPARE, miscompare_at=2)
    client = await served.connect()
    reply = await client.execute(COMPARE, number=1, offset=BLOCK, size=3, data=b"oldnew")
    assert (reply.outcome, reply.miscompare_at) == (Outcome.MISCOMPARE, 2)
    (submitted,) = served.node.seen
    assert (submitted.kind, submitted.offset, submitted.size, submitted.data) == (COMPARE, BLOCK, 3, b"oldnew")
    again = await client.outcome_of(1, number=2)
    assert (again.outcome, again.miscompare_at) == (Outcome.MISCOMPARE, 2)


@pytest.mark.parametrize("kind", [OperationKind.WRITE_ZEROES, OperationKind.UNMAP])
async def test_a_range_becomes_zeros_without_data(served: Served, kind: OperationKind) -> None:
    served.node.rule = lambda _: Answer(Outcome.DONE)
    client = await served.connect()
    for number in range(2 * MAX_IN_FLIGHT):  # what names a range holds no memory: it counts for no data in flight
        assert (await client.execute(kind, number=number, size=ZEROES_BYTES_MAX)).outcome is Outcome.DONE
    assert served.node.seen[0].size == ZEROES_BYTES_MAX


async def test_a_record_goes_in_with_its_key_and_all_come_out(served: Served) -> None:
    records = {"pr/lun0": CarriedRecord("pr/lun0", 4, 9, b"value")}
    served.node.rule = lambda asked: Answer(Outcome.DONE, b"" if asked.key else encode_records(records))
    client = await served.connect()
    assert (await client.put_record("pr/lun0", b"value", number=1)).outcome is Outcome.DONE
    (put,) = served.node.seen
    assert (put.kind, put.key, put.data, put.offset, put.size) == (OperationKind.PUT_RECORD, "pr/lun0", b"value", 0, 0)
    assert await client.read_records(number=2) == records
    assert (await client.outcome_of(1, number=3)).outcome is Outcome.DONE
    served.node.rule = lambda _: Answer(Outcome.NOT_PRIMARY)
    assert await client.read_records(number=4) is Outcome.NOT_PRIMARY


async def test_a_key_that_is_no_text_fails_and_reaches_no_node(served: Served) -> None:
    client = await served.connect()
    reply = await client.execute(OperationKind.PUT_RECORD, number=1, offset=1, data=b"\xff")
    assert reply.outcome is Outcome.FAILED
    assert not served.node.seen


@pytest.mark.parametrize("key", ["", "\ud800", "x" * (KEY_BYTES_MAX + 1)])
async def test_a_key_that_cannot_be_is_not_sent(served: Served, key: str) -> None:
    client = await served.connect()
    with pytest.raises(InvalidError, match="a record has a key of 1 to 64 bytes"):
        await client.put_record(key, b"value", number=1)
    assert not served.node.seen


async def test_a_record_that_is_too_large_is_not_sent(served: Served) -> None:
    client = await served.connect()
    with pytest.raises(InvalidError, match=r"a record of 70000 bytes, and one of this key can have 65511$"):
        await client.put_record("key", bytes(70_000), number=1)
    assert not served.node.seen


async def test_an_operation_is_asked_about_on_another_connection(served: Served) -> None:
    served.node.rule = lambda asked: Answer(Outcome.DONE if asked.number == 1 else Outcome.UNKNOWN)
    client = await served.connect()
    await client.execute(WRITE, number=1, data=b"x")
    await client.execute(WRITE, number=2, data=b"x")
    again = await served.connect()
    assert (await again.outcome_of(1, number=3)).outcome is Outcome.DONE
    assert (await again.outcome_of(2, number=4)).outcome is Outcome.UNKNOWN
    assert (await again.outcome_of(9, number=5)).outcome is Outcome.UNKNOWN
    assert (await again.execute(WRITE, number=6, data=b"x")).outcome is Outcome.UNKNOWN
    assert len(served.node.seen) == 3, "a question is no operation"


@pytest.mark.parametrize(
    ("error", "outcome"), [(InvalidError("not there"), Outcome.FAILED), (FailedError("odd"), Outcome.UNKNOWN)]
)
async def test_an_error_of_the_node_is_an_answer(served: Served, error: Exception, outcome: Outcome) -> None:
    served.node.rule = lambda _: error
    client = await served.connect()
    assert (await client.execute(WRITE, number=1, data=b"x")).outcome is outcome


async def test_operations_end_in_any_order(served: Served) -> None:
    client = await served.connect()
    asked = [await ask(served, client, WRITE, n, offset=n * BLOCK, data=b"x" * BLOCK) for n in range(3)]
    first, second, third = await served.node.wait_seen(3)
    third.end()
    assert await asked[2].outcome() is Outcome.DONE
    first.end(Answer(Outcome.FAILED))
    assert await asked[0].outcome() is Outcome.FAILED
    assert not asked[1].ended.is_set()
    second.end()
    assert await asked[1].outcome() is Outcome.DONE


async def test_operations_enter_the_node_in_the_order_of_their_numbers(served: Served) -> None:
    stream = await served.connect_raw(encode_hello(1))
    heads = [
        encode_request(Request(number=n, kind=WRITE, offset=n * BLOCK, size=1)) + b"x" for n in range(MAX_IN_FLIGHT)
    ]
    await stream.send_all(b"".join(heads))  # all readable at once, so that only the door orders them
    seen = await served.node.wait_seen(MAX_IN_FLIGHT)
    assert [submitted.number for submitted in seen] == list(range(MAX_IN_FLIGHT))
    await stream.aclose()
    for submitted in seen:
        submitted.end()


async def test_conflicting_operations_of_a_connection_run_one_after_the_other(served: Served) -> None:
    client = await served.connect()
    await ask(served, client, WRITE, 1, offset=0, data=b"old" * 100)
    await ask(served, client, WRITE, 2, offset=299, data=b"new")
    assert len(served.node.seen) == 1
    served.node.seen[0].end()
    seen = await served.node.wait_seen(2)
    assert seen[1].number == 2
    seen[1].end()


async def test_no_more_than_64_requests_enter_at_once(served: Served) -> None:
    stream = await served.connect_raw(encode_hello(1))
    for number in range(MAX_IN_FLIGHT + 1):
        await stream.send_all(encode_request(Request(number=number, kind=READ, offset=0, size=1)))
    await served.node.wait_seen(MAX_IN_FLIGHT)
    await wait_all_tasks_blocked(0.01)
    assert len(served.node.seen) == MAX_IN_FLIGHT
    served.node.seen[3].end(Answer(Outcome.DONE, b"x"))
    assert (await served.node.wait_seen(MAX_IN_FLIGHT + 1))[-1].number == MAX_IN_FLIGHT
    await stream.aclose()
    for submitted in served.node.seen:
        submitted.end()


async def test_no_more_than_8_mib_enter_at_once(served: Served) -> None:
    stream = await served.connect_raw(encode_hello(1))
    for number in range(9):
        await stream.send_all(encode_request(Request(number=number, kind=READ, offset=0, size=MAX_REQUEST_BYTES)))
    await served.node.wait_seen(8)
    await wait_all_tasks_blocked(0.01)
    assert len(served.node.seen) == 8
    served.node.seen[0].end(Answer(Outcome.FAILED))
    await served.node.wait_seen(9)
    await stream.aclose()
    for submitted in served.node.seen:
        submitted.end()


async def test_a_client_that_takes_no_replies_cannot_make_the_node_read_for_ever(served: Served) -> None:
    served.node.rule = lambda asked: Answer(Outcome.DONE, bytes(asked.size))
    stream = await served.connect_raw(encode_hello(1))
    for number in range(40):
        await stream.send_all(encode_request(Request(number=number, kind=READ, offset=0, size=MAX_REQUEST_BYTES)))
    await wait_all_tasks_blocked(0.05)
    assert len(served.node.seen) <= 9
    await stream.aclose()


async def test_the_client_refuses_what_the_door_would_not_take(served: Served) -> None:
    client = await served.connect()
    for number in range(MAX_IN_FLIGHT):
        await ask(served, client, READ, number, size=1)
    with pytest.raises(BusyError):
        await client.execute(READ, number=MAX_IN_FLIGHT, size=1)
    for submitted in served.node.seen:
        submitted.end(Answer(Outcome.DONE, b"x"))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        struct.pack("<8sHQ", b"ctlhadat", 9, 1),
        encode_hello(1) + struct.pack("<QBQI", 1, 9, 0, 1),
        encode_hello(1) + struct.pack("<QBQI", 1, 2, 0, MAX_REQUEST_BYTES + 1),
        encode_hello(1) + struct.pack("<QBQI", 1, 1, 0, 0),
    ],
    ids=["stranger", "version", "kind", "size", "empty read"],
)
async def test_a_client_that_breaks_the_rules_loses_its_connection_and_nobody_else_does(
    served: Served, sent: bytes
) -> None:
    served.node.rule = lambda _: Answer(Outcome.DONE)
    client = await served.connect(client=2)
    stream = await served.connect_raw(sent)
    assert await is_closed(stream)
    assert (await client.execute(FLUSH, number=1)).outcome is Outcome.DONE
    assert [submitted.client for submitted in served.node.seen] == [2]


@pytest.mark.parametrize(
    ("outcome", "second"), [(Outcome.DONE, 3), (Outcome.DONE, 4), (Outcome.UNKNOWN, 4), (Outcome.NOT_PRIMARY, 3)]
)
async def test_a_number_that_does_not_rise_ends_the_connection(served: Served, outcome: Outcome, second: int) -> None:
    served.node.rule = lambda _: Answer(outcome)
    client = await served.connect()
    assert (await client.execute(WRITE, number=4, data=b"x")).outcome is outcome
    with pytest.raises(DisconnectError):
        await client.execute(WRITE, number=second, data=b"x")
    assert len(served.node.seen) == 1


async def test_a_number_in_flight_that_was_refused_before_ends_the_connection(served: Served) -> None:
    served.node.rule = lambda _: Answer(Outcome.NOT_PRIMARY)
    client = await served.connect()
    assert (await client.execute(WRITE, number=4, data=b"x")).outcome is Outcome.NOT_PRIMARY
    served.node.rule = None
    asked = await ask(served, client, WRITE, 4, data=b"x")
    await client._send(encode_request(Request(number=4, kind=WRITE, offset=0, size=1)) + b"x")
    assert await asked.outcome() is None
    assert len(served.node.seen) == 2


async def test_not_primary_may_be_tried_again_on_the_same_connection(served: Served) -> None:
    served.node.rule = lambda _: Answer(Outcome.NOT_PRIMARY)
    client = await served.connect()
    for number in (5, 6):
        assert (await client.execute(WRITE, number=number, data=b"x")).outcome is Outcome.NOT_PRIMARY
    served.node.rule = lambda _: Answer(Outcome.DONE)
    for number in (5, 6, 7):
        assert (await client.execute(WRITE, number=number, data=b"x")).outcome is Outcome.DONE
    assert [submitted.number for submitted in served.node.seen] == [5, 6, 5, 6, 7]


@pytest.mark.parametrize("kind", [WRITE, READ])
@pytest.mark.parametrize("has_ended", [True, False])
async def test_what_was_refused_is_never_executed_after_something_newer(
    served: Served, kind: OperationKind, has_ended: bool
) -> None:
    served.node.rule = lambda _: Answer(Outcome.NOT_PRIMARY)
    client = await served.connect()
    assert (await client.execute(WRITE, number=5, data=b"x")).outcome is Outcome.NOT_PRIMARY
    served.node.rule = None
    newer = await ask(served, client, WRITE, 6, data=b"y")
    if has_ended:
        served.node.seen[-1].end()
        assert await newer.outcome() is Outcome.DONE
    data = b"x" if kind is WRITE else b""
    assert (await client.execute(kind, number=5, size=1, data=data)).outcome is Outcome.SUPERSEDED
    assert (await client.outcome_of(5, number=7)).outcome is Outcome.SUPERSEDED
    assert [submitted.number for submitted in served.node.seen] == [5, 6]


async def test_what_is_refused_before_the_node_serves_may_be_tried_again_on_the_same_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_door, "HOLD_S", 0.05)
    await served.quiesce()
    client = await served.connect()
    assert (await client.execute(WRITE, number=5, data=b"x")).outcome is Outcome.NOT_PRIMARY
    await served.start()
    served.node.rule = lambda _: Answer(Outcome.DONE)
    assert (await client.execute(WRITE, number=5, data=b"x")).outcome is Outcome.DONE


async def test_what_the_node_calls_superseded_is_told_and_is_not_executed_again(served: Served) -> None:
    served.node.rule = lambda _: Answer(Outcome.SUPERSEDED)
    first = await served.connect()
    assert (await first.execute(WRITE, number=5, data=b"x")).outcome is Outcome.SUPERSEDED
    second = await served.connect()
    assert (await second.execute(WRITE, number=5, data=b"x")).outcome is Outcome.SUPERSEDED
    assert len(served.node.seen) == 1


async def test_a_silent_connection_is_closed_after_its_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_door, "HELLO_S", 0.05)
    stream = await served.connect_raw(b"ctlha")
    assert await is_closed(stream)


async def test_the_ninth_client_is_told_why_and_the_eight_stay(served: Served) -> None:
    served.node.rule = lambda _: Answer(Outcome.DONE)
    clients = [await served.connect(client=n) for n in range(8)]
    await wait_all_tasks_blocked()
    ninth = await served.connect(client=9)
    with pytest.raises(TurnedAwayError, match=r"^8 connections are open already, which is the limit$") as raised:
        await ninth.execute(FLUSH, number=1)
    assert raised.value.reason == "too-many-connections"
    with pytest.raises(TurnedAwayError):
        await ninth.execute(FLUSH, number=2)
    for client in clients:
        assert (await client.execute(FLUSH, number=1)).outcome is Outcome.DONE
    clients[0].close()
    await wait_all_tasks_blocked()
    again = await served.connect(client=9)
    assert (await again.execute(FLUSH, number=1)).outcome is Outcome.DONE


async def test_what_the_node_said_before_it_closed_is_heard_by_who_is_about_to_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = BoundSocket.bind(tmp_path / DATA_SOCKET)
    stream = await trio.open_unix_socket(os.fspath(bound.path))
    client = await greet(stream, bound.path, encode_hello(1))
    accepted = await bound.listener.accept()
    send_all = stream.send_all

    async def send_too_late(whole: bytes) -> None:
        send_last(accepted, encode_turned_away(TurnedAway.TOO_MANY_CONNECTIONS, "as a test"))
        accepted.socket.close()
        await send_all(whole)

    monkeypatch.setattr(stream, "send_all", send_too_late)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.receive_replies)
        await wait_all_tasks_blocked()
        with pytest.raises(TurnedAwayError, match="as a test"):
            await client.execute(FLUSH, number=1)
    bound.close()


async def test_a_node_that_closes_before_the_hello_is_heard_out(tmp_path: Path) -> None:
    """``open_door_client`` itself says what the node said, if the hello finds nobody there."""
    bound = BoundSocket.bind(tmp_path / DATA_SOCKET)
    stream = await trio.open_unix_socket(os.fspath(bound.path))
    async with await bound.listener.accept() as accepted:
        await accepted.send_all(encode_turned_away(TurnedAway.TOO_MANY_CONNECTIONS, "as a test"))
    with pytest.raises(TurnedAwayError, match="as a test"):
        await greet(stream, bound.path, encode_hello(1))
    bound.close()


async def test_junk_and_surplus_are_a_line_of_each_kind(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.node.rule = lambda _: InvalidError("outside of the volume")
    client = await served.connect(client=1)
    for number in range(20):
        assert await is_closed(await served.connect_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert (await client.execute(READ, number=number, offset=number, size=1)).outcome is Outcome.FAILED
    for number in range(7):
        await served.connect(client=2 + number)
    await wait_all_tasks_blocked()
    for _ in range(20):
        await served.connect_raw(b"")
    await wait_all_tasks_blocked()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == [
        "closed a connection to the data socket: not a client of this socket",
        "refused an operation: 0 of client 1: outside of the volume",
        "closed a connection to the data socket: 8 connections are open already, which is the limit",
    ]


async def test_a_silent_surplus_connection_holds_nothing(served: Served) -> None:
    for number in range(8):
        await served.connect(client=number)
    await wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    silent = [await served.connect_raw(b"") for _ in range(30)]
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    for stream in silent:
        assert b"8 connections" in await last_words(stream)


async def test_another_user_is_closed_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    stream = await served.connect_raw(encode_hello(1) + encode_request(Request(number=1, kind=READ, offset=0, size=1)))
    assert b"for the node's own user" in await last_words(stream)
    assert served.node.seen == []


async def test_what_was_done_is_done_again_without_being_executed(served: Served) -> None:
    served.node.rule = lambda _: Answer(Outcome.DONE)
    first = await served.connect()
    assert (await first.execute(WRITE, number=5, data=b"x")).outcome is Outcome.DONE
    second = await served.connect()
    assert (await second.execute(WRITE, number=4, data=b"old")).outcome is Outcome.UNKNOWN
    assert (await second.execute(WRITE, number=5, data=b"x")).outcome is Outcome.DONE
    assert (await second.execute(WRITE, number=6, data=b"y")).outcome is Outcome.DONE
    assert [submitted.number for submitted in served.node.seen] == [5, 6]


async def test_numbers_of_two_clients_have_nothing_to_do_with_each_other(served: Served) -> None:
    served.node.rule = lambda _: Answer(Outcome.DONE)
    one, two = await served.connect(client=1), await served.connect(client=2)
    await one.execute(WRITE, number=50, data=b"x")
    await two.execute(WRITE, number=1, data=b"y")
    assert [submitted.number for submitted in served.node.seen] == [50, 1]


async def test_not_primary_may_be_tried_again_under_its_number(served: Served) -> None:
    served.node.rule = lambda _: Answer(Outcome.NOT_PRIMARY)
    first = await served.connect()
    assert (await first.execute(WRITE, number=5, data=b"x")).outcome is Outcome.NOT_PRIMARY
    served.node.rule = lambda _: Answer(Outcome.DONE)
    second = await served.connect()
    assert (await second.execute(WRITE, number=5, data=b"x")).outcome is Outcome.DONE
    assert [submitted.number for submitted in served.node.seen] == [5, 5]


async def test_a_late_write_of_a_lost_connection_never_lands_after_a_newer_one(served: Served) -> None:
    first = await served.connect()
    lost = await ask(served, first, WRITE, 1, data=b"late")
    second = await served.connect()
    await ask(served, second, WRITE, 2, data=b"newer")
    assert await lost.outcome() is None  # closed by the second one
    assert [submitted.data for submitted in served.node.seen] == [b"late"]
    served.node.seen[0].end()
    assert (await served.node.wait_seen(2))[1].data == b"newer"
    served.node.seen[1].end()


async def test_a_new_connection_waits_for_a_write_whose_connection_the_client_closed(served: Served) -> None:
    first = await served.connect()
    await ask(served, first, WRITE, 1, data=b"late")
    first.close()
    await wait_all_tasks_blocked()
    second = await served.connect()
    again = await ask(served, second, WRITE, 1, data=b"late")
    assert len(served.node.seen) == 1
    served.node.seen[0].end()
    assert await again.outcome() is Outcome.DONE
    assert len(served.node.seen) == 1


async def test_requests_that_the_old_connection_had_not_started_never_start(served: Served) -> None:
    first = await served.connect()
    await ask(served, first, WRITE, 1, data=b"a")
    await ask(served, first, WRITE, 2, data=b"b")  # waits for the first: same place
    second = await served.connect()
    newer = await ask(served, second, WRITE, 3, data=b"c")
    served.node.seen[0].end()
    assert [submitted.number for submitted in await served.node.wait_seen(2)] == [1, 3]
    served.node.seen[1].end()
    assert await newer.outcome() is Outcome.DONE


async def test_the_newest_of_three_connections_serves(served: Served) -> None:
    first = await served.connect()
    await ask(served, first, WRITE, 1, data=b"a")
    second = await served.connect()
    overtaken = await ask(served, second, WRITE, 2, offset=BLOCK, data=b"b")
    third = await served.connect()
    asked = await ask(served, third, WRITE, 3, offset=2 * BLOCK, data=b"c")
    assert await overtaken.outcome() is None
    served.node.seen[0].end()
    assert [submitted.number for submitted in await served.node.wait_seen(2)] == [1, 3]
    served.node.seen[1].end()
    assert await asked.outcome() is Outcome.DONE


async def test_a_connection_that_must_drain_keeps_its_place(served: Served) -> None:
    for number in range(8):
        client = await served.connect(client=number)
        await ask(served, client, READ, 1, size=1)
        client.close()
    await wait_all_tasks_blocked()
    assert b"8 connections" in await last_words(await served.connect_raw(encode_hello(9)))
    for submitted in served.node.seen:
        submitted.end()
    await wait_all_tasks_blocked()
    served.node.rule = lambda _: Answer(Outcome.DONE)
    assert (await (await served.connect(client=9)).execute(FLUSH, number=1)).outcome is Outcome.DONE


async def test_the_client_that_was_away_for_longest_is_forgotten_first(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_door, "MAX_CLIENTS", 2)
    served.node.rule = lambda _: Answer(Outcome.DONE)
    for client_id in (1, 2, 3):
        client = await served.connect(client=client_id)
        await client.execute(WRITE, number=9, data=b"x")
        client.close()
        await wait_all_tasks_blocked()
    known = await served.connect(client=2)
    assert (await known.execute(WRITE, number=8, data=b"x")).outcome is Outcome.UNKNOWN
    forgotten = await served.connect(client=1)
    assert (await forgotten.execute(WRITE, number=8, data=b"x")).outcome is Outcome.DONE


async def test_quiesce_holds_new_requests_until_the_next_start(served: Served) -> None:
    client = await served.connect()
    running = await ask(served, client, WRITE, 1, data=b"x")
    await served.quiesce()
    held = await ask(served, client, WRITE, 2, offset=BLOCK, data=b"y")
    assert len(served.node.seen) == 1
    served.node.seen[0].end()
    assert await running.outcome() is Outcome.DONE
    assert not held.ended.is_set()
    await served.start()
    (await served.node.wait_seen(2))[1].end()
    assert await held.outcome() is Outcome.DONE


async def test_what_is_held_for_too_long_is_not_executed_here(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_door, "HOLD_S", 0.05)
    await served.quiesce()
    client = await served.connect()
    held = [await ask(served, client, WRITE, n, offset=n * BLOCK, data=b"x") for n in range(10)]
    for asked in held:
        assert await asked.outcome() is Outcome.NOT_PRIMARY
    assert served.node.seen == []
    await served.start()
    served.node.rule = lambda _: Answer(Outcome.DONE)
    again = await served.connect()
    assert (await again.execute(WRITE, number=0, data=b"x")).outcome is Outcome.DONE


async def test_a_held_request_of_a_replaced_connection_is_not_executed(served: Served) -> None:
    await served.quiesce()
    first = await served.connect()
    await ask(served, first, WRITE, 1, data=b"old")
    second = await served.connect()
    asked = await ask(served, second, WRITE, 2, data=b"new")
    await served.start()
    (submitted,) = await served.node.wait_seen(1)
    assert submitted.data == b"new"
    submitted.end()
    assert await asked.outcome() is Outcome.DONE
    assert len(served.node.seen) == 1


async def test_a_held_request_of_a_client_that_has_gone_is_not_executed(served: Served) -> None:
    await served.quiesce()
    gone, stays = await served.connect(client=1), await served.connect(client=2)
    for number in range(MAX_IN_FLIGHT):
        await ask(served, gone, WRITE, number, offset=number * BLOCK, data=b"gone")
    asked = await ask(served, stays, WRITE, 1, data=b"stays")
    gone.close()
    await served.start()
    (submitted,) = await served.node.wait_seen(1)
    submitted.end()
    assert await asked.outcome() is Outcome.DONE
    await wait_all_tasks_blocked(0.01)
    assert [submitted.client for submitted in served.node.seen] == [2]
    served.node.rule = lambda _: Answer(Outcome.DONE)
    for client_id in range(3, 10):  # the door has let go of the connection: with client 2 this makes eight
        client = await served.connect(client=client_id)
        assert (await client.execute(FLUSH, number=1)).outcome is Outcome.DONE


async def test_a_request_behind_another_is_not_executed_for_a_client_that_has_gone(served: Served) -> None:
    client = await served.connect()
    await ask(served, client, WRITE, 1, data=b"first")
    await ask(served, client, WRITE, 2, data=b"waits for the first: same place")
    client.close()
    served.node.seen[0].end()
    await wait_all_tasks_blocked(0.01)
    assert [submitted.number for submitted in served.node.seen] == [1]


async def test_before_the_first_start_nothing_is_executed(tmp_path: Path) -> None:
    node = SlowNode(rule=lambda _: Answer(Outcome.DONE))
    door = Door(tmp_path, TrioClock())
    component = door.component(node)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            await component.init(component)
            serving = Served(node, door, component, tmp_path / DATA_SOCKET, nursery)
            client = await serving.connect()
            assert (await client.execute(FLUSH, number=1)).outcome is Outcome.NOT_PRIMARY
            assert node.seen == []
            await serving.start()
            assert (await client.execute(FLUSH, number=2)).outcome is Outcome.DONE
            nursery.cancel_scope.cancel()


async def test_a_name_that_is_taken_is_an_error_that_ends_the_component(tmp_path: Path) -> None:
    (tmp_path / DATA_SOCKET).mkdir()
    door = Door(tmp_path, TrioClock())
    component = door.component(SlowNode())
    assert await component.init(component) is ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR
    assert os.listdir(tmp_path) == [DATA_SOCKET]


async def test_the_sockets_go_with_the_task_that_serves_them(tmp_path: Path) -> None:
    door = Door(tmp_path, TrioClock())
    component = door.component(SlowNode())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            await component.init(component)
            assert len(os.listdir(tmp_path)) == 2
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "offset", "size", "data"),
    [
        (WRITE, 0, 64, b"only ten b"),
        (WRITE, 0, 4, b"more than four"),
        (COMPARE, 0, 8, b"short"),
        (COMPARE, 0, 0, b"both1both2"),
        (READ, 0, 8, b"no data goes with it"),
        (READ, 0, 0, b""),
        (WRITE, -1, 0, b"x"),
        (WRITE, 0, MAX_REQUEST_BYTES + 1, bytes(MAX_REQUEST_BYTES + 1)),
        (OperationKind.COPY, 0, 8, b""),
    ],
)
async def test_what_no_node_could_execute_is_not_sent(
    kind: OperationKind, offset: int, size: int, data: bytes, served: Served
) -> None:
    """Sent, it would end the connection, or what is sent next would be written as its data."""
    served.node.rule = lambda _: Answer(Outcome.DONE)
    client = await served.connect()
    with pytest.raises(InvalidError):
        await client.execute(kind, number=1, offset=offset, size=size, data=data)
    assert (await client.execute(WRITE, number=2, data=b"next")).outcome is Outcome.DONE
    assert [(each.number, each.data) for each in served.node.seen] == [(2, b"next")]


async def test_a_number_that_is_in_flight_is_not_used_again(served: Served) -> None:
    client = await served.connect()
    asked = await ask(served, client, WRITE, 1, data=b"first")
    with pytest.raises(InvalidError):
        await client.execute(WRITE, number=1, data=b"second")
    (submitted,) = await served.node.wait_seen(1)
    submitted.end()
    assert await asked.outcome() is Outcome.DONE
