"""Mistakes in the order of what is made durable, planted one at a time: the enumeration of power cuts must find each.

Those of the store are found by its states alone, those of the pair by runs of both nodes. Three orders of the store
have no mutant, for without them a cut loses nothing. The bitmap before the page of the log that names its base: a page
of another base says that all is dirty. Data and checksums in one flush, if no answer comes between, and marks with the
write that they mark: as long as the extent is open it is sealed as it is, and marked whole.

Nor has a rule of the core that is kept a second time below it. The store makes durable in the order of the calls, so
that a node which is told to join, to lead or to be overwritten, and goes on before that is persisted, has persisted it
before anything that follows is durable. The simulator and the exploration know no such order, and find these.
"""

from collections.abc import Callable, Collection, Sequence
from time import perf_counter

import attrs
import pytest

from ctlha_trio._errors import DamagedBlockError
from ctlha_trio.pair import (
    Phase,
    Records,
    _admission as admission,
    _membership as membership,
    _service as service,
    actions as act,
    messages as msg,
)
from ctlha_trio.pair._step import Step
from ctlha_trio.store import _activity_log, _blocks, _record_copies, _slots
from ctlha_trio.store._activity_log import encode_activity
from ctlha_trio.store._checked_volume import CheckedVolume, SealedWrite
from ctlha_trio.store._commit_loop import CommitLoop
from ctlha_trio.store._dirty_bitmap import DirtyBitmap
from ctlha_trio.store._known_damage import NO_DAMAGE, KnownDamage
from ctlha_trio.store._layout import RECORDS_AREA_BYTES
from ctlha_trio.store._queue import PersistStep, WriteStep
from ctlha_trio.store._record_copies import RECORDS_AREAS, RecordTable, area_offset, decode_table, encode_table
from ctlha_trio.store._record_keeper import RecordKeeper
from ctlha_trio.store._slots import SLOT_BYTES, SLOT_COUNT, Slot, encode_slot
from ctlha_trio.store._write_batch import WriteBatch
from ctlha_trio.store._write_tracker import WriteTracker
from ctlha_trio.testing._power_cuts.enumeration import enumerate_pair, enumerate_store
from tests.mutants.admission import seals_before_it_is_persisted
from tests.mutants.marks import takes_a_mark_away_once_the_range_is_sent
from tests.mutants.operations import answers_a_mirrored_write_before_it_is_stored
from tests.mutants.resync import ignores_what_the_target_names

pytestmark = pytest.mark.slow

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


@attrs.frozen
class Search:
    """Where a mutant is looked for, and by what it must be found."""

    scenario: str
    victim: str
    said: str
    both: bool = False


OF_STORE: dict[str, tuple[Plant, Search]] = {}
OF_PAIR: dict[str, tuple[Plant, Search]] = {}


def of_store(scenario: str, victim: str, said: str) -> Callable[[Plant], Plant]:
    def enter(plant: Plant) -> Plant:
        OF_STORE[plant.__name__] = plant, Search(scenario, victim, said)
        return plant

    return enter


def of_pair(scenario: str, victim: str, said: str, *, both: bool = False) -> Callable[[Plant], Plant]:
    def enter(plant: Plant) -> Plant:
        OF_PAIR[plant.__name__] = plant, Search(scenario, victim, said, both)
        return plant

    return enter


# The store.


def commit_writes(
    patch: Patch, put: Callable[[CommitLoop, SealedWrite, Sequence[tuple[int, bytes]], Callable[[], None]], object]
) -> None:
    """Replace how a batch is made durable; ``put`` answers by calling its last argument."""

    async def plain(self: CommitLoop, steps: Sequence[WriteStep]) -> None:
        if not steps:
            return
        batch = WriteBatch(self._volume)
        for step in steps:
            await batch.add(step.offset, step.data)
        sealed = await batch.seal(self.slot.metadata.epoch)
        await self._tracker.admit(sealed.pages.keys())
        marks = self._tracker.mark([(step.offset, len(step.data)) for step in steps if not step.repairs])

        def answer() -> None:
            for step in steps:
                self._queue.mark_durable(step)

        await put(self, sealed, marks, answer)  # type: ignore[misc]

    patch.setattr(CommitLoop, "_commit_writes", plain)


