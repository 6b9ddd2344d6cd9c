"""A bug that is planted in the link, and the seeds of links that are to find it."""

from collections.abc import Iterator
from typing import Final

import attrs

from tests.mutants.trouble import Patch, Plant

SEEDS_MAX: Final = 40
"""So many are run until one finds the bug."""


@attrs.frozen
class LinkBug:
    """What is planted, which rule must find it, and where."""

    plant: Plant
    found: str
    """How the failure begins."""
    first_seed: int = 0
    """One that was known to find it when this was written: those before it did not."""

    @property
    def name(self) -> str:
        return self.plant.__name__

    def plant_in(self, patch: Patch) -> None:
        self.plant(patch)

    def seeds(self) -> Iterator[int]:
        return iter(range(self.first_seed, self.first_seed + SEEDS_MAX))
