"""Memory that is being received into, and can be taken back at any moment."""

import attrs

from ctlha_trio._errors import LocalProtocolError


@attrs.define(eq=False)
class Landing:
    """Where the data of one frame goes. Nobody writes there any more once it is released, not even who waits to.

    Whoever waits for bytes with a part of it in hand gets a ``ValueError`` from that memory when they come, before any
    is written.
    """

    _memory: memoryview = attrs.field(repr=False)
    _part: memoryview | None = attrs.field(default=None, init=False, repr=False)
    """What was handed out last. Released too, for it would outlive the whole."""
    is_released: bool = attrs.field(default=False, init=False)

    @property
    def memory(self) -> memoryview:
        """All of it. Not to be kept."""
        return self._memory

    def part_from(self, start: int) -> memoryview:
        """What is behind ``start``; the part that was handed out before is gone."""
        if self.is_released:
            raise LocalProtocolError("the memory was taken back")
        if self._part is not None:
            self._part.release()
        self._part = self._memory[start:]
        return self._part

    def release(self) -> None:
        """All of it is there, or it is taken back. May be called twice."""
        self.is_released = True
        if self._part is not None:
            self._part.release()
        self._memory.release()
