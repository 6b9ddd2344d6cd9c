"""The records in a backing file: durable once answered, never rolled back, through cuts at every call and decay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio

from ctlha_trio._errors import RecordsFullError, StoreError
from ctlha_trio.pair import RECORDS_BYTES_MAX, CarriedRecord, Copy, Metadata, Records, encoded_bytes
from ctlha_trio.seams import TrioClock
from ctlha_trio.store import BlockStore, image
from ctlha_trio.store._layout import BITMAP_OFFSET, RECORDS_AREA_BYTES, RECORDS_OFFSET
from ctlha_trio.store._record_copies import RecordTable, area_offset, choose_table, encode_table, new_record_areas
from ctlha_trio.testing import Moment, PowerCut, PowerDisk

SIZE_BYTES = 32 * 1024
FIRST = Metadata(
    cluster="cluster", node="a", resource="volume", lineage="l", arbiter="arbiter",
    epoch=1, revision=1, primary="a", members=("a", "b"), copy=Copy.MEMBER,
)  # fmt: skip


def record(number: int, key: str = "key", size: int = 700) -> CarriedRecord:
    """Across sectors, so that a cut tears it."""
    return CarriedRecord(key, 1, number, bytes([number]) * size)


def table(number: int) -> RecordTable:
    return RecordTable(number, {"key": record(number)})


@asynccontextmanager
async def opened(disk: PowerDisk) -> AsyncIterator[BlockStore]:
    store = await BlockStore.open(disk, "file", size_bytes=SIZE_BYTES, clock=TrioClock())
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with suppress(StoreError, PowerCut):
                await store.run()

        nursery.start_soon(run)
        yield store
        nursery.cancel_scope.cancel()
    store.close()


def new_disk() -> PowerDisk:
    return PowerDisk({"file": image(FIRST, SIZE_BYTES)})


async def found_in(disk: PowerDisk) -> Records:
    async with opened(disk) as store:
        return store.records


async def test_a_new_file_has_no_records() -> None:
    assert await found_in(new_disk()) == {}


async def test_what_was_put_is_there_after_a_restart() -> None:
    disk = new_disk()
    async with opened(disk) as store:
        await store.put_record(record(1))
        await store.put_record(record(2, "other"))
        await store.put_record(record(3))
        assert store.records == {"key": record(3), "other": record(2, "other")}
        await store.put_record(record(4, "other", size=0))
    assert await found_in(disk) == {"key": record(3)}


async def test_records_are_replaced_as_a_whole() -> None:
    disk = new_disk()
    async with opened(disk) as store:
        await store.put_record(record(1))
        await store.replace_records({"other": record(2, "other")})
    assert await found_in(disk) == {"other": record(2, "other")}


async def test_the_largest_table_fits_and_lies_where_nothing_else_does() -> None:
    disk = new_disk()
    size = RECORDS_BYTES_MAX - encoded_bytes("key", b"")
    async with opened(disk) as store:
        await store.put_record(record(1, size=size))
        await store.write(0, b"data")
        assert await store.read(0, 4) == b"data"
    assert await found_in(disk) == {"key": record(1, size=size)}
    assert area_offset(2) <= BITMAP_OFFSET


@pytest.mark.parametrize("beyond", [1, 1000, 2 * RECORDS_BYTES_MAX])
async def test_a_table_that_could_not_be_read_again_is_not_written_and_the_store_lives(beyond: int) -> None:
    """An area has more room than the largest table, for it is whole pages."""
    disk = new_disk()
    room = RECORDS_BYTES_MAX - encoded_bytes("key", record(1).value) - encoded_bytes("more", b"")
    more = record(2, "more", size=room + beyond)
    async with opened(disk) as store:
        await store.put_record(record(1))
        before = disk.content("file")
        with pytest.raises(RecordsFullError):
            await store.put_record(more)
        with pytest.raises(RecordsFullError):
            await store.replace_records({"key": record(1), "more": more})
        assert disk.content("file") == before
        await store.put_record(record(2, "more", size=room))
    assert {*await found_in(disk)} == {"key", "more"}


PUTS = 4
LATER = 100


async def live(disk: PowerDisk, answered: list[int], first: int = 1) -> None:
    """As far as the disk lets it."""
    with suppress(PowerCut):
        async with opened(disk) as store:
            with suppress(StoreError):
                for number in range(first, first + PUTS):
                    await store.put_record(record(number))
                    answered.append(number)


async def calls_of_a_life() -> int:
    disk = new_disk()
    await live(disk, [])
    return len(disk.calls)


@pytest.mark.parametrize("moment", Moment)
async def test_no_cut_loses_what_was_answered_or_brings_back_what_was_seen(moment: Moment) -> None:
    """At every call, with everything that may have become of what was not flushed, and cut once more after that."""
    for call in range(1, await calls_of_a_life() + 1):
        disk, answered = new_disk(), list[int]()
        disk.cut_at(call, moment)
        await live(disk, answered)
        if not disk.is_cut:
            continue
        for loss in disk.outcomes():
            after = disk.after_cut(loss)
            found = await found_in(after)
            seen = found["key"].sequence if found else 0
            assert max(answered, default=0) <= seen <= max(answered, default=0) + 1
            for second in range(1, 8):
                again = disk.after_cut(loss)
                again.cut_at(second, moment)
                await live(again, [], LATER)
                if again.is_cut:
                    for other in again.outcomes():
                        later = await found_in(again.after_cut(other))
                        reached = later["key"].sequence if later else 0
                        assert reached == seen or reached >= LATER, "what had been seen was rolled back"


def test_the_newer_table_counts_and_a_torn_one_does_not() -> None:
    areas = [encode_table(table(1)), encode_table(table(2))]
    for order in ([0, 1], [1, 0]):
        raw = b"".join(areas[index].ljust(RECORDS_AREA_BYTES, b"\0") for index in order)
        assert choose_table("file", raw) == (order.index(1), table(2))
        torn = bytearray(raw)
        torn[order.index(1) * RECORDS_AREA_BYTES + 600] ^= 1
        assert choose_table("file", bytes(torn)) == (order.index(0), table(1))


def test_every_changed_byte_is_noticed() -> None:
    raw = encode_table(table(1))
    used = 24 + encoded_bytes("key", record(1).value)
    for at in range(used):
        damaged = bytearray(raw.ljust(RECORDS_AREA_BYTES, b"\0") * 2)
        for area in range(2):
            damaged[area * RECORDS_AREA_BYTES + at] ^= 0x10
        with pytest.raises(StoreError, match="both tables of records are damaged"):
            choose_table("file", bytes(damaged))


async def test_decay_of_one_area_brings_nothing_old_back_and_the_next_put_mends_it() -> None:
    disk = new_disk()
    async with opened(disk) as store:
        await store.put_record(record(1))
        await store.put_record(record(2))
    for area in range(2):
        content = bytearray(disk.content("file"))
        content[area_offset(area) + 100] ^= 1
        decayed = PowerDisk({"file": bytes(content)})
        async with opened(decayed) as store:
            assert store.records == {"key": record(2)}
            await store.put_record(record(3))
        mended = bytearray(decayed.content("file"))
        mended[area_offset(1 - area) + 100] ^= 1
        assert await found_in(PowerDisk({"file": bytes(mended)})) == {"key": record(3)}


async def test_a_store_whose_tables_are_both_damaged_does_not_open() -> None:
    content = bytearray(image(FIRST, SIZE_BYTES))
    for area in range(2):
        content[area_offset(area)] ^= 1
    with pytest.raises(StoreError, match="both tables of records are damaged"):
        await found_in(PowerDisk({"file": bytes(content)}))


def test_new_areas_fill_their_room() -> None:
    assert len(new_record_areas()) == 2 * RECORDS_AREA_BYTES
    assert choose_table("file", new_record_areas())[1] == RecordTable(1, {})
    assert area_offset(0) == RECORDS_OFFSET


def test_a_whole_table_that_makes_no_sense_is_told() -> None:
    empty = attrs.evolve(table(1), records={"key": record(1, size=0)})
    with pytest.raises(StoreError, match="makes no sense"):
        choose_table("file", encode_table(empty).ljust(RECORDS_AREA_BYTES, b"\0") * 2)
