"""The sending half of every stream, over two calls of its transport."""

from collections.abc import Awaitable, Callable

import attrs
import trio

from ctlha_trio.seams._one_at_a_time import OneAtATime
from ctlha_trio.seams._turn import Turn
from ctlha_trio.seams._types import Buffer

NOTHING = memoryview(b"")


@attrs.define(eq=False)
class Sending:
    """Sends buffers in order through ``write``, which takes what there is room for, and ``wait_for_room``.

    ``write`` never waits and returns how many bytes it took, from the first of the pieces on; 0: there is no room, and
    it wants the same pieces again. It raises the errors of a stream that is gone, for no pieces too.
    """

    _write: Callable[[list[memoryview]], int]
    _wait_for_room: Callable[[], Awaitable[None]]
    _turn: Turn
    _one: OneAtATime = attrs.field(factory=lambda: OneAtATime("sending"), init=False)
    _kept: memoryview = attrs.field(default=NOTHING, init=False)
    """What ``send_nowait`` found no room for."""
    _cut_short: bool = attrs.field(default=False, init=False)

    def send_nowait(self, *pieces: Buffer) -> bool:
        """``Stream.send_nowait``."""
        if self._one.is_held or self._kept or self._cut_short:
            self._refuse()
        if len(pieces) == 1:  # most often, and each message pays for it
            view = memoryview(pieces[0]).cast("B")
            left = [view] if view else []
        else:
            left = views_of(*pieces)
        try:
            sent = self._write(left)
            self._turn.left_bytes -= sent
            if len(left) == 1 and sent == len(left[0]):
                return True
            while drop(left, sent) and sent:
                sent = self._write(left)
                self._turn.left_bytes -= sent
        except trio.BrokenResourceError:
            # Whoever may not wait may not see to it either: the next one that sends learns of it.
            self._cut_short = True
            raise
        if left:
            self._kept = memoryview(b"".join(left))
        return not left

    def _refuse(self) -> None:
        self._one.check()
        if self._kept:
            raise trio.BusyResourceError("what was kept must be flushed first")
        self._raise_if_cut_short()

    async def flush(self) -> None:
        """``Stream.flush``."""
        with self._one:
            self._raise_if_cut_short()
            self._write([])
            await self._flush_kept()
            self._turn.spend(0)

    async def send_all(self, *pieces: Buffer) -> None:
        """``Stream.send_all``."""
        with self._one:
            self._raise_if_cut_short()
            left = views_of(*pieces)
            if self._kept or self._turn.left_bytes <= 0:
                await self._flush_kept()
            try:
                sent = self._write(left)
                while drop(left, sent):
                    await self._go_on(sent)
                    sent = self._write(left)
            except (trio.Cancelled, trio.BrokenResourceError):
                self._cut_short = True
                raise
            self._turn.spend(sent)

    async def _flush_kept(self) -> None:
        if self._turn.left_bytes <= 0:
            await self._turn.end()
        while self._kept:
            sent = self._write([self._kept])
            self._kept = self._kept[sent:] or NOTHING  # an empty part would keep the memory of the whole
            if self._kept:
                await self._go_on(sent)

    async def _go_on(self, sent: int) -> None:
        if not sent:
            await self._wait_for_room()
            self._turn.begin()
        else:
            self._turn.spend(sent)
            if self._turn.left_bytes <= 0:
                await self._turn.end()

    def _raise_if_cut_short(self) -> None:
        if self._cut_short:
            raise trio.BrokenResourceError("an earlier send broke or was cut short")


def views_of(*pieces: Buffer) -> list[memoryview]:
    """The bytes of each that has any."""
    return [view for piece in pieces if (view := memoryview(piece).cast("B"))]


def drop(pieces: list[memoryview], count: int) -> bool:
    """Take that many bytes from the front of the list; whether any are left."""
    whole = 0
    while whole < len(pieces) and len(pieces[whole]) <= count:
        count -= len(pieces[whole])
        whole += 1
    del pieces[:whole]
    if count:
        pieces[0] = pieces[0][count:]
    return bool(pieces)
