"""What a node remembers of the blocks that its disk has not kept, and that it stays bounded."""

from ctlha_trio.ha._medium import DAMAGED_KEPT, REPAIRED_MAX, MediumLog
from ctlha_trio.store import BLOCK_BYTES


def test_damage_is_known_until_each_block_is_written() -> None:
    log = MediumLog()
    assert not log.has_damage
    assert log.add_damaged(3 * BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert not log.add_damaged(4 * BLOCK_BYTES, BLOCK_BYTES), "it is told once"
    assert log.damaged_bytes == 2 * BLOCK_BYTES
    log.note_write(BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert log.damaged_bytes == 2 * BLOCK_BYTES
    log.note_write(4 * BLOCK_BYTES, 7 * BLOCK_BYTES)
    assert log.damaged_bytes == BLOCK_BYTES
    log.note_repair(3 * BLOCK_BYTES, BLOCK_BYTES)
    assert (log.has_damage, log.damaged_bytes, log.repaired) == (False, 0, 1)


def test_a_block_that_is_read_whole_is_lost_only_where_the_copy_is_none_that_counts() -> None:
    log, mended = MediumLog(), list[tuple[int, int]]()
    log.on_mended = lambda offset, size: mended.append((offset, size))
    log.add_damaged(3 * BLOCK_BYTES, 2 * BLOCK_BYTES)
    log.note_read(3 * BLOCK_BYTES, BLOCK_BYTES)
    assert (log.damaged_bytes, mended) == (2 * BLOCK_BYTES, [])
    log.counts = lambda: True
    log.note_read(2 * BLOCK_BYTES, BLOCK_BYTES)
    assert (log.damaged_bytes, mended) == (2 * BLOCK_BYTES, [])
    log.note_read(3 * BLOCK_BYTES + 7, 1)
    assert (log.damaged_bytes, mended) == (BLOCK_BYTES, [(3 * BLOCK_BYTES + 7, 1)]), "blocks are read as a whole"


def test_a_disk_that_loses_more_than_disks_do_is_failing() -> None:
    log = MediumLog()
    log.note_repair(0, REPAIRED_MAX * BLOCK_BYTES)
    assert not log.is_failing
    log.note_repair(0, 100)
    assert log.is_failing


def test_more_damage_than_is_kept_is_not_forgotten() -> None:
    log = MediumLog()
    log.add_damaged(0, (DAMAGED_KEPT + 5) * BLOCK_BYTES)
    assert log.damaged_bytes == DAMAGED_KEPT * BLOCK_BYTES
    log.note_write(0, (DAMAGED_KEPT + 5) * BLOCK_BYTES)
    assert (log.damaged_bytes, log.has_damage) == (0, True)
