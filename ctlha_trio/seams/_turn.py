"""Calls that need not wait, and yet let others run."""

import attrs
import trio

TURN_BYTES = 1024 * 1024
"""Moved without a checkpoint, per direction of a stream, where moving is copying. A third of a millisecond: much
against what a turn of the loop costs, little against what waits for one."""

MIN_CALL_BYTES = 16 * 1024
"""What a call counts for at the least, so that tiny ones add up too: it costs about what copying these does."""


@attrs.define(eq=False)
class Turn:
    """How much one direction of a stream may still move before it lets others run."""

    _size_bytes: int = TURN_BYTES
    left_bytes: int = attrs.field(init=False)
    """0 or less: ``end`` is due."""

    def __attrs_post_init__(self) -> None:
        self.begin()

    def spend(self, size_bytes: int) -> None:
        """Count a call that moved so much."""
        self.left_bytes -= size_bytes if size_bytes > MIN_CALL_BYTES else MIN_CALL_BYTES

    async def end(self) -> None:
        """Let others run. A checkpoint."""
        self.begin()
        await trio.lowlevel.checkpoint()

    def begin(self) -> None:
        """Start anew: others ran, since the stream had to wait."""
        self.left_bytes = self._size_bytes
