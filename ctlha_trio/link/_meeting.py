"""How two nodes find each other: both listen, both dial, and one of two simultaneous tries gives way."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import attrs
import trio

from ctlha_trio._errors import CtlHaError, DisconnectError, FailedError, RefusedError, RemoteProtocolError
from ctlha_trio._repeats import Repeats
from ctlha_trio.link._backoff import backoff_s
from ctlha_trio.link._config import LinkConfig
from ctlha_trio.link._connection import Connection
from ctlha_trio.link._deadline import finish_by
from ctlha_trio.link._handshake import Agreed, Handshake
from ctlha_trio.link._streams import STREAM_IS_GONE, telling
from ctlha_trio.seams import Clock, Entropy, Stream, Transport
from ctlha_trio.wire import (
    OWN_TERMS,
    Hello,
    Refusal,
    ResourceState,
    Terms,
    agree_terms,
    judge_hello,
    judge_terms,
    why_refused,
)

HELLO_TIMEOUT_S = 3.0
"""For a whole hello exchange, however slowly its bytes come; and for a dial before it."""
IN_HELLO_MAX = 8
"""Accepted connections that have no session yet. Only one peer is expected; the rest may be anybody's."""
SESSION_HALF_SIZE = 4
NO_FAULTS = frozenset({Refusal.SIMULTANEOUS.value, Refusal.SLOW.value, Refusal.BUSY.value})
"""What the other side may say of an honest try: two dials met, a network that fails kept the rest of it away, or too
many tried at once. The first stands for the others too, where it is not known whether both sides know these."""

TELLING: Final = frozenset({Refusal.VERSION, Refusal.SIZE})
"""Refusals of the configured peer, which is told what does not fit, for its own log."""

_LOG: Final = logging.getLogger(__name__)

Answer = TypeVar("Answer")


