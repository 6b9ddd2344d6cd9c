"""What is said where the node that a command needs does not answer, or not soon."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Final

import click
import trio

from ctlha_trio._errors import CtlHaError, DisconnectError, TurnedAwayError
from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.cli._remedies import ASK_AGAIN, START_IT
from ctlha_trio.door import STATUS_S

SOON_S: Final = STATUS_S + 1.0
"""A person who sees nothing for longer thinks that the command hangs. A node that does not answer is told before."""


async def wait_telling(change: Awaitable[None], loaded: LoadedConfig, limit_s: float) -> None:
    """Wait for a change that the node was asked for, and say so if it takes its time. ``CtlHaError`` as of ``change``.

    A checkpoint.
    """
    ended, failures = trio.Event(), list[CtlHaError]()

    async def wait() -> None:
        try:
            await change
        except CtlHaError as error:
            failures.append(error)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        with trio.move_on_after(SOON_S):
            await ended.wait()
        if not ended.is_set():
            click.echo(f"node {loaded.content.node} is at it: it is waited for, up to {limit_s:g} s", err=True)
    for failure in failures:
        raise failure


@contextmanager
def needing_node(loaded: LoadedConfig) -> Iterator[None]:
    """Within, a ``DisconnectError`` of the node's socket also says what helps."""
    try:
        yield
    except DisconnectError as error:
        raise DisconnectError(f"{error}; {against_silence(error, loaded)}") from error


def against_silence(error: DisconnectError, loaded: LoadedConfig) -> str:
    """What helps where a node does not answer: to start it, unless it is there and has too much to answer."""
    return ASK_AGAIN if isinstance(error, TurnedAwayError) else START_IT.format(**loaded.names)
