"""What opens a pair for an ``async with``. Whoever takes it for the pair itself is told what to do."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import update_wrapper
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, ParamSpec, TypeVar

from trio.lowlevel import in_trio_run

Opened = TypeVar("Opened")
Options = ParamSpec("Options")


class _NotOpen:
    what_helps: str = ""

    if not TYPE_CHECKING:  # a type checker knows that none of it is there

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"no {name!r} before it is open: {self.what_helps}", name=name, obj=self)

        def __enter__(self) -> NoReturn:
            raise TypeError(f"opened by a plain with: {self.what_helps}")

        def __await__(self) -> NoReturn:
            raise TypeError(f"awaited: {self.what_helps}")

        def __exit__(self, *_: object) -> None:
            """Python looks for it before it enters."""


class Opening(_NotOpen, AbstractAsyncContextManager[Opened]):
    """Opens one, once."""

    def __init__(self, manager: AbstractAsyncContextManager[Opened], what_helps: str) -> None:
        self._manager = manager
        self.what_helps: str = what_helps
        self._was_used = False

    async def __aenter__(self) -> Opened:
        """A checkpoint. ``RuntimeError`` where Trio does not run, and for a second time."""
        if self._was_used:
            raise RuntimeError(f"opened a second time: {self.what_helps}")
        if not in_trio_run():
            raise RuntimeError("Trio does not run here: with anyio the backend of the test must be trio")
        self._was_used = True
        return await self._manager.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """A checkpoint."""
        return await self._manager.__aexit__(kind, error, traceback)


class Opener(_NotOpen, Generic[Options, Opened]):
    """A function that returns an ``Opening``, made from one with a ``yield``."""

    __name__: str

    def __init__(self, function: Callable[Options, AsyncIterator[Opened]], fixture: str, opened: str) -> None:
        self._open = asynccontextmanager(function)
        self.what_helps: str = f"async with {fixture}() as {opened}, or without pytest {function.__name__}()"
        update_wrapper(self, function)

    def __call__(self, *arguments: Options.args, **options: Options.kwargs) -> Opening[Opened]:
        """For an ``async with``. ``TypeError`` for an option without its name."""
        if arguments:
            raise TypeError(f"{arguments[0]!r} is given without a name: name each option, such as seed=1")
        return Opening(self._open(*arguments, **options), self.what_helps)

    if not TYPE_CHECKING:

        async def __aenter__(self) -> NoReturn:
            raise TypeError(f"opened without being called: {self.what_helps}")

        async def __aexit__(self, *_: object) -> None:
            """Python looks for it before it enters."""


def opens(fixture: str, opened: str) -> Callable[[Callable[Options, AsyncIterator[Opened]]], Opener[Options, Opened]]:
    """Decorate what a fixture gives, and what comes out of it is called in messages."""
    return lambda function: Opener(function, fixture, opened)
