"""What is written between two sends leaves in the order of its writing, in one piece or in several."""

from typing import Any, NoReturn

import pytest
import trio

from ctlha_trio.link import _writing
from ctlha_trio.link._channel import Channel
from ctlha_trio.link._events import Connected
from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.link._writing import COPIED_DATA_MAX, FrameWriter
from ctlha_trio.wire import (
    HEADER_SIZE,
    MESSAGES_SIZE_MAX,
    ChannelOffer,
    Flag,
    Fragment,
    FrameDecoder,
    SessionCore,
    encode_messages,
)


def test_what_was_not_copied_keeps_its_place_in_one_piece() -> None:
    def written() -> FrameWriter:
        writer = FrameWriter(SessionCore.begin(session=1, epoch=1, peer_epoch=1, now=0.0), LinkCounters())
        writer.write_withdrawal(1)
        data = memoryview(bytes(COPIED_DATA_MAX + 1))
        writer.write_fragment(Fragment(2, bytes(16), 0, len(data), data), Flag.REQUEST)
        writer.write_withdrawal(3)
        return writer

    pieces = written().take()
    assert len(pieces) == 3
    assert bytes(written().take_joined()) == b"".join(pieces)
    writer = written()
    writer.take_joined()
    assert not writer.take_joined()


class CopiedOnce(bytes):
    """A frame that is joined with all others at once, and not again with each that follows."""

    def __add__(self, _: Any) -> NoReturn:
        pytest.fail("the frames before it are copied for each frame")

    __radd__ = __add__


def test_the_frames_of_a_full_channel_are_joined_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, 4 MiB took 50 ms in a process that had not asked for as much memory before."""
    monkeypatch.setattr(_writing, "encode_messages", lambda *fields: CopiedOnce(encode_messages(*fields)))
    slots, slot_size, frames = 192, 1024, 3
    core = SessionCore.begin(session=1, epoch=1, peer_epoch=1, now=0.0)
    channel = Channel(1, slot_size, slots, on_drained=lambda _: None)
    flow = core.open_channel(1, slot_size=slot_size, slots=slots, free_slots=slots)
    flow.learn_offer(ChannelOffer(slot_size, slots, slots))
    connected = Connected(session=1, peer_incarnation=1, peer_epoch=1, peer_revision=1)
    lead = trio.lowlevel.checkpoint
    channel.join(connected, flow, send_due=lambda _: None, tell_room=lambda _: None, lead=lead)
    for number in range(slots):
        channel.send_nowait(number.to_bytes(2, "little") * (slot_size // 2))
    joined = FrameWriter(core, LinkCounters()).join_messages(channel)
    assert len(joined) == frames * (HEADER_SIZE + MESSAGES_SIZE_MAX)
    decoder = FrameDecoder()
    decoder.admit()
    decoder.space()[: len(joined)] = joined
    decoder.received(len(joined))
    for first in range(0, slots, slots // frames):
        frame = decoder.next_frame()
        assert frame is not None
        assert (frame.first_sequence, frame.count) == (first + 1, slots // frames)
        assert bytes(frame.payload[:2]) == first.to_bytes(2, "little")
