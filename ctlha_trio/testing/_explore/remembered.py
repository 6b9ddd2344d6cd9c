"""Methods that compute each result once for each exploration: nearly all of its time goes into looking results up."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

Own = TypeVar("Own")
P = ParamSpec("P")
R = TypeVar("R")


class remembered(Generic[Own, P, R]):
    """A method of positional arguments, in a class with a ``__dict__``: each instance gets a memo of its own."""

    def __init__(self, make: Callable[Concatenate[Own, P], R]) -> None:
        self._make = make

    def __get__(self, own: Any, owner: type) -> Callable[P, R]:
        """Called once for each instance: what is put into its ``__dict__`` is found before this."""
        memo: Any = cache(partial(self._make, own))
        own.__dict__[self._make.__name__] = memo
        found: Callable[P, R] = memo
        return found
