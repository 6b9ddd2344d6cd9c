"""What becomes of a session's stream, and what only looks like that."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from ctlha_trio._errors import CtlHaError
from ctlha_trio.seams import Stream

STREAM_IS_GONE: Final = trio.BrokenResourceError, trio.ClosedResourceError
"""What a stream raises that is broken, or was closed with its session. To be caught around its own calls only: those
who are told of something may raise the same, of streams and channels of their own."""
BROKEN_GRACE_S = 0.05
"""After a failed send the reader may still find the peer's goodbye in what arrived before."""


async def flush(stream: Stream) -> bool:
    """Send what the stream keeps; False if it is gone."""
    try:
        await stream.flush()
    except STREAM_IS_GONE:
        return False
    return True


@contextmanager
def telling() -> Iterator[None]:
    """Around what tells others: their bugs are no end of a connection, and no fault of the peer. ``RuntimeError``."""
    try:
        yield
    except* (CtlHaError, trio.TooSlowError, *STREAM_IS_GONE) as errors:
        raise RuntimeError("somebody who was told of what came in a session has failed") from errors