async def put_unflushed(loop: CommitLoop, write: SealedWrite, marks: Sequence[tuple[int, bytes]]) -> None:
    volume = loop._volume
    volume.changes += 1
    await loop._file._file.pwrite([*write.extents, *marks])
    volume.changes += 1
    for group, page in write.pages.items():
        volume._keep(group, page, volume.changes)


@of_store("write", "a", "holds what no write under way")
def answers_before_the_flush(patch: Patch) -> None:
    async def put(
        loop: CommitLoop, write: SealedWrite, marks: Sequence[tuple[int, bytes]], answer: Callable[[], None]
    ) -> None:
        await put_unflushed(loop, write, marks)
        answer()
        await loop._file.flush()

    commit_writes(patch, put)


@of_store("write", "b", "holds what no write under way")
def answers_between_checksums_and_data(patch: Patch) -> None:
    async def put(loop: CommitLoop, write: SealedWrite, marks: object, answer: Callable[[], None]) -> None:
        pages = [(place, data) for place, data in write.extents if data in write.pages.values()]
        data = [each for each in write.extents if each not in pages]
        await loop._volume.put(SealedWrite(pages, write.pages), marks)  # type: ignore[arg-type]
        answer()
        await loop._volume.put(SealedWrite(data, {}))

    commit_writes(patch, put)


@of_store("write", "a", "is damaged, and was whole")
def logs_an_extent_in_the_flush_of_its_data(patch: Patch) -> None:
    async def admit(self: WriteTracker, extents: Collection[int]) -> None:
        if self._open.use(extents):
            page = self.page.succeed(self._open)
            await self._file._file.pwrite([(page.offset, encode_activity(page))])
            self.page = page

    patch.setattr(WriteTracker, "admit", admit)


@of_store("write", "a", "not marked")
def logs_no_extent(patch: Patch) -> None:
    async def admit(self: WriteTracker, extents: Collection[int]) -> None:
        self._open.use(extents)

    patch.setattr(WriteTracker, "admit", admit)


def commit_metadata(patch: Patch, write: Callable[[CommitLoop, PersistStep], object]) -> None:
    async def plain(self: CommitLoop, step: PersistStep) -> None:
        await write(self, step)  # type: ignore[misc]
        self._queue.mark_durable(step)

    patch.setattr(CommitLoop, "_commit_metadata", plain)


@of_store("go-alone", "a", "the store does not recover")
def overwrites_the_newest_slot(patch: Patch) -> None:
    async def write(loop: CommitLoop, step: PersistStep) -> None:
        slot = Slot(loop.slot.generation + 1, step.metadata)
        await loop._file.write_through([(loop._slot_index * SLOT_BYTES, encode_slot(step.payload, slot.generation))])
        loop.slot = slot

    new_slots = _slots.new_slots
    patch.setattr("ctlha_trio.store._files.new_slots", lambda *of: new_slots(*of)[:SLOT_BYTES] + bytes(SLOT_BYTES))
    patch.setattr(_blocks, "choose_slot", lambda path, head: (0, choose_first(head)))
    commit_metadata(patch, write)


def choose_first(head: bytes) -> Slot:
    return _slots.choose_slot("volume", head)[1]


@of_store("go-alone", "a", "metadata is neither")
def answers_a_persist_before_its_flush(patch: Patch) -> None:
    async def write(loop: CommitLoop, step: PersistStep) -> None:
        index = (loop._slot_index + 1) % SLOT_COUNT
        slot = Slot(loop.slot.generation + 1, step.metadata)
        await loop._file._file.pwrite([(index * SLOT_BYTES, encode_slot(step.payload, slot.generation))])
        loop.slot, loop._slot_index = slot, index

    commit_metadata(patch, write)


@of_store("return", "b", "metadata is neither")
def falls_back_to_the_older_slot(patch: Patch) -> None:
    def choose(path: str, head: bytes) -> tuple[int, Slot]:
        found = [_slots.decode_slot(head[index * SLOT_BYTES : (index + 1) * SLOT_BYTES]) for index in range(SLOT_COUNT)]
        valid = [(index, slot) for index, slot in enumerate(found) if isinstance(slot, Slot)]
        return min(valid, key=lambda choice: choice[1].generation)

    patch.setattr(_blocks, "choose_slot", choose)


