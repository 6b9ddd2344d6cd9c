"""The one task that writes: batches of steps, each durable before whoever waits for it is answered."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import attrs
import trio
from outcome import Error, Outcome

from ctlha_trio._errors import DamagedBlockError, RecordsFullError, StoreError
from ctlha_trio.store._activity_log import EXTENTS_OPEN_MAX
from ctlha_trio.store._checked_volume import CheckedVolume, SealedWrite
from ctlha_trio.store._known_damage import KnownDamage, blocks_in
from ctlha_trio.store._layout import BLOCK_BYTES, GROUP_BLOCKS, GROUP_BYTES, groups_of
from ctlha_trio.store._queue import OrderStep, PersistStep, Step, StepQueue, WriteStep
from ctlha_trio.store._slots import SLOT_BYTES, SLOT_COUNT, Slot, encode_slot
from ctlha_trio.store._watched_file import WatchedFile
from ctlha_trio.store._write_batch import WriteBatch
from ctlha_trio.store._write_tracker import WriteTracker

AT_ONCE_BYTES_MAX: Final = 32 * 1024
"""Of a write that is begun by whoever calls: its checksums take a few microseconds."""


@attrs.frozen
class Recovery:
    """What an unclean end has left."""

    extents: tuple[tuple[int, int], ...] = ()
    """Offset and size of the ranges in which a write may have been under way."""
    resealed: tuple[int, ...] = ()
    """Where blocks in them begin that were not whole and now are what they happened to hold."""


@attrs.define(eq=False, repr=False)
class CommitLoop:
    """Nothing else writes to the file while the store is open."""

    _file: WatchedFile
    _queue: StepQueue
    _volume: CheckedVolume
    _tracker: WriteTracker
    slot: Slot
    """The last one that is durable."""
    _slot_index: int
    is_recovered: bool = attrs.field(init=False)
    """Whether a block that is not whole is damaged for certain."""
    _runs: bool = attrs.field(default=False, init=False)
    _recovering: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @is_recovered.default
    def _ended_cleanly(self) -> bool:
        return not self._tracker.page.extents

    async def run(self) -> None:
        """Recover, then commit until cancelled or dead."""
        self._runs = True
        try:
            await self.recover(reseal=True)
            while True:
                await self._commit(await self._queue.take())
        finally:
            try:
                await self._queue.wait_alone()
            finally:
                self._queue.die(StoreError("its commit loop ended"))

    @trio.lowlevel.enable_ki_protection  # an interrupt must not leave the step begun and the disk idle, nor vice versa
    def commit_at_once(self, step: WriteStep, nursery: trio.Nursery) -> bool:
        """Begin with one small write at once, if nothing else is under way and one call to the disk is all it takes.

        False, and nothing was done, if not. It spares the write two turns of the loop, one to wake ``run`` and one to
        come back to it. A larger one can do with them: what its checksums take would hold up whoever is here.
        """
        if not self._queue.is_idle or step.size_bytes > AT_ONCE_BYTES_MAX:
            return False
        where = step.offset, step.size_bytes
        if self.known_damage.blocks and not self.known_damage.blocks.isdisjoint(blocks_in([where])):
            return False
        batch = WriteBatch(self._volume)
        sealed = batch.seal_at_once(self.slot.metadata.epoch) if batch.add_whole(step.offset, step.data) else None
        if sealed is None or not self._tracker.admit_at_once(groups_of(*where)):
            return False
        self._queue.begin_alone(step)
        try:
            self._volume.start_put(sealed, self._tracker.mark([where]), partial(self._end_alone, step), nursery)
        except BaseException:
            self._queue.end_alone()
            raise
        return True

    def _end_alone(self, step: WriteStep, ended: Outcome[None]) -> None:
        """Called by nobody who could take an error: what the store died of is known, any other is for ``run``."""
        self._queue.end_alone()
        failure = ended.error if isinstance(ended, Error) else None
        if isinstance(failure, trio.Cancelled) or (isinstance(failure, StoreError) and self._queue.is_dead):
            return
        try:
            ended.unwrap()
            self._queue.mark_durable(step)
        except BaseException as error:
            self._queue.fail(error)

    async def recover(self, *, reseal: bool) -> Recovery:
        """See ``BlockStore.recover``."""
        async with self._recovering:
            if self.is_recovered:
                return Recovery()
            groups = sorted(self._tracker.page.extents)
            resealed = await self._reseal(groups) if reseal else []
            layout = self._volume.layout
            extents = tuple((group * GROUP_BYTES, layout.group_bytes(group)) for group in groups)
            await self._tracker.settle(extents, self.slot.metadata.epoch)
            inside = {block for block in self.known_damage.blocks if block // GROUP_BLOCKS in groups}
            await self._tracker.know(self.known_damage.remove(await self._volume.find_whole(inside)))
            self.is_recovered = True
            return Recovery(extents, tuple(block * BLOCK_BYTES for block in resealed))

    async def _reseal(self, groups: Sequence[int]) -> list[int]:
        pages: dict[int, bytes] = {}
        blocks: list[int] = []
        for group in groups:
            page, damaged = await self._volume.reseal(group, self.slot.metadata.epoch, self.known_damage)
            if damaged:
                pages[group] = page
                blocks.extend(damaged)
        if pages:
            place = self._volume.layout.entry_page_offset
            await self._volume.put(SealedWrite([(place(group), page) for group, page in pages.items()], pages))
        return blocks

    @property
    def known_damage(self) -> KnownDamage:
        """What is durably known to be damaged: nothing else may be told of."""
        return self._tracker.page.damage

    def stays_known(self, blocks: Collection[int]) -> bool:
        """Whether all of these are durably known, and none is about to be dropped, so that they may be told of."""
        return self.known_damage.covers(blocks) and self._tracker.damage.covers(blocks)

    async def know_damage_idle(self, blocks: Collection[int]) -> bool:
        """``know_damage`` of a store that has recovered and does not run yet; False, and nothing was done, if it does.

        For ``run`` nothing else writes; it begins with the lock.
        """
        async with self._recovering:
            if self._runs:
                return False
            await self.know_damage(blocks)
            return True

    async def know_damage(self, blocks: Collection[int]) -> None:
        """Make durable that these blocks are damaged. While nothing is being written."""
        await self._tracker.know(self.known_damage.add(blocks))

    async def _commit(self, steps: Sequence[Step]) -> None:
        writes: list[WriteStep] = []
        touched: set[int] = set()
        for step in steps:
            match step:
                case WriteStep():
                    groups = groups_of(step.offset, len(step.data))
                    if len(touched.union(groups)) > EXTENTS_OPEN_MAX:
                        await self._commit_writes(writes)
                        writes, touched = [], set()
                    writes.append(step)
                    touched.update(groups)
                case PersistStep() | OrderStep():
                    await self._commit_writes(writes)
                    writes, touched = [], set()
                    await (self._commit_metadata(step) if isinstance(step, PersistStep) else self._carry_out(step))
        await self._commit_writes(writes)

    async def _commit_writes(self, steps: Sequence[WriteStep]) -> None:
        batch = WriteBatch(self._volume)
        refused: dict[WriteStep, DamagedBlockError] = {}
        for step in steps:
            try:
                await batch.add(step.offset, step.data)
            except DamagedBlockError as error:
                refused[step] = error
        if steps:
            sealed = await batch.seal(self.slot.metadata.epoch)
            writes = [step for step in steps if not step.repairs]
            healed = await self._name_damage([step for step in steps if step not in refused], refused.values())
            # Without need no extent is opened: what lies in one is compared after a crash.
            await self._tracker.admit(
                {group for step in writes if step not in refused for group in groups_of(step.offset, len(step.data))}
            )
            # The peer may have executed what is refused here, and forgets it once that is told.
            marks = self._tracker.mark([(step.offset, len(step.data)) for step in writes])
            await self._volume.put(sealed, marks)
            # Before the next write of them begins: that one may be torn.
            await self._tracker.know(self.known_damage.remove(healed))
        for step in steps:
            if step in refused:
                self._queue.refuse(step, refused[step])
            else:
                self._queue.mark_durable(step)

    async def _name_damage(self, steps: Sequence[WriteStep], refusals: Collection[DamagedBlockError]) -> set[int]:
        """Before what these steps write, and before these refusals are told: make durable what is damaged.

        So are blocks under repair, for half of a repair must never be taken for whole. What turns out to be whole is
        named no more, for it may be torn now. Which of those that are named will be whole once all this is written.
        """
        told = {offset // BLOCK_BYTES for error in refusals for offset in error.offsets}
        named = told.union(blocks_in((step.offset, len(step.data)) for step in steps if step.repairs))
        if not named and not self.known_damage.blocks:
            return set()
        written = {*blocks_in((step.offset, len(step.data)) for step in steps)}
        known = self.known_damage.add(named)
        whole = await self._volume.find_whole(written.intersection(known.blocks) - named)
        await self._tracker.know(known.remove(whole))
        return written.intersection(self.known_damage.blocks)

    async def _commit_metadata(self, step: PersistStep) -> None:
        index = (self._slot_index + 1) % SLOT_COUNT
        slot = Slot(self.slot.generation + 1, step.metadata, self._volume.layout.size_bytes)
        # Metadata speaks about data and about what is dirty, so it must never be durable before these are.
        # And what an earlier process has left unflushed is all that holds if this write is torn.
        if not await self._tracker.save_bitmap():
            await self._file.flush()
        await self._file.write_through([(index * SLOT_BYTES, encode_slot(step.payload, slot.generation))])
        self.slot, self._slot_index = slot, index
        self._queue.mark_durable(step)

    async def _carry_out(self, step: OrderStep) -> None:
        try:
            await step.carry_out()
        except (DamagedBlockError, RecordsFullError) as error:
            self._queue.refuse(step, error)
        else:
            self._queue.mark_durable(step)
