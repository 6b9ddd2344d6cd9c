"""A time limit on protocol time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from ctlha_trio.seams import Clock

Result = TypeVar("Result")


async def finish_by(clock: Clock, deadline_s: float, function: Callable[[], Awaitable[Result]]) -> Result:
    """Call ``function``, cancel it when ``clock`` reaches ``deadline_s``; ``trio.TooSlowError`` then.

    Raises what ``function`` raises, not in a group, and even when it is cancelled from outside. Always a checkpoint.
    """
    results: list[Result] = []
    errors: list[Exception] = []

    async def expire() -> None:
        await clock.sleep_until(deadline_s)
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expire)
            try:
                results.append(await function())
            except Exception as error:
                errors.append(error)
            nursery.cancel_scope.cancel()
    finally:
        if errors:
            raise errors[0]
    if not results:
        raise trio.TooSlowError(f"not finished by {deadline_s}")
    return results[0]
