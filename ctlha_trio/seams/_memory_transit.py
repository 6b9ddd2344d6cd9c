"""Bytes on their way in one direction of a connection in memory."""

import math
from collections import deque

import attrs

from ctlha_trio.seams._types import Buffer


@attrs.define(eq=False)
class Transit:
    """Bytes in order, each with the time at which it is there. What was sent later is never there earlier."""

    _content: bytearray = attrs.field(factory=bytearray, init=False)
    _parts: deque[tuple[float, int]] = attrs.field(factory=deque, init=False)
    """Of ``_content``, in order: when it is there, and how many bytes of it are left."""
    _last_s: float = attrs.field(default=-math.inf, init=False)

    def __len__(self) -> int:
        """Bytes under way or not yet taken."""
        return len(self._content)

    @property
    def next_s(self) -> float:
        """When the first byte is there; never if there is none."""
        return self._parts[0][0] if self._parts else math.inf

    def arrival_s(self, due_s: float) -> float:
        """When something sent now is there that alone would be at ``due_s``: it may not overtake what was sent."""
        return max(due_s, self._last_s)

    def put(self, data: Buffer, due_s: float) -> None:
        """Send bytes that are there at ``due_s``, or when those before them are."""
        self._last_s = self.arrival_s(due_s)
        self._content += data
        self._parts.append((self._last_s, len(data)))

    def take(self, buffer: memoryview, now_s: float) -> int:
        """Move what is there into the buffer, as far as it has room; return how many bytes."""
        count = 0
        while self._parts and self._parts[0][0] <= now_s and count < len(buffer):
            due_s, left = self._parts.popleft()
            taken = min(left, len(buffer) - count)
            count += taken
            if taken < left:
                self._parts.appendleft((due_s, left - taken))
        buffer[:count] = self._content[:count]
        del self._content[:count]
        return count

    def clear(self) -> None:
        """Lose everything."""
        self._content.clear()
        self._parts.clear()
