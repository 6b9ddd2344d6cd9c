"""Which parts of a ring in the peer's memory are in use: taken in a circle, given back in any order."""

from collections import deque

import attrs


@attrs.define(eq=False)
class _Taken:
    start: int
    end: int
    given_back: bool = False


@attrs.define(eq=False)
class Ring:
    """Bookkeeping of ``size`` bytes; touches no memory."""

    size: int
    _taken: deque[_Taken] = attrs.field(factory=deque, init=False)
    """Oldest first. Each lies behind the one before it, or at the start of the ring."""

    def take(self, size: int) -> int | None:
        """The offset of ``size`` bytes in one piece, or None while there is no room."""
        start = self._find(size)
        if start is not None:
            self._taken.append(_Taken(start, start + size))
        return start

    def give_back(self, start: int) -> None:
        """The bytes taken at ``start`` may be taken again."""
        for taken in self._taken:
            if taken.start == start and not taken.given_back:
                taken.given_back = True
                break
        while self._taken and self._taken[0].given_back:
            self._taken.popleft()
        while self._taken and self._taken[-1].given_back:
            self._taken.pop()

    def _find(self, size: int) -> int | None:
        if not self._taken:
            return 0 if size <= self.size else None
        oldest, newest = self._taken[0], self._taken[-1]
        if newest.end <= oldest.start:
            return newest.end if newest.end + size <= oldest.start else None
        if newest.end + size <= self.size:
            return newest.end
        return 0 if size <= oldest.start else None
