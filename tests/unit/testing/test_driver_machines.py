"""The disk and the way to the arbiter of a machine that has trouble, without a node on it."""

from collections.abc import Set

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import ArbiterError, StoreError
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.store import BLOCK_BYTES, GROUP_BYTES, Layout, entries_for
from ctlha_trio.store._layout import GROUP_BLOCKS, PAGE_BYTES
from ctlha_trio.testing._drivers.arbiter import ArbiterTrouble, TroubledArbiter, Way
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.damage import Damage, DiskDamage
from ctlha_trio.testing._drivers.disk import DiskFault, DiskTrouble, TroubledDisk
from ctlha_trio.testing._drivers.gate import Gate
from ctlha_trio.testing._power.disk import Moment, PowerDisk

RECORD = Record(cluster="c", resource="r", epoch=1, lineage="00" * 16, primary="a", members=("a", "b"), proposal="init")
NEXT = RECORD.succeed(primary="a", members=("a",), proposal="next")


LAYOUT = Layout(64 * 1024)
PLACE = LAYOUT.file_offset(0)


def trouble(latency_s: float = 0.0) -> DiskTrouble:
    return DiskTrouble(Gate(), lambda _: latency_s, DiskDamage(LAYOUT))


async def test_a_disk_call_takes_its_time(autojump_clock: MockClock) -> None:
    disk = TroubledDisk(PowerDisk({"f": bytes(4)}), trouble(0.5))
    file = await disk.open("f")
    await file.pwrite([(0, b"abcd")])
    await file.flush()
    assert await file.pread(0, 4) == b"abcd"
    assert trio.current_time() == 1.5


@pytest.mark.parametrize("fault", [DiskFault.WRITE, DiskFault.FLUSH, DiskFault.FULL])
async def test_a_fault_happens_once_to_the_call_that_it_is_for(fault: DiskFault, autojump_clock: MockClock) -> None:
    struck: list[DiskFault] = []
    power_disk, machine = PowerDisk({"f": bytes(4)}), trouble()
    machine.on_strike = struck.append
    file = await TroubledDisk(power_disk, machine).open("f")
    machine.fault = fault
    await file.pread(0, 4)
    assert not struck
    with pytest.raises(StoreError):  # noqa: PT012 (which of the two fails is what the fault says)
        await file.pwrite([(0, b"abcd")])
        await file.flush()
    assert struck == [fault]
    assert power_disk.durable_content("f") == bytes(4)


async def test_a_fault_that_may_not_happen_yet_waits(autojump_clock: MockClock) -> None:
    machine, may = trouble(), False
    machine.may_fail = lambda _: may
    machine.fault = DiskFault.WRITE
    file = await TroubledDisk(PowerDisk({"f": bytes(4)}), machine).open("f")
    await file.pwrite([(0, b"abcd")])
    may = True
    with pytest.raises(StoreError):
        await file.pwrite([(0, b"abcd")])


async def test_a_hanging_call_never_ends(autojump_clock: MockClock) -> None:
    machine = trouble()
    machine.fault = DiskFault.HANG
    file = await TroubledDisk(PowerDisk({"f": bytes(4)}), machine).open("f")
    with trio.move_on_after(1e6) as scope:
        await file.flush()
    assert scope.cancelled_caught


async def test_no_call_returns_while_the_machine_stands_still(autojump_clock: MockClock) -> None:
    machine = trouble(1.0)
    file = await TroubledDisk(PowerDisk({"f": bytes(4)}), machine).open("f")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.flush)
        machine.gate.close()
        await trio.sleep(100.0)
        assert nursery.child_tasks
        machine.gate.open()
    assert trio.current_time() == 100.0


def test_a_full_disk_that_was_freed_takes_writes_again() -> None:
    async def write() -> None:
        disk = PowerDisk({"f": bytes(4)})
        disk.full()
        file = await disk.open("f")
        with pytest.raises(StoreError):
            await file.pwrite([(0, b"abcd")])
        file.close()
        disk.free()
        await (await disk.open("f")).pwrite([(0, b"abcd")])
        assert disk.content("f") == b"abcd"
        assert disk.durable_range("f", 1, 2) == bytes(2)

    trio.run(write)


def way_to(arbiter: MemoryArbiter, nursery: trio.Nursery, way: Way, *, says_unknown: bool = True) -> TroubledArbiter:
    machine = ArbiterTrouble(Gate(), latency_s=lambda: 0.5, late_s=lambda: 7.0, says_unknown=lambda: says_unknown)
    machine.lose(way)
    return TroubledArbiter(arbiter, machine, nursery)


async def test_the_arbiter_is_a_latency_away_each_way(autojump_clock: MockClock) -> None:
    arbiter = MemoryArbiter(RECORD)
    async with trio.open_nursery() as nursery:
        way = way_to(arbiter, nursery, Way.OPEN)
        assert (await way.read()).record == RECORD
        assert (await way.cas(1, NEXT)).outcome is SwapOutcome.WON
        assert trio.current_time() == 2.0


