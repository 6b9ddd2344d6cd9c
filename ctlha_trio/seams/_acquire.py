"""Locks and semaphores without a turn of the loop for whoever need not wait."""

import trio


async def acquire(free: trio.Lock | trio.Semaphore) -> None:
    """As its own ``acquire``, in the same order, but a checkpoint only if it must wait: for whoever has another one."""
    try:
        free.acquire_nowait()
    except trio.WouldBlock:
        await free.acquire()
