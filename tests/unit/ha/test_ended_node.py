"""A program may keep a node that has ended: whatever it asks of it is answered by an error with words."""

from collections.abc import Callable

import pytest
from trio.testing import MockClock

from ctlha_trio import CtlHaError, DisconnectError, FailedError, RemoteBuffer
from ctlha_trio.ctl_ha import CTL_HA_CHAN_CTL
from ctlha_trio.ha import Node
from ctlha_trio.testing import open_pair

ENDED = "node a has ended"
NOWHERE = RemoteBuffer(bytes(16))


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda node: node.open_channel(CTL_HA_CHAN_CTL), FailedError, ENDED),
        (lambda node: node.verify(), FailedError, ENDED),
        (lambda node: node.register_region(bytearray(4)), DisconnectError, "session"),
        (lambda node: node.push_nowait(NOWHERE, b"x"), DisconnectError, "session"),
    ],
)
async def test_what_is_asked_of_a_node_that_has_ended(
    ask: Callable[[Node], object], error: type[CtlHaError], words: str, autojump_clock: MockClock
) -> None:
    async with open_pair() as pair:
        node = pair.nodes["a"]
        await pair.stop("a")
        with pytest.raises(error, match=words):
            ask(node)
