"""Sees what links do at the instant at which they do it, beneath what their users see."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from sys import modules
from typing import Any, Protocol

import attrs

from ctlha_trio.link import Channel, Link, OnSettled, Placement
from ctlha_trio.seams import Buffer
from ctlha_trio.wire import Refusal


class LinkWatch(Protocol):
    """Told of each; all synchronous."""

    def begin_send(self) -> None:
        """``send_nowait`` is called."""

    def end_send(self) -> None:
        """It has returned, or raised."""

    def accepted(self, channel: Channel, content: bytes, on_settled: OnSettled | None, *, is_push: bool) -> None:
        """A message was accepted."""

    def joined(self, channel: Channel, session: int) -> None:
        """A channel enters a session."""

    def delivered(self, channel: Channel, contents: list[bytes]) -> None:
        """Messages are put where the consumer finds them, and he does not know it yet."""

    def ending(self, channel: Channel) -> None:
        """A channel is about to hear of the end of its session."""

    def ended(self, channel: Channel) -> None:
        """It has."""

    def lost(self, placement: Placement | None, *, has_taken_another: bool) -> None:
        """A session is over, and with it the keys of ``placement``.

        Whether the link was in another one already, and has lost that too.
        """

    def refusing(self, refusal: Refusal) -> None:
        """A hello is refused."""


@contextmanager
def _replaced(kind: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    plain = getattr(kind, name)
    setattr(kind, name, make(plain))
    try:
        yield
    finally:
        setattr(kind, name, plain)


@contextmanager
def watch_links(watch: LinkWatch) -> Iterator[None]:
    """Tell ``watch`` of every link in this process."""
    fields: Any = attrs.fields(Link)
    connection: Any = fields._connection.type.__args__[0]
    bulk: Any = attrs.fields(connection)._bulk.type
    handshake: Any = vars(modules[fields._meeting.type.__module__])["Handshake"]
    with ExitStack() as stack:
        for kind, name, make in (
            (Channel, "send_nowait", partial(_of_sends, watch)),
            (bulk, "queue", partial(_of_pushes, watch)),
            (Channel, "join", partial(_of_joins, watch)),
            (Channel, "deliver", partial(_of_deliveries, watch)),
            (Channel, "lose", partial(_of_losses, watch)),
            (connection, "end", partial(_of_ends, watch)),
            (handshake, "refuse", partial(_of_refusals, watch)),
        ):
            stack.enter_context(_replaced(kind, name, make))
        yield


def _of_sends(watch: LinkWatch, plain: Any) -> Any:
    def watched(channel: Channel, message: Buffer, *, on_settled: OnSettled | None = None) -> None:
        watch.begin_send()
        try:
            plain(channel, message, on_settled=on_settled)
        finally:
            watch.end_send()
        watch.accepted(channel, bytes(message), on_settled, is_push=False)

    return watched


def _of_pushes(watch: LinkWatch, plain: Any) -> Any:
    def watched(bulk: Any, push: Any) -> None:
        plain(bulk, push)
        watch.accepted(push.channel, push.message, None, is_push=True)

    return watched


def _of_joins(watch: LinkWatch, plain: Any) -> Any:
    def watched(channel: Channel, connected: Any, flow: Any, **rest: Any) -> None:
        watch.joined(channel, connected.session)
        plain(channel, connected, flow, **rest)

    return watched


def _of_deliveries(watch: LinkWatch, plain: Any) -> Any:
    def watched(channel: Channel, messages: memoryview, count: int) -> None:
        size = channel.slot_size
        watch.delivered(channel, [bytes(messages[at : at + size]) for at in range(0, count * size, size)])
        plain(channel, messages, count)

    return watched


def _of_losses(watch: LinkWatch, plain: Any) -> Any:
    def watched(channel: Channel, *arguments: Any) -> None:
        watch.ending(channel)
        plain(channel, *arguments)
        watch.ended(channel)

    return watched


def _of_ends(watch: LinkWatch, plain: Any) -> Any:
    def watched(connection: Any, *arguments: Any) -> None:
        is_live, link = not connection._ended.is_set(), connection.on_end.__self__
        current = link._connection
        plain(connection, *arguments)
        if is_live:
            is_other = current not in {None, connection}
            has_taken_another = is_other and link._connection is not current
            watch.lost(connection.placement, has_taken_another=has_taken_another)

    return watched


def _of_refusals(watch: LinkWatch, plain: Any) -> Any:
    async def watched(handshake: Any, refusal: Refusal, *arguments: Any) -> None:
        watch.refusing(refusal)
        await plain(handshake, refusal, *arguments)

    return watched
