"""What the streams of all transports have in common."""

from abc import ABC, abstractmethod
from typing import ClassVar

import attrs

from ctlha_trio.seams._one_at_a_time import OneAtATime
from ctlha_trio.seams._sending import Sending
from ctlha_trio.seams._turn import TURN_BYTES, Turn
from ctlha_trio.seams._types import Buffer


@attrs.define(eq=False)
class PolledStream(ABC):
    """A ``Stream`` that asks its transport first, and waits only if it must."""

    turn_bytes: ClassVar[int] = TURN_BYTES
    """Moved at the most before others run, each way."""
    _sending: Sending = attrs.field(init=False)
    _receiving: OneAtATime = attrs.field(factory=lambda: OneAtATime("receiving"), init=False)
    _turn: Turn = attrs.field(init=False)
    """Of receiving."""

    def __attrs_post_init__(self) -> None:
        """Give the sending half its calls."""
        self._sending = Sending(self._put, self._wait_for_room, Turn(self.turn_bytes))
        self._turn = Turn(self.turn_bytes)

    def send_nowait(self, *pieces: Buffer) -> bool:
        """Send without waiting; False if ``flush`` must send a rest that was kept."""
        return self._sending.send_nowait(*pieces)

    async def flush(self) -> None:
        """Send what ``send_nowait`` kept. Cancelled: the rest is still kept."""
        await self._sending.flush()

    async def send_all(self, *pieces: Buffer) -> None:
        """Send everything. Cancelled: an unknown part was sent, and nothing can be sent any more."""
        await self._sending.send_all(*pieces)

    async def receive_into(self, buffer: memoryview) -> int:
        """Wait for at least one byte, fill up to the buffer's size with what has come; 0 at the end of the stream."""
        if not len(buffer):
            raise ValueError("the buffer has no room: 0 would read as the end of the stream")
        receiving, turn = self._receiving, self._turn
        receiving.check()
        receiving.is_held = True  # not by ``with``, whose two calls each message would pay for
        try:
            if turn.left_bytes <= 0:
                await turn.end()
            while (count := self._take(buffer)) is None:
                await self._wait_for_data()
                turn.begin()
            turn.spend(count)
            return count
        finally:
            receiving.is_held = False

    @abstractmethod
    def _put(self, pieces: list[memoryview]) -> int:
        """As ``write`` of ``Sending``."""

    @abstractmethod
    def _take(self, buffer: memoryview) -> int | None:
        """Take what has come: how many bytes, 0 at the end, None if there are none yet.

        The errors of a stream that is gone; ``ValueError`` if the buffer was released.
        """

    @abstractmethod
    async def _wait_for_room(self) -> None:
        """Return when more can be put, or it is worth asking again."""

    @abstractmethod
    async def _wait_for_data(self) -> None:
        """Return when more can be taken, or it is worth asking again."""
