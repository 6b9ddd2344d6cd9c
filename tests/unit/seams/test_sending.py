"""What is kept of a send that may not wait."""

import trio

from ctlha_trio.seams._sending import Sending
from ctlha_trio.seams._turn import Turn


async def test_what_was_kept_is_let_go_of_when_it_has_gone() -> None:
    """An empty part of it would hold all of it, as long as nothing else is kept."""
    room = 0

    def write(pieces: list[memoryview]) -> int:
        return min(room, sum(map(len, pieces)))

    sending = Sending(write, trio.lowlevel.checkpoint, Turn())
    assert not sending.send_nowait(bytes(1000), bytes(1000))
    room = 3000
    await sending.flush()
    kept = sending._kept.obj
    assert isinstance(kept, bytes)
    assert len(kept) == 0
