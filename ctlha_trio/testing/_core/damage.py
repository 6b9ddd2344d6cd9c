"""What a simulated disk does about blocks that do not hold what their checksums say."""

from collections import Counter
from typing import Protocol

from ctlha_trio.pair import actions as act
from ctlha_trio.testing._core.atlas import Atlased, disk_may_fail
from ctlha_trio.testing._core.node import DiskCall, SimulatedNode, blocks_of


class Damageable(Atlased, Protocol):
    """Whose disks they are, and who counts."""

    faults_done: Counter[str]
    spares_last_copy: bool

    def fail_disk(self, node: SimulatedNode, why: str) -> None:
        """Nothing that is under way at the disk ends, and the process is told."""


def meets_damage(pair: Damageable, node: SimulatedNode, call: DiskCall) -> bool:
    """Whether a read finds a block that is not what its checksum says: it returns nothing, and the store fails."""
    match call:
        case act.FetchRead(operation=operation):
            offset, size = operation.offset, operation.size
        case act.SendCompare(offset=offset, size=size) | act.CompareRange(offset=offset, size=size):
            pass
        case _:
            return False
    met = [block for block in blocks_of(offset, size) if block in node.damaged]
    if not met:
        return False
    if pair.spares_last_copy and not disk_may_fail(pair, node):
        for block in met:
            del node.damaged[block]
        return False
    pair.faults_done.update({node.damaged[block] for block in met})
    pair.fail_disk(node, f"a read finds block {met[0]} damaged")
    return True
