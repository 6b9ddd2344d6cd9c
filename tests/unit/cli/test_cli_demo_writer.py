"""The demo's writer and readers against two doors in this process, in front of nodes that the test commands."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest
import trio

from ctlha_trio._errors import FailedError
from ctlha_trio._vocabulary import ctl_ha_state
from ctlha_trio.cli import _demo_content
from ctlha_trio.cli._demo_content import Content
from ctlha_trio.cli._demo_reader import ReadBack, is_alone, watch_for_early_service
from ctlha_trio.cli._demo_report import DemoReport, DemoViolation
from ctlha_trio.cli._demo_writer import IN_FLIGHT, DemoWriter
from ctlha_trio.door import DATA_SOCKET, Door
from ctlha_trio.ha import Notice, Rehearsal, Status, booting_status
from ctlha_trio.pair import FailoverPlan, OperationKind, Outcome, Plan, Record
from ctlha_trio.seams import Buffer, TrioClock

BLOCK = 4096
BLOCKS = 40
WRITES = 400
"""Ten passes, to save time."""


@attrs.frozen
class Answer:
    outcome: Outcome
    data: bytes = b""
    miscompare_at: int | None = None


@attrs.define(eq=False)
class ToyNode:
    """Keeps a volume that it shares with the other one, if it is primary."""

    volume: bytearray
    primary: bool = False
    wrong: Callable[[OperationKind, int, int], Outcome | None] = lambda _kind, _number, _offset: None
    """What to answer instead of executing an operation of this kind, number and offset."""
    seen: list[tuple[int, int]] = attrs.field(factory=list)
    """Number and block of each write that was executed."""
    under_way: list[int] = attrs.field(factory=list)
    most_under_way: int = 0

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
        if not self.primary:
            return Answer(Outcome.NOT_PRIMARY)
        if (wrong := self.wrong(kind, number, offset)) is not None:
            return Answer(wrong)
        if kind is OperationKind.READ:
            return Answer(Outcome.DONE, bytes(self.volume[offset : offset + size]))
        assert offset not in self.under_way, "two writes on one block"
        self.under_way.append(offset)
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        self.volume[offset : offset + size] = data
        self.seen.append((number, offset // BLOCK))
        self.under_way.remove(offset)
        return Answer(Outcome.DONE)

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


@attrs.define(eq=False)
class Toys:
    nodes: tuple[ToyNode, ToyNode]
    sockets: tuple[Path, Path]
    content: Content
    report: DemoReport
    writer: DemoWriter
    stop: tuple[trio.CancelScope, trio.CancelScope]


@pytest.fixture
async def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Toys]:
    monkeypatch.setattr(_demo_content, "WRITES", WRITES)
    content = Content(os.urandom(BLOCKS * BLOCK), BLOCK)
    volume = bytearray(len(content.volume))
    nodes = ToyNode(volume, primary=True), ToyNode(volume)
    report = DemoReport()
    sockets = tmp_path / "a" / DATA_SOCKET, tmp_path / "b" / DATA_SOCKET
    scopes = trio.CancelScope(), trio.CancelScope()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for node, socket, scope in zip(nodes, sockets, scopes, strict=True):
                socket.parent.mkdir()
                await nursery.start(serve, node, socket.parent, scope)
            yield Toys(nodes, sockets, content, report, DemoWriter(content, sockets, report), scopes)
            nursery.cancel_scope.cancel()


async def serve(node: ToyNode, folder: Path, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
    door = Door(folder, TrioClock())
    component = door.component(node)
    with scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            await component.init(component)
            await component.start(component, ctl_ha_state.CTL_HA_STATE_HA)
            task_status.started()


async def test_everything_is_written_with_many_in_flight_and_never_two_on_a_block(toys: Toys) -> None:
    toys.writer.allow(toys.content.writes)
    await toys.writer.run()
    assert bytes(toys.nodes[0].volume) == toys.content.volume
    assert toys.report.acknowledged_writes == len(toys.nodes[0].seen) == toys.content.writes
    assert 1 < toys.nodes[0].most_under_way <= IN_FLIGHT


async def test_nothing_begins_that_is_not_allowed(toys: Toys) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(toys.writer.run)
        toys.writer.allow(5)
        await toys.writer.wait_acknowledged(5)
        assert toys.writer.begun == 5
        toys.writer.allow(3)
        assert toys.writer.begun == 5
        nursery.cancel_scope.cancel()


async def test_it_goes_to_the_node_that_serves(toys: Toys) -> None:
    toys.nodes[0].primary, toys.nodes[1].primary = False, True
    toys.writer.allow(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(toys.writer.run)
        await toys.writer.wait_acknowledged(100)
        nursery.cancel_scope.cancel()
    assert toys.nodes[0].seen == []


async def test_it_goes_on_where_the_other_node_dies(toys: Toys) -> None:
    def hang_up(_: OperationKind, number: int, __: int) -> Outcome | None:
        if number == 50:
            toys.stop[0].cancel()
            toys.nodes[1].primary = True
        return None

    toys.nodes[0].wrong = hang_up
    toys.writer.allow(toys.content.writes)
    await toys.writer.run()
    assert bytes(toys.nodes[1].volume) == toys.content.volume
    resent = [number for number, _ in toys.nodes[1].seen if number < 50 + IN_FLIGHT]
    assert resent == sorted(resent)
    assert resent


async def test_a_switched_role_is_followed_there_and_back(toys: Toys) -> None:
    first, second = toys.nodes

    def switch_at(limit: int, away: ToyNode, to: ToyNode) -> Callable[[OperationKind, int, int], Outcome | None]:
        def decide(_: OperationKind, number: int, __: int) -> Outcome | None:
            if number < limit:
                return None
            away.primary, to.primary = False, True
            return Outcome.NOT_PRIMARY

        return decide

    first.wrong = switch_at(100, first, second)
    second.wrong = switch_at(250, second, first)
    toys.writer.allow(toys.content.writes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(toys.writer.run)
        await toys.writer.wait_acknowledged(150)
        first.wrong = lambda _kind, _number, _offset: None
        await toys.writer.wait_acknowledged(toys.content.writes)
        nursery.cancel_scope.cancel()
    assert bytes(first.volume) == toys.content.volume
    assert len(second.seen) > 100


async def test_an_unknown_outcome_is_sent_again_until_it_is_known(toys: Toys) -> None:
    """The node that said unknown says so for ever under that number: there it needs a new one."""
    refused = set[int]()

    def forget(kind: OperationKind, number: int, _: int) -> Outcome | None:
        if number % 20 == 0 and number not in refused:
            refused.add(number)
            return Outcome.UNKNOWN
        return None

    toys.nodes[0].wrong = forget
    toys.writer.allow(toys.content.writes)
    await toys.writer.run()
    assert bytes(toys.nodes[0].volume) == toys.content.volume
    assert len(refused) > 10


async def test_a_write_that_is_superseded_is_sent_again_under_a_new_number(toys: Toys) -> None:
    """What was under way through the other node is newer, so the number is good nowhere any more."""
    superseded: list[int] = []

    def supersede(_: OperationKind, number: int, __: int) -> Outcome | None:
        if number % 20 == 0 or number in superseded:
            superseded.append(number)
            return Outcome.SUPERSEDED
        return None

    toys.nodes[0].wrong = supersede
    toys.writer.allow(toys.content.writes)
    await toys.writer.run()
    assert bytes(toys.nodes[0].volume) == toys.content.volume
    assert len(superseded) == len(set(superseded)) > 10


async def test_a_write_that_failed_is_a_violation_that_names_node_and_block(toys: Toys) -> None:
    toys.nodes[0].wrong = lambda _kind, _number, offset: Outcome.FAILED if offset == 7 * BLOCK else None
    toys.writer.allow(toys.content.writes)
    with pytest.RaisesGroup(pytest.RaisesExc(DemoViolation, match=r"node a .* block 7 ")):
        await toys.writer.run()


async def test_reading_back_finds_every_lost_block(toys: Toys) -> None:
    toys.writer.allow(2 * BLOCKS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(toys.writer.run)
        await toys.writer.wait_acknowledged(2 * BLOCKS)
        nursery.cancel_scope.cancel()
    whole = ReadBack(toys.content, toys.writer.written, toys.sockets[0])
    await whole.run()
    assert whole.lost == []
    toys.nodes[0].volume[9 * BLOCK + 1] ^= 1
    toys.nodes[0].volume[3 * BLOCK : 4 * BLOCK] = toys.content.data_of(0, 3)  # what was there before
    damaged = ReadBack(toys.content, toys.writer.written, toys.sockets[0])
    await damaged.run()
    assert damaged.lost == [3, 9]


async def test_reading_back_takes_a_later_write_that_is_not_acknowledged(toys: Toys) -> None:
    toys.writer.written.acknowledged[4] = 0
    toys.writer.written.sent[4] = 1
    toys.nodes[0].volume[4 * BLOCK : 5 * BLOCK] = toys.content.data_of(1, 4)
    found = ReadBack(toys.content, toys.writer.written, toys.sockets[0])
    await found.run()
    assert found.lost == []


async def test_reading_back_is_patient_with_a_node_that_does_not_serve_yet(toys: Toys) -> None:
    tries: list[int] = []

    def refuse_at_first(_: OperationKind, number: int, __: int) -> Outcome | None:
        tries.append(number)
        return Outcome.NOT_PRIMARY if len(tries) < 40 else None

    toys.nodes[0].wrong = refuse_at_first
    toys.writer.written.acknowledged[:] = [0] * BLOCKS
    toys.writer.written.sent[:] = [0] * BLOCKS
    found = ReadBack(toys.content, toys.writer.written, toys.sockets[0])
    await found.run()
    assert found.lost == list(range(BLOCKS))


async def test_the_watch_catches_a_node_that_serves_out_of_sync(toys: Toys) -> None:
    async def out_of_sync() -> bool:
        await trio.lowlevel.checkpoint()
        return True

    with pytest.raises(DemoViolation, match=r"^node a served block \d+ \(offset \d+\) before it was in sync$"):
        await watch_for_early_service(toys.content, "a", toys.sockets[0], out_of_sync)


@pytest.mark.parametrize(
    ("verdict", "reasons", "alone"),
    [
        ("degraded", ["peer-lost"], True),
        ("degraded", ["peer-outdated"], True),
        ("degraded", ["resyncing"], True),
        ("degraded", ["resync-blocked", "arbiter-silent"], True),
        ("protected", [], False),
        ("degraded", ["peer-components"], False),
        ("degraded", ["component-starting"], False),
        ("at-risk", ["peer-lost", "claiming"], False),
    ],
)
def test_who_is_alone_says_so(verdict: str, reasons: list[str], alone: bool) -> None:
    assert is_alone({"verdict": verdict, "reasons": reasons}) is alone


def test_who_says_nothing_is_not_known_to_be_alone() -> None:
    assert not is_alone({})


async def test_the_watch_lets_pass_what_is_in_sync_or_does_not_serve(toys: Toys, tmp_path: Path) -> None:
    asked: list[bool] = []
    enough = trio.CancelScope()

    async def in_sync() -> bool:
        await trio.lowlevel.checkpoint()
        asked.append(True)
        if len(asked) > 1:
            enough.cancel()
        return False

    async def never() -> bool:
        raise AssertionError("nobody answered")

    with trio.fail_after(30), enough:
        await watch_for_early_service(toys.content, "a", toys.sockets[0], in_sync)
    assert enough.cancelled_caught
    for silent in (toys.sockets[1], tmp_path / "nobody"):
        with trio.move_on_after(0.3):
            await watch_for_early_service(toys.content, "b", silent, never)
