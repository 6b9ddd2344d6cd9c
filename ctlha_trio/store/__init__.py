"""The durable part of a node: one backing file with the volume's bytes and the metadata about its copy.

``_slots`` is the form of the file's head, ``_queue`` what waits to become durable, ``_blocks`` the store itself,
``_files`` what is done with a backing file while no node has it open.
"""

from ctlha_trio.store._blocks import BlockStore as BlockStore
from ctlha_trio.store._condemn import condemn_copy as condemn_copy
from ctlha_trio.store._files import (
    create_store_file as create_store_file,
    image as image,
    read_volume as read_volume,
)
from ctlha_trio.store._queue import (
    BATCH_BYTES_MAX as BATCH_BYTES_MAX,
    BATCH_STEPS_MAX as BATCH_STEPS_MAX,
)
from ctlha_trio.store._slots import DATA_OFFSET as DATA_OFFSET, HEAD_BYTES as HEAD_BYTES, choose_slot as choose_slot
