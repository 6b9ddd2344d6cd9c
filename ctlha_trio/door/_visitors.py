"""Who comes to a local socket, as often as he likes: told why he has to leave, without waiting, and rarely logged."""

import logging
import os
from contextlib import suppress
from typing import Final

import attrs
import trio

from ctlha_trio._repeats import Repeats

_LOG: Final = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class VisitorLog:
    """What is logged of a socket's connections: of each kind one line, then one in ``REPEAT_S`` with their number.

    Kinds are of a short list that the door makes: what a client chooses belongs into the detail, which does not count.
    """

    _repeats: Repeats = attrs.field(factory=Repeats, init=False)

    def tell(self, what: str, detail: object = "", *, level: int = logging.WARNING) -> None:
        """One more has come that this is true of. In a task of Trio; no checkpoint."""
        line = self._repeats.came(trio.current_time(), what, kind=what)
        if line is not None:
            _LOG.log(level, "%s%s", line, f": {detail}" if detail else "")


def send_last(stream: trio.SocketStream, words: bytes) -> None:
    """Say so much to one that is about to be closed. Not a checkpoint, and who reads nothing is not waited for.

    A socket to which nothing was written has room for some hundred bytes.
    """
    with suppress(OSError):
        os.write(stream.socket.fileno(), words)
