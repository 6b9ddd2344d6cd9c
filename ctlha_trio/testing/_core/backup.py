"""What somebody who copies the disk of a simulated node takes away."""

import attrs

from ctlha_trio.pair import Metadata


@attrs.frozen(eq=False)
class Backup:
    """A copy of a disk: metadata, sectors, and as marked what the dirty bitmap and the activity log list."""

    metadata: Metadata
    sectors: tuple[int, ...]
    records: tuple[tuple[int, int], ...]
    base_epoch: int | None
    dirty: frozenset[int]
