"""Two commands, one at each node that is stopped, that meet at the link's addresses and talk in lines of JSON.

Each proves itself by its node's key, as the nodes do. Both listen and both dial, since a line may let connections
through one way only; the node whose id is lower takes the first that stands, by speaking on it.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio

from ctlha_trio._errors import CtlHaError, DisconnectError, FailedError
from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.seams import Listener, Stream, TlsTransport, TrioClock, load_key

MEET_S: Final = 120.0
"""For a person to give the command at the other machine too."""
ANSWER_S: Final = 30.0
"""For one line of the other command, which asks its disk and the arbiter before it answers."""
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
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            raise self._gone() from error

    async def hear(self) -> dict[str, Any]:
        """The next line. ``DisconnectError`` if the other one is gone, ``FailedError`` if it is no such command."""
        while not self._has_line():
            await self._receive()
        line, _, rest = self._unread.partition(b"\n")
        self._unread = bytearray(rest)
        try:
            fields = json.loads(line)
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
            with trio.fail_after(ANSWER_S):
                count = await self._stream.receive_into(memoryview(piece))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            raise self._gone() from error
        if not count:
            raise self._gone()
        self._unread += piece[:count]

    def _gone(self) -> DisconnectError:
        return DisconnectError(f"the command at node {self.node} has ended; see there why, then give both again")


Converse = Callable[[Conversation, dict[str, Any]], Awaitable[None]]


async def meet(loaded: LoadedConfig, opening: dict[str, object], converse: Converse) -> None:
    """Find the other node's command, exchange ``opening``, and call ``converse`` with what it opened with.

    ``FailedError`` if it does not come within ``MEET_S``, else what ``converse`` raises; ``OSError`` if the address of
    the link cannot be had. A checkpoint.
    """
    meeting = _Meeting(loaded, opening, converse)
    transport = TlsTransport(key=load_key(loaded.key_path), pins=loaded.content.peer.pins)
    listener = await transport.listen(loaded.content.link.listen)
    try:
        await meeting.run(listener, transport)
    finally:
        listener.close()


@attrs.define(eq=False)
class _Meeting:
    _loaded: LoadedConfig
    _opening: dict[str, object]
    _converse: Converse
    _taken: trio.Event = attrs.field(factory=trio.Event, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)

    async def run(self, listener: Listener, transport: TlsTransport) -> None:
        peer = self._loaded.content.peer
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, self._talk)
            nursery.start_soon(self._dial, transport)
            with trio.move_on_after(MEET_S):
                await self._taken.wait()
            if self._taken.is_set():
                await self._ended.wait()
            nursery.cancel_scope.cancel()
        if not self._taken.is_set():
            raise FailedError(
                f"node {peer.node} was not met at {peer.address} within {MEET_S:.0f} s: give the command there too; "
                f"one node alone needs --abandon {peer.node}"
            )
        if self._failure is not None:
            raise self._failure

    async def _dial(self, transport: TlsTransport) -> None:
        clock = TrioClock()
        while not self._taken.is_set():
            try:
                stream = await transport.dial(self._loaded.content.peer.address)
            except DisconnectError:
                await clock.sleep_until(clock.now() + DIAL_AGAIN_S)
                continue
            except CtlHaError as error:
                self._end(error)
                return
            try:
                await self._talk(stream)
            finally:
                stream.close()

    async def _talk(self, stream: Stream) -> None:
        if self._taken.is_set():
            return
        content = self._loaded.content
        conversation = Conversation(content.peer.node, stream)
        told: dict[str, Any] | None = None
        try:
            if content.node > content.peer.node:
                told = await conversation.hear()
            if self._taken.is_set():
                return
        except DisconnectError:
            return  # the other one speaks on another connection, or will
        except FailedError as error:
            self._end(error)
            return
        self._taken.set()
        try:
            await conversation.say(**self._opening)
            await self._converse(conversation, await conversation.hear() if told is None else told)
        except Exception as error:
            self._end(error)
        else:
            self._end(None)

    def _end(self, failure: Exception | None) -> None:
        if not self._ended.is_set():
            self._failure = failure
            self._taken.set()
            self._ended.set()
