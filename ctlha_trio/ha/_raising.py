"""What is raised in a turn of the link by whom the link tells of something."""

import trio


def raise_in(nursery: trio.Nursery, error: BaseException) -> None:
    """Let a task of ``nursery`` raise it: the link would take some errors for the network's, or the peer's."""
    nursery.start_soon(_raise, error)


async def _raise(error: BaseException) -> None:
    raise error