async def test_an_arbiter_that_is_down_certainly_took_nothing(autojump_clock: MockClock) -> None:
    arbiter = MemoryArbiter(RECORD)
    async with trio.open_nursery() as nursery:
        way = way_to(arbiter, nursery, Way.DOWN)
        with pytest.raises(ArbiterError):
            await way.read()
        assert (await way.cas(1, NEXT)).outcome is SwapOutcome.REFUSED
        await trio.sleep(100.0)
        assert arbiter.record == RECORD


async def test_a_swap_whose_answer_is_lost_is_applied_later(autojump_clock: MockClock) -> None:
    arbiter = MemoryArbiter(RECORD)
    async with trio.open_nursery() as nursery:
        way = way_to(arbiter, nursery, Way.DEAF)
        assert (await way.cas(1, NEXT)).outcome is SwapOutcome.UNKNOWN
        assert (arbiter.record, way.under_way) == (RECORD, 1)
        await trio.sleep(7.0)
        assert (arbiter.record, way.under_way) == (NEXT, 0)


async def test_a_swap_reaches_the_arbiter_although_its_node_is_dead(autojump_clock: MockClock) -> None:
    arbiter = MemoryArbiter(RECORD)
    async with trio.open_nursery() as nursery:
        way = way_to(arbiter, nursery, Way.DEAF, says_unknown=False)
        with trio.move_on_after(1.0) as life:
            await way.cas(1, NEXT)
        assert life.cancelled_caught
        assert arbiter.record == RECORD
        way.hurry()
        await trio.testing.wait_all_tasks_blocked()
        assert arbiter.record == NEXT


async def test_a_silent_arbiter_neither_answers_nor_takes_anything(autojump_clock: MockClock) -> None:
    arbiter = MemoryArbiter(RECORD)
    async with trio.open_nursery() as nursery:
        way = way_to(arbiter, nursery, Way.SILENT)
        with trio.move_on_after(1e6) as scope:
            await way.cas(1, NEXT)
        assert scope.cancelled_caught
        assert arbiter.record == RECORD


async def test_power_that_was_to_fail_at_a_call_and_is_not_any_more(autojump_clock: MockClock) -> None:
    disk = PowerDisk({"f": bytes(4)})
    disk.cut_at(1, Moment.BEFORE)
    disk.cut_never()
    await (await disk.open("f")).flush()
    assert not disk.is_cut


async def test_a_decayed_byte_is_read_as_another_until_it_is_written(autojump_clock: MockClock) -> None:
    shaky, met = trouble(), list[Fault]()
    shaky.damage.on_strike = met.append
    file = await TroubledDisk(PowerDisk({"f": bytes(64)}), shaky).open("f")
    shaky.damage.places[9] = Damage(Fault.BIT_ROT, b"\xff")
    assert await file.pread(0, 8) == bytes(8)
    assert await file.pread(8, 4) == await file.pread(8, 4) == b"\0\xff\0\0"
    assert met == [Fault.BIT_ROT]
    await file.pwrite([(8, b"abcd")])
    assert await file.pread(8, 4) == b"abcd"


async def test_damage_outlives_the_process_that_has_met_it(autojump_clock: MockClock) -> None:
    shaky, met = trouble(), list[Fault]()
    shaky.damage.on_strike = met.append
    file = await TroubledDisk(PowerDisk({"f": bytes(64)}), shaky).open("f")
    shaky.damage.places[9] = Damage(Fault.BIT_ROT, b"\xff")
    assert await file.pread(9, 1) == b"\xff"
    shaky.damage.begin()
    assert await file.pread(9, 1) == b"\xff"
    assert met == [Fault.BIT_ROT] * 2


async def test_a_write_that_must_not_go_astray_leaves_that_to_a_later_one(autojump_clock: MockClock) -> None:
    shaky, asked, may = trouble(), list[Set[int]](), False

    def may_lead_astray(blocks: Set[int]) -> bool:
        asked.append(blocks)
        return may

    shaky.damage.may_lead_astray = may_lead_astray
    file = await TroubledDisk(PowerDisk({"f": bytes(LAYOUT.file_bytes)}), shaky).open("f")
    shaky.damage.misdirects = True
    await file.pwrite([(PLACE, b"o" * BLOCK_BYTES)])
    assert (asked, shaky.damage.places) == ([{0, BLOCK_BYTES}], {})
    may = True
    await file.pwrite([(PLACE, b"n" * BLOCK_BYTES)])
    assert set(shaky.damage.places) == {PLACE, PLACE + BLOCK_BYTES}
    assert not shaky.damage.misdirects


