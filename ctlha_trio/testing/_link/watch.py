"""Sees what links do at the instant at which they do it, beneath what their users see."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from ctlha_trio.link import Channel, OnSettled
from ctlha_trio.link._bulk import BulkTurns
from ctlha_trio.link._connection import Connection
from ctlha_trio.link._handshake import Handshake
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

    def lost(self, connection: Connection, *, has_taken_another: bool) -> None:
        """A session is over; whether the link was in another one already, and has lost that too."""

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

    def send_nowait(plain: Any) -> Any:
        def watched(channel: Channel, message: Buffer, *, on_settled: OnSettled | None = None) -> None:
            watch.begin_send()
            try:
                plain(channel, message, on_settled=on_settled)
            finally:
                watch.end_send()
            watch.accepted(channel, bytes(message), on_settled, is_push=False)

        return watched

    def queue(plain: Any) -> Any:
        def watched(bulk: BulkTurns, push: Any) -> None:
            plain(bulk, push)
            watch.accepted(push.channel, push.message, None, is_push=True)

        return watched

    def join(plain: Any) -> Any:
        def watched(channel: Channel, connected: Any, flow: Any, **rest: Any) -> None:
            watch.joined(channel, connected.session)
            plain(channel, connected, flow, **rest)

        return watched

    def deliver(plain: Any) -> Any:
        def watched(channel: Channel, messages: memoryview, count: int) -> None:
            size = channel.slot_size
            watch.delivered(channel, [bytes(messages[at : at + size]) for at in range(0, count * size, size)])
            plain(channel, messages, count)

        return watched

    def lose(plain: Any) -> Any:
        def watched(channel: Channel, *arguments: Any) -> None:
            watch.ending(channel)
            plain(channel, *arguments)
            watch.ended(channel)

        return watched

    def end(plain: Any) -> Any:
        def watched(connection: Connection, *arguments: Any) -> None:
            is_live, link = not connection._ended.is_set(), connection.on_end.__self__  # type: ignore[attr-defined]
            current = link._connection
            plain(connection, *arguments)
            if is_live:
                is_other = current not in {None, connection}
                watch.lost(connection, has_taken_another=is_other and link._connection is not current)

        return watched

    def refuse(plain: Any) -> Any:
        async def watched(handshake: Handshake, refusal: Refusal, *arguments: Any) -> None:
            watch.refusing(refusal)
            await plain(handshake, refusal, *arguments)

        return watched

    with ExitStack() as stack:
        for kind, name, make in (
            (Channel, "send_nowait", send_nowait),
            (BulkTurns, "queue", queue),
            (Channel, "join", join),
            (Channel, "deliver", deliver),
            (Channel, "lose", lose),
            (Connection, "end", end),
            (Handshake, "refuse", refuse),
        ):
            stack.enter_context(_replaced(kind, name, make))
        yield
