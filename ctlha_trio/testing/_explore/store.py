"""Parts of explored worlds, each kept once and known by a number, and what each of them counts."""

from typing import Any

import attrs

from ctlha_trio.testing._explore.counters import Counters, counters_of
from ctlha_trio.testing._explore.renaming import Count, count


@attrs.define(eq=False)
class PartStore:
    """Numbers for parts."""

    parts: list[Any] = attrs.Factory(list)
    counts: list[Count] = attrs.Factory(list)
    """By part."""
    _numbers: dict[Any, int] = attrs.Factory(dict)
    _count_of: dict[Counters, Count] = attrs.Factory(dict)

    def add(self, part: Any) -> int:
        """The part's number."""
        number = self._numbers.get(part)
        if number is None:
            number = self._numbers[part] = len(self.parts)
            self.parts.append(part)
            counters = counters_of(part)
            found = self._count_of.get(counters)
            if found is None:
                found = self._count_of[counters] = count(counters)
            self.counts.append(found)
        return number