async def test_a_block_that_goes_astray_lies_in_the_next_one_until_that_is_written(autojump_clock: MockClock) -> None:
    shaky, met = trouble(), list[Fault]()
    shaky.damage.on_strike = met.append
    file = await TroubledDisk(PowerDisk({"f": bytes(LAYOUT.file_bytes)}), shaky).open("f")
    await file.pwrite([(PLACE, b"o" * BLOCK_BYTES), (PLACE + BLOCK_BYTES, b"x" * BLOCK_BYTES)])
    shaky.damage.misdirects = True
    await file.pwrite([(0, b"head")])
    assert shaky.damage.misdirects
    await file.pwrite([(0, b"HEAD"), (LAYOUT.entry_page_offset(0), b"e" * PAGE_BYTES), (PLACE, b"n" * BLOCK_BYTES)])
    assert await file.pread(0, 4) == b"HEAD"
    assert await file.pread(PLACE - 1, 2) == b"eo"
    assert await file.pread(PLACE + BLOCK_BYTES - 1, 2) == b"on"
    assert met == [Fault.MISDIRECTED] * 2
    await file.pwrite([(PLACE + BLOCK_BYTES, b"y" * BLOCK_BYTES)])
    assert await file.pread(PLACE, 2 * BLOCK_BYTES) == b"o" * BLOCK_BYTES + b"y" * BLOCK_BYTES
    assert not shaky.damage.misled


async def test_where_there_are_groups_a_block_goes_astray_with_its_entries(autojump_clock: MockClock) -> None:
    layout, shaky = Layout(2 * GROUP_BYTES), trouble()
    shaky.damage.layout = layout
    file = await TroubledDisk(PowerDisk({"f": bytes(layout.file_bytes)}), shaky).open("f")
    shaky.damage.misdirects = True
    pages = [layout.entry_page_offset(group) for group in range(2)]
    places = [layout.file_offset(group * GROUP_BYTES + BLOCK_BYTES) for group in range(2)]
    await file.pwrite([(pages[1], b"e" * PAGE_BYTES), (places[1], b"n" * BLOCK_BYTES)])
    assert [await file.pread(place, 1) for place in (*pages, *places)] == [b"e", b"e", b"n", b"\0"]
    assert shaky.damage.misled
    shaky.damage.begin()
    shaky.damage.mend({BLOCK_BYTES, GROUP_BYTES + BLOCK_BYTES})
    assert [await file.pread(place, 1) for place in (*pages, *places)] == [b"e", b"e", b"\0", b"n"]
    assert not shaky.damage.mend_entries(bytes(layout.file_bytes), 1)
    assert [await file.pread(place, 1) for place in (*pages, *places)] == [b"\0", b"e", b"\0", b"n"]


async def test_who_writes_another_group_s_entries_back_makes_them_this_one_s(autojump_clock: MockClock) -> None:
    layout, shaky = Layout(2 * GROUP_BYTES), trouble()
    shaky.damage.layout = layout
    disk = PowerDisk({"f": bytes(layout.file_bytes)})
    file = await TroubledDisk(disk, shaky).open("f")
    page, strange = layout.entry_page_offset(0), entries_for(disk.content("f"), layout.size_bytes, 1, 1)
    shaky.damage.places[page] = Damage(Fault.MISDIRECTED, strange)
    assert len(shaky.damage.blocks(disk.content("f"))) == GROUP_BLOCKS
    await file.pwrite([(page, await file.pread(page, PAGE_BYTES))])
    assert not shaky.damage.places
    assert len(shaky.damage.blocks(disk.content("f"))) == GROUP_BLOCKS
    mended = shaky.damage.mend_entries(disk.content("f"), 1)
    disk.put("f", page, mended[page])
    assert list(mended) == [page]
    shaky.damage.spoiled.add(0)
    assert not shaky.damage.blocks(disk.content("f"))


def test_what_a_new_process_takes_for_written_is_no_damage_any_more() -> None:
    damage, layout = trouble().damage, Layout(2 * GROUP_BYTES)
    damage.layout = layout
    places = [layout.file_offset(group * GROUP_BYTES) for group in range(2)]
    damage.places.update({place: Damage(Fault.BIT_ROT, b"\xff") for place in places})
    assert damage.settle([1]) == {places[1]: b"\xff"}
    assert damage.blocks(bytes(layout.file_bytes)) == {0}


def test_each_of_two_faults_of_one_way_to_the_arbiter_ends_by_itself() -> None:
    machine = ArbiterTrouble(Gate(), latency_s=lambda: 0.5, late_s=lambda: 7.0, says_unknown=lambda: True)
    machine.lose(Way.SILENT)
    machine.lose(Way.DOWN)
    ways = [machine.way]
    for way in (Way.DOWN, Way.SILENT):
        machine.find(way)
        ways.append(machine.way)
    assert ways == [Way.DOWN, Way.SILENT, Way.OPEN]
