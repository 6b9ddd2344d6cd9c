"""Parts of explored worlds, each kept once and known by a number, and what each of them counts."""

from typing import Any

import attrs

from ctlha_trio.testing._explore.counters import Counters, counters_of
from ctlha_trio.testing._explore.renaming import Count, count


@attrs.define(eq=False)
class PartStore:
    """Numbers for parts."""

    parts: list[Any] = attrs.Factory(list)
    counters: list[Counters] = attrs.Factory(list)
    """By part, as is below."""
    counts: list[Count] = attrs.Factory(list)
    _numbers: dict[Any, int] = attrs.Factory(dict)
    _count_of: dict[Counters, Count] = attrs.Factory(dict)
    _same: dict[Count, Count] = attrs.Factory(dict)
    _beside: dict[tuple[int, int], Count] = attrs.Factory(dict)

    def add(self, part: Any) -> int:
        """The part's number."""
        number = self._numbers.get(part)
        if number is None:
            number = self._numbers[part] = len(self.parts)
            self.parts.append(part)
            counters = counters_of(part)
            self.counters.append(counters)
            found = self._count_of.get(counters)
            if found is None:
                found = self._count_of[counters] = self._once(count(counters))
            self.counts.append(found)
        return number

    def _once(self, counted: Count) -> Count:
        return self._same.setdefault(counted, counted)

    def beside(self, part: int, other: int) -> Count:
        """What both count: equal ones are the same object."""
        first, second = self.counts[part], self.counts[other]
        key = id(first), id(second)
        found = self._beside.get(key)
        if found is None:
            found = self._beside[key] = self._once(first.beside(second))
        return found
