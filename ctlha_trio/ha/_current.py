"""Which node the header's functions mean: set by ``with node.current():`` and in no other way."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from ctlha_trio.ha._node import Node

_CURRENT: Final[ContextVar["Node"]] = ContextVar("ctlha_current_node")


@contextmanager
def entered(node: "Node") -> Iterator[None]:
    """Make ``node`` the current one for the block, and for tasks that are started in it."""
    token = _CURRENT.set(node)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_node(even_ended: bool = False) -> "Node":
    """The node that ``with node.current():`` named last around this code.

    ``RuntimeError`` outside of such a block, from a worker thread, which Trio gives a copy of the context, from
    another run than the node's, and unless ``even_ended`` for a node that has ended: never another node instead.
    """
    node = _CURRENT.get(None)
    # A node that has not ended is of the one run of its thread. To ask Trio which run this is costs five times as much.
    if node is None or node.has_ended or node.thread != get_ident():
        return _judged(node, even_ended=even_ended)
    return node


def _judged(node: "Node | None", *, even_ended: bool) -> "Node":
    try:
        token = trio.lowlevel.current_trio_token()
    except RuntimeError as error:
        raise RuntimeError("the header's functions are for Trio tasks, not for threads") from error
    if node is None:
        raise RuntimeError("no node is current here: call it inside `with node.current():`")
    if token is not node.token:
        raise RuntimeError("the node is of another run")
    if node.has_ended and not even_ended:
        raise RuntimeError(f"node {node.config.node} has ended")
    return node