@attrs.define(eq=False, kw_only=True)
class Meeting:
    """Accepts and dials until there is a session, and again when it is lost.

    Of two that dial each other at the same time, the one with the smaller id refuses the other's hello while its own is
    unanswered; the other accepts and gives up its own dial.

    One that has no sessions any more goes on to introduce itself, and to answer hellos with its own and a refusal: so
    the peer comes to know what this node knows.
    """

    config: LinkConfig
    clock: Clock
    entropy: Entropy
    transport: Transport
    incarnation: int
    report: Callable[[CtlHaError], None]
    known: Callable[[], ResourceState]
    """What goes into the hello."""
    live: Callable[[], Connection | None]
    """The current session's connection."""
    begin: Callable[[Handshake, Agreed, Terms], Connection]
    """Makes an agreed session the current one, in one step, under the terms that both keep."""
    heard: Callable[[Hello], None]
    """Told of each hello of the peer that nothing speaks against, whether or not it leads to a session."""
    _refusing: Refusal | None = attrs.field(default=None, init=False)
    """Why there is to be no session, with whomever; None if there may be one."""
    _proposing: bool = attrs.field(default=False, init=False)
    """Whether a hello of ours is unanswered."""
    _accepting: int = attrs.field(default=0, init=False)
    """Hellos of the peer that we accepted and that it has not yet confirmed."""
    _in_hello: int = attrs.field(default=0, init=False)
    _dial_scope: trio.CancelScope | None = attrs.field(default=None, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _no_faults: Repeats = attrs.field(factory=Repeats, init=False)

    def stop(self) -> None:
        """No session any more: refuse hellos, and those that answer one of ours."""
        self._refusing = Refusal.STOPPING
        self._give_up_dial()
        # One that rested dials nobody; one that stops goes on to tell.
        self._changed.unpark_all()

    def rest(self, why: Refusal) -> None:
        """The same until ``go_on``, but dial nobody meanwhile."""
        if self._refusing is None:
            self._refusing = why
            self._give_up_dial()

    def go_on(self) -> None:
        """After a rest: look for the peer again. Not after ``stop``."""
        if self._refusing is not Refusal.STOPPING:
            self._refusing = None
            self._changed.unpark_all()

    def notice_loss(self) -> None:
        """The session ended: look for the peer again."""
        self._changed.unpark_all()

    def _give_up_dial(self) -> None:
        if self._dial_scope is not None:
            self._dial_scope.cancel()

    def _own_hello(self) -> Hello:
        half = int.from_bytes(self.entropy(SESSION_HALF_SIZE), "little")
        return Hello(
            cluster=self.config.cluster,
            node=self.config.node,
            incarnation=self.incarnation,
            session_half=half or 1,
            resources=(self.known(),),
        )

    async def _judge(self, own: Hello, theirs: Hello) -> Refusal | None:
        """Why there can be no session with ``theirs``. Waits while another process of that node may still live.

        A node's processes come one after the other. So one that introduces itself while another is in session was
        either started after the end of that one, whose session then ends as well; or the other answers what was asked
        of it after the introduction, and two live with one identity. The one in session stays.
        """
        met_s = self.clock.now()
        refusal = judge_hello(own, theirs, peer=self.config.peer, resource=self.config.resource)
        while refusal is None and (connection := self._other_process(theirs)) is not None:
            if await connection.outlives(met_s):
                refusal = Refusal.TWIN
        return refusal

    def _other_process(self, theirs: Hello) -> Connection | None:
        connection = self.live()
        return None if connection is None or connection.peer_incarnation == theirs.incarnation else connection

    async def _settle(self, handshake: Handshake, agreed: Agreed) -> Terms | None:
        """What both sides keep; None if one demands what the other does not do, which it is told."""
        theirs = await handshake.hear_terms(agreed)
        refusal = judge_terms(OWN_TERMS, theirs)
        if refusal is not None:
            detail = (
                f"node {agreed.peer.node!r} states features {theirs.features:#x}, this node {OWN_TERMS.features:#x}"
            )
            await self._refuse(handshake, refusal, detail)
            return None
        return agree_terms(OWN_TERMS, theirs)

    def _begin(self, handshake: Handshake, agreed: Agreed, terms: Terms) -> Connection | None:
        """Two that introduced themselves at the same time were both agreed to: the first that confirmed stays."""
        if self._refusing is not None or self._other_process(agreed.peer) is not None:
            return None
        with telling():
            try:
                return self.begin(handshake, agreed, terms)
            except DisconnectError as error:
                # Of one of several consumers, which would send in a session that another one has just ended.
                self.report(error)
                return None

    def _take_hello(self, hello: Hello) -> None:
        with telling():
            self.heard(hello)

    # Accepting

    async def welcome(self, stream: Stream) -> None:
        """Handle one accepted connection until it ends. ``RefusedError`` for one that is too slow, or one too many.

        That is for the log only: a network that fails makes honest ones slow.
        """
        handshake = Handshake(stream)
        if self._in_hello >= IN_HELLO_MAX:
            handshake.refuse_nowait(Refusal.BUSY)
            raise RefusedError(Refusal.BUSY.value, f"{IN_HELLO_MAX} others introduce themselves")
        self._in_hello += 1
        try:
            connection = await self._exchange(handshake, lambda: self._answer(handshake))
        except trio.TooSlowError as error:
            if not handshake.has_accepted:
                handshake.refuse_nowait(Refusal.SLOW)
            raise RefusedError(Refusal.SLOW.value, f"no session after {HELLO_TIMEOUT_S:g} s") from error
        finally:
            self._in_hello -= 1
        if connection is not None:
            with telling():
                await connection.run()

    async def _answer(self, handshake: Handshake) -> Connection | None:
        theirs = await handshake.receive_hello()
        own = self._own_hello()
        refusal = await self._judge(own, theirs)
        if refusal is None:
            self._take_hello(theirs)
            refusal = self._refusing
        if refusal is None and self._proposing and self.config.node < self.config.peer:
            refusal = Refusal.SIMULTANEOUS
        if refusal is not None:
            await self._refuse_hello(handshake, refusal, own, theirs)
            return None
        self._accepting += 1
        self._give_up_dial()
        try:
            agreed = await handshake.accept(own, theirs)
            terms = await self._settle(handshake, agreed)
            if terms is None:
                return None
            await handshake.hear_confirmation(agreed)
            return self._begin(handshake, agreed, terms)
        finally:
            self._accepting -= 1
            self._changed.unpark_all()

    # Dialling

    async def dial_for_ever(self) -> None:
        """Dial whenever there is neither a session nor one about to begin; runs until cancelled."""
        failures = 0
        while True:
            while self.live() is not None or self._accepting or self._refusing not in {None, Refusal.STOPPING}:
                await self._changed.park()
                failures = 0
                await self._back_off(failures)
            failures = 0 if await self._dial() else failures + 1
            await self._back_off(failures)

    async def _back_off(self, failures: int) -> None:
        await self.clock.sleep_until(self.clock.now() + backoff_s(failures, self.entropy))

    async def _dial(self) -> bool:
        """Try once; if it leads to a session, return True after its end."""
        begun: list[Connection] = []
        self._dial_scope = scope = trio.CancelScope()
        with scope:
            await self._dial_to_session(begun)
        self._dial_scope = None
        if not begun:
            return False
        with telling():
            await begun[0].run()
        return True

    async def _dial_to_session(self, begun: list[Connection]) -> None:
        """Put the session into ``begun`` as soon as it is live: a dial that is given up then comes too late."""
        dial_by_s = self.clock.now() + HELLO_TIMEOUT_S
        streams: list[Stream] = []

        async def dial() -> None:
            streams.append(await self.transport.dial(self.config.peer_address))

        try:
            await finish_by(self.clock, dial_by_s, dial)
            handshake = Handshake(streams[0])
            await self._exchange(handshake, lambda: self._propose(handshake, begun))
        except (DisconnectError, trio.TooSlowError):
            return
        except FailedError as error:
            self.report(error)
        finally:
            # Also if the dial is given up in the moment in which it succeeds.
            if not begun:
                for stream in streams:
                    stream.close()

    async def _propose(self, handshake: Handshake, begun: list[Connection]) -> None:
        own = self._own_hello()
        self._proposing = True
        try:
            agreed = await handshake.propose(own)
        except RefusedError:
            if (by := handshake.refused_by) is not None and await self._judge(own, by) is None:
                self._take_hello(by)
            raise
        finally:
            self._proposing = False
        refusal = await self._judge(own, agreed.peer)
        if refusal is not None:
            await self._refuse_hello(handshake, refusal, own, agreed.peer)
            return
        self._take_hello(agreed.peer)
        terms = await self._settle(handshake, agreed)
        if terms is None:
            return
        if self._refusing is not None:
            await handshake.refuse(self._refusing)
            return
        await handshake.confirm(agreed)
        connection = self._begin(handshake, agreed, terms)
        if connection is not None:
            begun.append(connection)

    # Both

    async def _exchange(self, handshake: Handshake, step: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """A hello exchange; None if it led to nothing, which is reported where somebody refused for a fault.

        ``trio.TooSlowError`` if its time was not enough.
        """

        async def attempt() -> Answer | None:
            try:
                return await step()
            except RemoteProtocolError as error:
                await self._refuse(handshake, Refusal.MALFORMED, str(error))
                return None

        try:
            return await finish_by(self.clock, self.clock.now() + HELLO_TIMEOUT_S, attempt)
        except RefusedError as error:
            if error.reason not in NO_FAULTS:
                self.report(error)
            elif (line := self._no_faults.came(self.clock.now(), str(error), kind=error.reason)) is not None:
                _LOG.info("no session yet with node %s: %s", self.config.peer, line)
        except (DisconnectError, *STREAM_IS_GONE):
            return None  # nobody refused: the connection ended, and the next try will tell
        return None

    async def _refuse_hello(self, handshake: Handshake, refusal: Refusal, own: Hello, theirs: Hello) -> None:
        detail = f"hello of node {theirs.node!r}, cluster {theirs.cluster!r}"
        await self._refuse(handshake, refusal, why_refused(refusal.value, own, theirs) or detail)

    async def _refuse(self, handshake: Handshake, refusal: Refusal, detail: str) -> None:
        """Tell the peer first: the report may be what ends this node, and then the peer would never know why."""
        is_telling = refusal in {self._refusing, *TELLING}
        try:
            await handshake.refuse(refusal, self._own_hello() if is_telling else None)
        finally:
            if refusal is not Refusal.SIMULTANEOUS:
                self.report(RefusedError(refusal.value, detail))