@of_store("go-alone", "a", "metadata slot is whole but makes no sense")
def believes_a_torn_slot(patch: Patch) -> None:
    def decode(raw: bytes) -> Slot | _slots.Flaw:
        magic, _, generation, size, _ = _slots._HEADER.unpack_from(raw)
        if magic != _slots._MAGIC:
            return _slots.Flaw.FOREIGN
        return Slot(generation, *_slots._decode_payload(raw[_slots._HEADER.size :][:size], _slots.SLOT_FORMAT))

    patch.setattr(_slots, "decode_slot", decode)


@of_store("go-alone", "a", "marks are not those promised")
def answers_a_mark_before_its_flush(patch: Patch) -> None:
    async def save(self: WriteTracker) -> bool:
        changed = self.bitmap.take_changed()
        await self._file._file.pwrite(changed)
        return bool(changed)

    async def write(self: WriteTracker, page: _activity_log.ActivityPage) -> None:
        await self._file._file.pwrite([(page.offset, encode_activity(page))])
        self.page = page

    patch.setattr(WriteTracker, "save_bitmap", save)
    patch.setattr(WriteTracker, "_write", write)


@of_store("write", "a", "cut again in the recovery")
def closes_extents_before_they_are_marked(patch: Patch) -> None:
    async def settle(self: WriteTracker, crashed: Collection[tuple[int, int]], epoch: int) -> None:
        await self._write(self.page.succeed(()))
        await self.mark_dirty(crashed, epoch)

    patch.setattr(WriteTracker, "settle", settle)


@of_store("write", "a", "cut again in the recovery")
def seals_torn_blocks_after_their_extents_are_closed(patch: Patch) -> None:
    plain = CommitLoop._reseal

    async def recover(self: CommitLoop, *, reseal: bool) -> None:
        groups = sorted(self._tracker.page.extents)
        if self.is_recovered or not groups:
            return
        layout = self._volume.layout
        await self._tracker.settle(
            [(group << 20, layout.group_bytes(group)) for group in groups], self.slot.metadata.epoch
        )
        await plain(self, groups)
        self.is_recovered = True

    patch.setattr(CommitLoop, "recover", recover)


@of_store("write", "a", "is damaged, and was whole")
def leaves_torn_blocks_as_they_are(patch: Patch) -> None:
    async def reseal(self: CommitLoop, groups: Sequence[int]) -> list[int]:
        return []

    patch.setattr(CommitLoop, "_reseal", reseal)


@of_store("go-alone", "a", "not marked")
def believes_the_older_page_of_the_log(patch: Patch) -> None:
    def choose(path: str, raw: bytes) -> _activity_log.ActivityPage:
        found = [_activity_log.decode_activity(raw[at : at + 4096]) for at in (0, 4096)]
        return min((page for page in found if page is not None), key=lambda page: page.generation)

    patch.setattr(_blocks, "choose_activity", choose)


@of_store("resync", "a", "marks are not those promised")
def takes_an_unreadable_page_of_marks_as_clean(patch: Patch) -> None:
    plain = DirtyBitmap.load

    def load(self: DirtyBitmap, raw: bytes, base_epoch: int) -> None:
        plain(self, raw, base_epoch)
        if [*self.ranges()] == [(0, self._layout.size_bytes)]:
            self.clear(0, self._layout.size_bytes)

    patch.setattr(DirtyBitmap, "load", load)


@of_store("return, stopped", "b", "metadata is neither")
def persists_over_what_a_killed_process_had_not_flushed(patch: Patch) -> None:
    async def write(loop: CommitLoop, step: PersistStep) -> None:
        index = (loop._slot_index + 1) % SLOT_COUNT
        slot = Slot(loop.slot.generation + 1, step.metadata)
        await loop._tracker.save_bitmap()
        await loop._file.write_through([(index * SLOT_BYTES, encode_slot(step.payload, slot.generation))])
        loop.slot, loop._slot_index = slot, index

    commit_metadata(patch, write)


