"""What is written between two sends leaves in the order of its writing, in one piece or in several."""

from ctlha_trio.link._statistics import LinkCounters
from ctlha_trio.link._writing import COPIED_DATA_MAX, FrameWriter
from ctlha_trio.wire import Flag, Fragment, SessionCore


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
