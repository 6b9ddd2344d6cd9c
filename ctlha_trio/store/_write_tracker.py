"""Activity log and dirty bitmap of an open store: what is durable of them before and with each write."""

from collections.abc import Collection, Sequence

import attrs

from ctlha_trio.store._activity_log import ACTIVITY_PAGES, ActivityPage, OpenExtents, encode_activity
from ctlha_trio.store._dirty_bitmap import DirtyBitmap
from ctlha_trio.store._known_damage import KnownDamage
from ctlha_trio.store._watched_file import WatchedFile


@attrs.define(eq=False, repr=False)
class WriteTracker:
    """Everything here is called while no data is being written, so that whatever is not asked for is idle."""

    _file: WatchedFile
    page: ActivityPage
    """The last one that is durable."""
    bitmap: DirtyBitmap
    damage: KnownDamage = attrs.field(init=False)
    """What that page says, or the one that is being written in its place."""
    _open: OpenExtents = attrs.field(factory=OpenExtents, init=False)

    @damage.default
    def _as_found(self) -> KnownDamage:
        return self.page.damage

    async def admit(self, extents: Collection[int]) -> None:
        """Make durable that data may be under way in these extents. Nothing to do if they are open."""
        if self._open.use(extents):
            await self._write(self.page.succeed(self._open))

    def admit_at_once(self, extents: Collection[int]) -> bool:
        """``admit``, if there is nothing to do; whether there was not."""
        return self._open.holds(extents) and not self._open.use(extents)

    async def know(self, damage: KnownDamage) -> None:
        """Make durable what is known to be damaged. Nothing to do if that is what was known."""
        self.damage = damage
        if damage != self.page.damage:
            await self._write(attrs.evolve(self.page.succeed(self.page.extents), damage=damage))

    def mark(self, ranges: Collection[tuple[int, int]]) -> Sequence[tuple[int, bytes]]:
        """Mark ranges, if writes are to be; the pages of the bitmap that have to be durable with the data."""
        if self.page.tracking:
            for offset, size in ranges:
                self.bitmap.mark(offset, size)
        return self.bitmap.take_changed()

    async def mark_dirty(self, ranges: Collection[tuple[int, int]], epoch: int) -> None:
        """Make durable that these ranges may differ, since ``epoch`` if nothing else is counted from."""
        if self.bitmap.base_epoch is None:
            self.bitmap.reset(epoch)
        for offset, size in ranges:
            self.bitmap.mark(offset, size)
        await self.save_bitmap()
        if self.page.base_epoch is None:
            await self._rebase(attrs.evolve(self.page, base_epoch=self.bitmap.base_epoch))

    async def save_bitmap(self) -> bool:
        """Make durable what the disk does not have of the bitmap; whether there was anything."""
        changed = self.bitmap.take_changed()
        if changed:
            await self._file.write_through(changed)
        return bool(changed)

    async def start(self, base_epoch: int) -> None:
        """Mark every write from now on. Another base than before: nothing that was dirty is any more."""
        if self.bitmap.base_epoch != base_epoch:
            self.bitmap.reset(base_epoch)
        # Before the log names the base: a page of another base says that all is dirty, never that nothing is.
        await self.save_bitmap()
        await self._rebase(attrs.evolve(self.page, base_epoch=base_epoch, tracking=True))

    async def stop(self) -> None:
        """Forget what is dirty and mark nothing more. Nothing to do if nothing is counted."""
        if self.page.base_epoch is None and not self.page.tracking:
            return
        self.bitmap.forget()
        await self._rebase(attrs.evolve(self.page, base_epoch=None, tracking=False))

    async def close_extents(self) -> None:
        """Nothing is under way any more."""
        await self.save_bitmap()
        if self.page.extents:
            self._open.clear()
            await self._write(self.page.succeed(()))

    async def settle(self, crashed: Collection[tuple[int, int]], epoch: int) -> None:
        """Make durable that these ranges may differ from the peer's copy since ``epoch``, then close their extents."""
        await self.mark_dirty(crashed, epoch)
        # What a killed process has left unflushed reads as whole, and may yet be torn: not outside of an open extent.
        await self._file.flush()
        await self._write(self.page.succeed(()))

    async def _rebase(self, page: ActivityPage) -> None:
        """On both pages, so that the decay of one does not bring the old base back."""
        for _ in range(ACTIVITY_PAGES):
            page = page.succeed(page.extents)
            await self._write(page)

    async def _write(self, page: ActivityPage) -> None:
        # The page before, or a block that this one says is whole, may be what a killed process has left unflushed.
        if self._file.owes_flush:
            await self._file.flush()
        await self._file.write_through([(page.offset, encode_activity(page))])
        self.page = page
