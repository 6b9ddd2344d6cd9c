"""The mark of a copy whose disk has failed under a node that still runs."""

import logging
from typing import Final

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio._repeats import Repeats
from ctlha_trio.ha._seen_time import LOOK_S
from ctlha_trio.pair import Metadata
from ctlha_trio.seams import Seams
from ctlha_trio.store import BlockStore, condemn_copy

_LOG: Final = logging.getLogger(__name__)


async def condemn(seams: Seams, store: BlockStore, volume_path: str, metadata: Metadata) -> None:
    """Mark the copy as dead, however long it takes: a call that still hangs keeps the file from opening.

    Unless its name is another file's by then: the copy ends with this process. The store is closed in any case.
    """
    repeats = Repeats()
    try:
        store.unlock()
        while True:
            try:
                await condemn_copy(seams.disk, volume_path, metadata, identity=store.file_identity)
            except StoreError as error:
                line = repeats.came(seams.clock.now(), str(error))
                if line is not None:
                    _LOG.warning("the copy on the failed disk is not marked as dead yet: %s", line)
            else:
                break
            await seams.clock.sleep_until(seams.clock.now() + LOOK_S)
    except ConfigError as error:
        _LOG.warning("the copy on the failed disk is not marked as dead: %s", error)
        return
    finally:
        store.close()
    _LOG.error("the copy on the failed disk is marked as dead")
