"""Trials of an arbiter that went back and let both copies count alone, one after the other, with nobody to tell."""

from functools import partial
from typing import Final

from ctlha_trio.pair import Phase
from ctlha_trio.testing._core import relief
from ctlha_trio.testing._core.atlas import outlived_by
from ctlha_trio.testing._core.backup import Backup
from ctlha_trio.testing._core.faults import BEHIND_BOTH
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.trial_parts import SERVE_S, has_persisted, is_in, keep_down, one_serves_alone, restore
from ctlha_trio.testing._core.trouble import Pace
from ctlha_trio.testing._core.world import CoreWorld

_CLAIMS_MAX: Final = 3
"""Behind the first, the records of the two are of different epochs."""
_LIFTED: Final = (0, 10)
"""By as much the revision of an etcd may be higher that was restored, or keeps other things too."""
_STARTS: Final = 3
"""Of the copy that is to be kept: what it has found it must know when it starts again, alone too."""


def a_copy_that_counted_alone_is_not_made_anew(world: CoreWorld) -> bool:
    """One node serves alone and goes down, the arbiter is restored, and the other one goes on from the old record.

    That one answers nobody here, for what it would answer were stale. Its claims move the record on. Then the first
    starts, and must keep its copy. At the end both disks, and the record, are what they were before.
    """
    pair = world.pair
    returning, member = one_serves_alone(world)
    keep_down(world, member)
    old = [each for each in outlived_by(pair, member) if returning.name in each.record.members]
    if not restore(world, old, BEHIND_BOTH):
        return False
    pair.arbiter.revision += world.random.choice(_LIFTED)
    disks = [(node, node.backup(), tuple(node.backups)) for node in (returning, member)]
    world.go_at(Pace(relief=0.0))
    returning.kept_down = False
    for _ in range(world.random.randint(1, _CLAIMS_MAX)):
        pair.take_down(returning, "crashes")
        claimed = partial(is_in, returning, Phase.ALONE)
        world.go_on_until(claimed, SERVE_S, f"{returning.name} does not go on from the record that it knows")
    held = list(member.sectors), dict(member.records)
    member.kept_down = False
    for _ in range(_STARTS):
        world.go_on_until(
            lambda: member.ended and has_persisted(member),
            SERVE_S,
            f"I2: {member.name} gives up what it has acknowledged alone, for a copy that never had it",
        )
        if (member.sectors, member.records) != held:
            raise world.failure(f"I2: the copy of {member.name} is not what it was")
        pair.take_down(member, "crashes")
        if world.random.getrandbits(1):
            keep_down(world, returning)
    _put_right(world, disks)
    return True


def _put_right(world: CoreWorld, disks: list[tuple[SimulatedNode, Backup, tuple[Backup, ...]]]) -> None:
    """Nothing is true of what came behind these disks, and copies of them."""
    pair = world.pair
    relief.give_back(pair)
    pair.arbiter.late.clear()
    for node, newest, backups in disks:
        node.newest = newest
        relief.give_disk_back(pair, node)
        node.backups.clear()
        node.backups.extend(backups)
