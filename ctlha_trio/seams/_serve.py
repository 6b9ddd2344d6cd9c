"""What every listener does with a connection that it accepted."""

from collections.abc import Awaitable, Callable

import trio

from ctlha_trio._errors import CtlHaError
from ctlha_trio.seams._types import Stream

MAX_CONNECTIONS = 16
"""Connections in handlers at once, per listener. A pair needs two while one replaces the other; the rest is slack."""

DIAL_DEADLINE_S = 3.0
"""For a whole dial. Three seconds are many round trips on any link that a pair can be run over."""


async def serve_stream(
    handler: Callable[[Stream], Awaitable[None]], stream: Stream, tell: Callable[[str], None]
) -> None:
    """Give the stream to ``handler`` and close it afterwards. ``tell`` of its ordinary ends, which are not raised.

    Ordinary are ``CtlHaError`` and the two errors of a stream that is gone, alone or in groups. Anything else that the
    handler raises is a bug in it and ends the listener.
    """
    try:
        await handler(stream)
    except* (CtlHaError, trio.BrokenResourceError, trio.ClosedResourceError) as errors:
        for error in errors.exceptions:
            tell(f"{stream.description}: {error!r}")
    finally:
        stream.close()
