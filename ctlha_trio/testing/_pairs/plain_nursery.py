"""A nursery that nobody outside can see: exceptions come out of it as if there were none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_plain_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery whose block's own exception is raised as it is, whatever its tasks raise when they are cancelled.

    Without one of the block's, that of a task is raised alone, and a group only if there are several.
    """
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                raised = error
                raise
    except BaseExceptionGroup as group:
        if raised is None or _is_cancellation(raised):
            raised = plain(group)
    if raised is not None:
        raise raised


def plain(error: BaseException) -> BaseException:
    """The one exception that nested groups of one hold; the innermost group that holds several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancellation(each) for each in error.exceptions)
    return isinstance(error, trio.Cancelled)
