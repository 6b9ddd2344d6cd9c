"""Two commands, one at each node that is stopped, that meet at the link's addresses and talk in lines of JSON.

Each proves itself by its node's key, as the nodes do. Both listen and both dial, since a line may let connections
through one way only. A connection that stands at one side may be none at the other, whose time for it was over: the
node whose id is lower speaks on one after the other, and takes the first on which it is answered. Until it is told of
that, the other one waits for further connections too.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio

from ctlha_trio._errors import CtlHaError, DisconnectError, FailedError
from ctlha_trio._parsed_json import parse_json
from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.seams import Listener, Stream, TlsTransport, Transport, TrioClock, load_key

MEET_S: Final = 120.0
"""For a person to give the command at the other machine too."""
ANSWER_S: Final = 30.0
"""For one line of the other command, which asks its disk and the arbiter before it answers."""
OPENING_S: Final = 5.0
"""For an answer that the other command has ready. Shorter than ``ANSWER_S``: who is asked must not give up first."""
DIAL_AGAIN_S: Final = 0.2
MAX_LINE_BYTES: Final = 16 * 1024
"""What is said is a few ids and numbers."""


@attrs.define(eq=False)
class Conversation:
    """With the other node's command. One side speaks at a time."""

    node: str
    """The other one."""
    _stream: Stream
    _unread: bytearray = attrs.field(factory=bytearray, init=False)

    async def say(self, **fields: object) -> None:
        """Send a line. ``DisconnectError`` if the other one is gone."""
        try:
            with trio.fail_after(ANSWER_S):
                await self._stream.send_all(json.dumps(fields).encode() + b"\n")
        except trio.TooSlowError as error:
            raise self._silent(ANSWER_S) from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._gone() from error

    async def hear(self, within_s: float = ANSWER_S) -> dict[str, Any]:
        """The next line. ``DisconnectError`` if the other one is gone, ``FailedError`` if it is no such command."""
        try:
            with trio.fail_after(within_s):
                while not self._has_line():
                    await self._receive()
        except trio.TooSlowError as error:
            raise self._silent(within_s) from error
        line, _, rest = self._unread.partition(b"\n")
        self._unread = bytearray(rest)
        try:
            fields = parse_json(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise FailedError(f"node {self.node} runs: stop it, and give the command there too")
        return fields

    def _has_line(self) -> bool:
        """Or what is none: a node that runs speaks in frames."""
        return bool(self._unread) and (
            self._unread[0] != ord("{") or b"\n" in self._unread or len(self._unread) > MAX_LINE_BYTES
        )

    async def _receive(self) -> None:
        piece = bytearray(4096)
        try:
            count = await self._stream.receive_into(memoryview(piece))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._gone() from error
        if not count:
            raise self._gone()
        self._unread += piece[:count]

    def _silent(self, waited_s: float) -> DisconnectError:
        return self._lost(f"did not answer within {waited_s:g} s")

    def _gone(self) -> DisconnectError:
        return self._lost("has ended")

    def _lost(self, what: str) -> DisconnectError:
        return DisconnectError(
            f"the command at node {self.node} {what}; see there why, then give again whichever has ended"
        )


Converse = Callable[[Conversation, dict[str, Any]], Awaitable[None]]


async def meet(loaded: LoadedConfig, opening: dict[str, object], converse: Converse, *, alone: str) -> None:
    """Find the other node's command, exchange ``opening``, and call ``converse`` with what it opened with.

    ``FailedError`` if it does not come within ``MEET_S``, which says what one can do ``alone``; else what ``converse``
    raises; ``ConfigError`` if the address of the link cannot be had. A checkpoint.
    """
    content = loaded.content
    meeting = Meeting(content.node, content.peer.node, content.peer.address, opening, converse, alone)
    transport = TlsTransport(key=load_key(loaded.key_path), pins=content.peer.pins)
    try:
        listener = await transport.listen(content.link.listen)
    except OSError as error:
        raise loaded.fault("link.listen", f"{content.link.listen}: {error.strerror or error}") from error
    try:
        await meeting.run(listener, transport)
    finally:
        listener.close()


@attrs.define(eq=False)
class Meeting:
    """Of one of the two commands."""

    node: str
    peer: str
    address: str
    """Of the peer."""
    _opening: dict[str, object]
    _converse: Converse
    _alone: str
    _offering: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _taken: trio.Event = attrs.field(factory=trio.Event, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)

    async def run(self, listener: Listener, transport: Transport) -> None:
        """As ``meet``. Once only."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, self._talk)
            nursery.start_soon(self._dial, transport)
            with trio.move_on_after(MEET_S):
                await self._taken.wait()
            if self._taken.is_set():
                await self._ended.wait()
            nursery.cancel_scope.cancel()
        if not self._ended.is_set():  # a connection may be taken while the talk on it is being cancelled
            raise FailedError(
                f"node {self.peer} was not met at {self.address} within {MEET_S:g} s: give the command there too; "
                f"{self._alone}"
            )
        if self._failure is not None:
            raise self._failure

    async def _dial(self, transport: Transport) -> None:
        clock = TrioClock()
        while not self._taken.is_set():
            try:
                stream = await transport.dial(self.address)
            except DisconnectError:
                pass
            except CtlHaError as error:
                self._give_up(error)
                return
            else:
                try:
                    await self._talk(stream)
                finally:
                    stream.close()
            await clock.sleep_until(clock.now() + DIAL_AGAIN_S)

    async def _talk(self, stream: Stream) -> None:
        conversation = Conversation(self.peer, stream)
        try:
            told = await (self._offer(conversation) if self.node < self.peer else self._accept(conversation))
        except DisconnectError:
            return  # it stands at this side only: there will be another one
        except FailedError as error:
            self._give_up(error)
            return
        if told is None:
            return
        try:
            await self._converse(conversation, told)
        except Exception as error:
            self._end(error)
        else:
            self._end(None)

    async def _offer(self, conversation: Conversation) -> dict[str, Any] | None:
        """What the other one opened with, if this connection is taken. One is offered at a time."""
        async with self._offering:
            if self._taken.is_set():
                return None
            await conversation.say(**self._opening)
            told = await conversation.hear(OPENING_S)
            await conversation.say(taken=True)
            self._taken.set()
            return told

    async def _accept(self, conversation: Conversation) -> dict[str, Any] | None:
        """Likewise, at the side that does not choose."""
        told = await conversation.hear()
        await conversation.say(**self._opening)
        await conversation.hear()
        if self._taken.is_set():
            return None
        self._taken.set()
        return told

    def _give_up(self, failure: CtlHaError) -> None:
        """What is wrong with one connection ends no talk that is under way on another."""
        if not self._taken.is_set():
            self._end(failure)

    def _end(self, failure: Exception | None) -> None:
        if not self._ended.is_set():
            self._failure = failure
            self._taken.set()
            self._ended.set()