@of_store("resync", "a", "is damaged, and was whole")
def closes_extents_over_what_a_killed_process_had_not_flushed(patch: Patch) -> None:
    async def settle(self: WriteTracker, crashed: Collection[tuple[int, int]], epoch: int) -> None:
        await self.mark_dirty(crashed, epoch)
        self._file.owes_flush = False  # a page of the log is not flushed before either
        await self._write(self.page.succeed(()))

    patch.setattr(WriteTracker, "settle", settle)


def put_tables(patch: Patch, put: Callable[[RecordKeeper, RecordTable], object]) -> None:
    """Replace how a table of records is made durable."""

    async def replace(self: RecordKeeper, records: Records) -> None:
        table = RecordTable(self._table.generation + 1, records)
        await put(self, table)  # type: ignore[misc]
        self._table = table

    patch.setattr(RecordKeeper, "replace", replace)


@of_store("put", "a", "both tables of records are damaged")
def answers_a_put_before_its_flush(patch: Patch) -> None:
    async def put(keeper: RecordKeeper, table: RecordTable) -> None:
        for area in range(RECORDS_AREAS):
            await keeper._file._file.pwrite([(area_offset(area), encode_table(table))])

    put_tables(patch, put)


@of_store("put", "b", "both tables of records are damaged")
def writes_both_tables_in_one_flush(patch: Patch) -> None:
    async def put(keeper: RecordKeeper, table: RecordTable) -> None:
        await keeper._file.write_through([(area_offset(area), encode_table(table)) for area in range(RECORDS_AREAS)])

    put_tables(patch, put)


@of_store("put", "a", "records are none")
def falls_back_to_the_older_table(patch: Patch) -> None:
    """Of two that are written by turns."""

    def choose(_path: str, raw: bytes) -> tuple[int, RecordTable]:
        areas = [raw[area * RECORDS_AREA_BYTES : (area + 1) * RECORDS_AREA_BYTES] for area in range(RECORDS_AREAS)]
        tables = [(area, table) for area, table in enumerate(map(decode_table, areas)) if table is not None]
        return min(tables, key=lambda each: each[1].generation)

    async def put(keeper: RecordKeeper, table: RecordTable) -> None:
        keeper._area = (keeper._area + 1) % RECORDS_AREAS
        await keeper._file.write_through([(area_offset(keeper._area), encode_table(table))])

    put_tables(patch, put)
    patch.setattr(_blocks, "choose_table", choose)


@of_store("put", "a", "records")
def believes_a_torn_table(patch: Patch) -> None:
    patch.setattr(_record_copies, "crc32c", lambda *_: 0)


@of_store("put", "a", "both tables of records are damaged")
def puts_a_record_over_what_a_killed_process_had_not_flushed(patch: Patch) -> None:
    async def put(keeper: RecordKeeper, table: RecordTable) -> None:
        for step in range(1, RECORDS_AREAS + 1):
            place = area_offset((keeper._area + step) % RECORDS_AREAS)
            await keeper._file.write_through([(place, encode_table(table))])

    put_tables(patch, put)


@of_store("lost", "a", "was told to be damaged")
def seals_what_was_told_to_be_damaged(patch: Patch) -> None:
    plain = CheckedVolume.reseal

    async def reseal(self: CheckedVolume, group: int, epoch: int, _known: KnownDamage) -> tuple[bytes, list[int]]:
        return await plain(self, group, epoch, NO_DAMAGE)

    patch.setattr(CheckedVolume, "reseal", reseal)


@of_store("lost", "a", "was told to be damaged")
def tells_of_damage_before_its_flush(patch: Patch) -> None:
    async def know(self: WriteTracker, damage: KnownDamage) -> None:
        if damage != self.page.damage:
            page = attrs.evolve(self.page.succeed(self.page.extents), damage=damage)
            await self._file._file.pwrite([(page.offset, encode_activity(page))])
            self.page = page

    patch.setattr(WriteTracker, "know", know)


