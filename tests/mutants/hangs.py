"""A node does more, or less, than wait for a disk that hangs."""

from ctlha_trio.pair import events as ev
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.pair import SimulatedPair
from tests.mutants.trouble import Patch, mutant


@mutant("hang_disk")
def condemns_a_copy_that_only_hung(patch: Patch) -> None:
    plain = SimulatedPair.hang_disk

    def hang_disk(pair: SimulatedPair, node: SimulatedNode) -> None:
        plain(pair, node)
        pair.feed(node, ev.StoreFailed())

    patch.setattr(SimulatedPair, "hang_disk", hang_disk)
