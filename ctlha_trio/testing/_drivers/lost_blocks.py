"""Clients write anew what no copy that counts has, as the nodes name it."""

from collections.abc import Iterator
from typing import Final

import attrs

from ctlha_trio.store import BLOCK_BYTES
from ctlha_trio.testing._drivers.clients import BLOCK_SECTORS, DriverClients, whole_blocks
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._power.medium import SECTOR_BYTES

_LOOK_S: Final = 0.5


@attrs.define(eq=False)
class LostBlocks:
    """It keeps a resync from its end, and a node from saying that all is well, until somebody has written it."""

    _clients: DriverClients

    async def run(self) -> None:
        """Look after both nodes until cancelled."""
        while True:
            for offset, size in sorted(set(self._named())):
                first, last = offset // SECTOR_BYTES, (offset + size - 1) // SECTOR_BYTES
                for sector in range(first, last + 1, BLOCK_SECTORS):
                    await self._clients.operate(self._clients.pair.record.primary, 0, whole_blocks(sector, 1))
            await let_pass(_LOOK_S)

    def _named(self) -> Iterator[tuple[int, int]]:
        for node in self._clients.pair.nodes.values():
            for block in node._driver.data_faults.medium._damaged:
                yield block, BLOCK_BYTES
            resync = node.pair.resync
            for left_out in resync.left_out if resync else ():
                yield left_out.lost