@of_store("repair", "a", "was told to be damaged")
def names_a_block_no_more_before_its_repair_is_durable(patch: Patch) -> None:
    plain = CommitLoop._name_damage

    async def name(
        self: CommitLoop, steps: Sequence[WriteStep], refusals: Collection[DamagedBlockError]
    ) -> Collection[int]:
        healed = await plain(self, steps, refusals)
        await self._tracker.know(self.known_damage.remove(healed))
        return healed

    patch.setattr(CommitLoop, "_name_damage", name)


@of_store("repair, there", "b", "is damaged, and was whole")
def names_a_block_for_good(patch: Patch) -> None:
    """Also where it is whole again when a write of it begins, which may be torn."""
    plain = WriteTracker.know

    async def know(self: WriteTracker, damage: KnownDamage) -> None:
        await plain(self, self.page.damage.add(damage.blocks))

    patch.setattr(WriteTracker, "know", know)


# The pair.


@of_pair("return", "b", "the records differ")
def keeps_its_own_records_when_it_is_sealed(patch: Patch) -> None:
    plain = Step.do

    def do(self: Step, action: act.Action) -> None:
        if not isinstance(action, act.ReplaceRecords):
            plain(self, action)

    patch.setattr(Step, "do", do)


@of_pair("return", "b", "holds a copy that is resyncing")
def seals_without_a_persist(patch: Patch) -> None:
    def seal(step: Step) -> None:
        if step.state.phase is Phase.RESYNCING and not step.state.storing:
            step.do(act.ReplaceRecords())
            admission.seal_persisted(step)

    patch.setattr(admission, "seal", seal)


@of_pair("return", "b", "the disk of b is still in")
def joins_without_a_persist(patch: Patch) -> None:
    def admitted(step: Step, message: msg.Admitted) -> None:
        record = step.state.record
        assert record is not None
        record = record.succeed(primary=step.state.peer, members=step.state.both, proposal=message.proposal)
        step.change(record=record, revision=message.revision)
        admission.admission_persisted(step)

    patch.setattr(admission, "admitted", admitted)


@of_pair("go-alone", "a", "the disk of a is still in")
def serves_alone_before_it_is_persisted(patch: Patch) -> None:
    plain = membership.secure

    def secure(step: Step) -> None:
        plain(step)
        for flight in step.state.flights:
            if flight.here and flight.there:
                service._finish(step, flight)

    patch.setattr(membership, "secure", secure)


@of_pair("write, slow link", "a", "differ")
def compares_nothing_of_what_a_crash_left(patch: Patch) -> None:
    """The extents that were open are neither marked nor known."""

    async def settle(self: WriteTracker, crashed: Collection[tuple[int, int]], epoch: int) -> None:
        await self.mark_dirty((), epoch)
        await self._write(self.page.succeed(()))

    patch.setattr(WriteTracker, "settle", settle)


of_pair("return, stopped", "b", "differ")(takes_a_mark_away_once_the_range_is_sent)
of_pair("return", "b", "holds a copy that is resyncing")(seals_before_it_is_persisted)
of_pair("write", "b", "not durable on b")(answers_a_mirrored_write_before_it_is_stored)
of_pair("write, slow link", "a", "differ")(ignores_what_the_target_names)


@pytest.mark.parametrize("name", OF_STORE)
def test_states_of_a_store_find(name: str, monkeypatch: Patch) -> None:
    plant, where = OF_STORE[name]
    plant(monkeypatch)
    began_s = perf_counter()
    found = enumerate_store(where.scenario, where.victim)
    cost = f"{perf_counter() - began_s:.1f} s, {found.counts}"
    print(f"{name}: {cost}: {where.said}", *found.problems, sep="\n")  # noqa: T201 (shown by pytest -rP)
    assert any(where.said in problem for problem in found.problems)


@pytest.mark.parametrize("name", OF_PAIR)
def test_runs_of_the_pair_find(name: str, monkeypatch: Patch) -> None:
    plant, where = OF_PAIR[name]
    plant(monkeypatch)
    began_s = perf_counter()
    found = enumerate_pair(where.scenario, where.victim, both=where.both)
    cost = f"{perf_counter() - began_s:.1f} s, {found.cuts} moments, {found.runs} runs"
    print(f"{name}: {cost}: {where.said}", *found.problems, sep="\n")  # noqa: T201 (shown by pytest -rP)
    assert any(where.said in problem for problem in found.problems)
