"""The ring into which the peer pushes: data of writes is lent out of it, and no ring takes the place of another."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import attrs
import pytest

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.dma import TransferCounters
from ctlha_trio.ha._inbox import RING_BYTES, Inbox
from ctlha_trio.pair import CarriedRecord, DataFault, DataFaultTold, Pushed, ResyncLeft, Spoken, encode_record
from ctlha_trio.pair.messages import CopyData, MirrorRecord, MirrorWrite
from ctlha_trio.seams import Buffer

EPOCH = 5
SIZE = 4096
WRITE = MirrorWrite(EPOCH, 1, 0, 1, 0, SIZE)
COPY = CopyData(EPOCH, 2, 0, SIZE)


@attrs.define(eq=False)
class Key:
    key: bytes
    memory: memoryview

    def close(self) -> None:
        """The peer cannot reach it any more."""


@attrs.define(eq=False)
class Keys:
    """What is registered, in order."""

    regions: list[Key] = attrs.field(factory=list)
    _numbers: Iterator[int] = attrs.field(factory=lambda: count(1))

    def register(self, memory: memoryview, *, epoch: int, reserved: bool, counters: TransferCounters) -> Key:
        assert epoch in {EPOCH, EPOCH + 1}
        assert reserved
        assert counters.pushed_bytes_in == 0
        self.regions.append(Key(next(self._numbers).to_bytes(16), memory))
        return self.regions[-1]


def made() -> tuple[Inbox, Keys]:
    keys: Any = Keys()
    nobody: Any = object()
    inbox = Inbox(nobody, nobody, keys, nobody, nobody, size_bytes=1 << 20)
    return inbox, keys


def data_of(inbox: Inbox, spoken: Spoken) -> Buffer:
    return inbox._data_of(spoken)


def test_data_of_a_write_is_lent_and_that_of_all_else_is_copied() -> None:
    inbox, keys = made()
    assert inbox.grant(EPOCH) is not None
    keys.regions[0].memory[:SIZE] = b"x" * SIZE
    lent, copied = data_of(inbox, Pushed(WRITE, 0)), data_of(inbox, Pushed(COPY, 0))
    assert lent == copied == b"x" * SIZE
    keys.regions[0].memory[:1] = b"y"
    assert (bytes(lent[:1]), bytes(copied[:1])) == (b"y", b"x")
    assert isinstance(lent, memoryview)
    assert lent.readonly


def test_what_was_lent_stays_as_it_is_when_the_ring_is_granted_anew() -> None:
    """The disk may still write out of it, for a session that is over."""
    inbox, keys = made()
    assert inbox.grant(EPOCH) is not None
    keys.regions[0].memory[:SIZE] = b"x" * SIZE
    lent = data_of(inbox, Pushed(WRITE, 0))
    assert inbox.grant(EPOCH) is not None
    keys.regions[1].memory[:SIZE] = b"y" * SIZE
    assert lent == b"x" * SIZE
    assert data_of(inbox, Pushed(WRITE, 0)) == b"y" * SIZE


def test_what_was_placed_before_the_epoch_changed_is_what_the_peer_has_pushed() -> None:
    """Its message may still wait to be read: an honest peer that is overtaken by an epoch breaks no protocol."""
    inbox, keys = made()
    assert inbox.grant(EPOCH) is not None
    value = encode_record(CarriedRecord("key", EPOCH, 1, b"value"))
    keys.regions[0].memory[: len(value)] = value
    assert inbox.grant(EPOCH + 1) is not None
    assert data_of(inbox, Pushed(MirrorRecord(EPOCH, 1, 0, 1, len(value)), 0)) == value
    with pytest.raises(RemoteProtocolError, match="records"):
        data_of(inbox, Pushed(MirrorRecord(EPOCH + 1, 1, 0, 1, len(value)), 0))


def test_place_in_a_ring_that_was_never_granted_is_refused() -> None:
    inbox, _ = made()
    assert inbox.grant(EPOCH + 1) is not None
    with pytest.raises(RemoteProtocolError, match="no ring"):
        data_of(inbox, Pushed(WRITE, 0))


def test_place_beyond_the_ring_is_refused() -> None:
    inbox, _ = made()
    assert inbox.grant(EPOCH) is not None
    with pytest.raises(RemoteProtocolError, match="of the ring"):
        data_of(inbox, Pushed(WRITE, RING_BYTES - 1))


def test_blocks_beyond_the_volume_are_not_lost() -> None:
    inbox, _ = made()
    assert data_of(inbox, DataFaultTold(EPOCH, DataFault.BLOCKS_LOST, True, 0, 1 << 20)) == b""
    with pytest.raises(RemoteProtocolError, match="of the volume"):
        data_of(inbox, DataFaultTold(EPOCH, DataFault.BLOCKS_LOST, True, 4096, 1 << 20))


def test_more_that_is_left_than_the_volume_has_is_refused() -> None:
    inbox, _ = made()
    assert data_of(inbox, ResyncLeft(EPOCH, 1 << 20, 0, blocked=False)) == b""
    with pytest.raises(RemoteProtocolError, match="left of the volume"):
        data_of(inbox, ResyncLeft(EPOCH, (1 << 20) + 1, 0, blocked=False))
