"""The durable part of a node: one backing file with the volume's bytes and the metadata about its copy.

What lies in the file, as bytes and records without I/O: ``_layout`` (where), ``_slots`` (metadata), ``_checksums``
(of each block), ``_activity_log`` (where a crash may have torn a block), ``_dirty_bitmap`` (what may differ from the
peer's copy), ``_record_copies`` (records of the layers above), ``_size`` (whether all of it
is there). What does I/O: ``_queue`` is what waits to become
durable, ``_commit_loop`` the one task that writes it, by way of ``_write_batch``, ``_checked_volume``,
``_write_tracker``, ``_record_keeper`` and ``_watched_file``; ``_blocks`` is the store itself. ``_files`` is what is
done with a backing file while no node has it open, ``_salvage`` what is done with one that is not whole, and ``_facts``
what anybody may look at.
"""

from ctlha_trio.store._blocks import BlockStore as BlockStore
from ctlha_trio.store._commit_loop import Recovery as Recovery
from ctlha_trio.store._condemn import condemn_copy as condemn_copy, rewrite_metadata as rewrite_metadata
from ctlha_trio.store._dirty_bitmap import DIRTY_BYTES as DIRTY_BYTES
from ctlha_trio.store._facts import CopyFacts as CopyFacts, read_facts as read_facts
from ctlha_trio.store._files import (
    create_store_file as create_store_file,
    damaged_in as damaged_in,
    entries_for as entries_for,
    image as image,
    open_extents_in as open_extents_in,
    read_volume as read_volume,
)
from ctlha_trio.store._layout import (
    BLOCK_BYTES as BLOCK_BYTES,
    GROUP_BYTES as GROUP_BYTES,
    Layout as Layout,
    first_run as first_run,
    volume_in as volume_in,
)
from ctlha_trio.store._queue import (
    BATCH_BYTES_MAX as BATCH_BYTES_MAX,
    BATCH_STEPS_MAX as BATCH_STEPS_MAX,
)
from ctlha_trio.store._record_copies import records_in as records_in
from ctlha_trio.store._salvage import (
    Head as Head,
    Remains as Remains,
    read_head as read_head,
    read_remains as read_remains,
    salvage_copy as salvage_copy,
)
from ctlha_trio.store._slots import HEAD_BYTES as HEAD_BYTES, choose_slot as choose_slot
