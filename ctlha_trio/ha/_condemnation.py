"""The mark of a copy whose disk has failed under a node that still runs."""

import logging
from typing import Final

from ctlha_trio._errors import ConfigError
from ctlha_trio.ha._seen_time import LOOK_S
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Seams
from ctlha_trio.store import BlockStore, condemn_copy

_LOG: Final = logging.getLogger(__name__)


async def condemn_in_the_end(seams: Seams, store: BlockStore, volume_path: str, metadata: Metadata) -> None:
    """Mark the copy as dead, however long it takes: a call that still hangs keeps the file from opening.

    Unless its name is another file's by then: the copy ends with this process.
    """
    store.close()
    try:
        while not await condemn_copy(seams.disk, volume_path, metadata, identity=store.file_identity):
            await seams.clock.sleep_until(seams.clock.now() + LOOK_S)
    except ConfigError as error:
        _LOG.warning("the copy on the failed disk is not marked as dead: %s", error)
        return
    _LOG.error("the copy on the failed disk is marked as dead")
