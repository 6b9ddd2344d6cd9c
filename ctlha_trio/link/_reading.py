"""Who receives from a connection: its own task, or a consumer that waits for a message and would be woken by it."""

from collections.abc import Callable
from contextvars import Context
from typing import Final

import attrs
import trio

from ctlha_trio.link._acknowledging import LateAcknowledgements
from ctlha_trio.seams import Stream
from ctlha_trio.wire import FrameDecoder

_STREAM_IS_GONE: Final = trio.BrokenResourceError, trio.ClosedResourceError
"""What is met on the stream of a session that has ended."""


@attrs.define(eq=False, kw_only=True)
class Reading:
    """Receives for one session, in the task that ``run`` is called in, its own.

    A consumer may lead: receive once in its place, and be at what came for it without another turn of the loop. Its
    own task stands aside meanwhile. It has a turn behind all that was received by whoever it was, and goes on if nobody
    has come to lead by then. What a leader meets, errors and the end, its own task acts on.
    """

    _stream: Stream
    _decoder: FrameDecoder
    _late: LateAcknowledgements
    _take: Callable[[int], None]
    """Takes in so many bytes, which were received into the decoder's space."""
    _has_ended: Callable[[], bool]
    _wake_writer: Callable[[], object]
    _context: Context | None = attrs.field(default=None, init=False)
    """Of its own task, as long as that is there: who is told of something must not find the leader's."""
    _aside: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    """Its own task, while that waits for a leader to leave."""
    _is_open: bool = attrs.field(default=False, init=False)
    """Whether its own task has still to have a turn behind what was received last: then somebody may lead."""
    _is_led: bool = attrs.field(default=False, init=False)
    _at_end: bool = attrs.field(default=False, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)
    """What a leader met."""

    async def run(self) -> None:
        """Receive until the peer closes, or the session ends. Raises what the stream or ``take`` does."""
        self._context = trio.lowlevel.current_task().context
        try:
            self._take(0)
            while not (self._has_ended() or self._at_end):
                if self._is_led:
                    await self._stand_aside()
                elif self._late.has_news:
                    self._is_open = True
                    # Not to be cancelled: it may have to say what a leader met.
                    await trio.lowlevel.cancel_shielded_checkpoint()
                else:
                    self._take(await self._receive())
                    continue
                self._end_turn()
        except trio.Cancelled:
            # A step may end the session and then fail, in one turn of a leader.
            failure, self._failure = self._failure, None
            if failure is not None and not isinstance(failure, _STREAM_IS_GONE):
                raise failure from None
            raise
        finally:
            self._context = None
            self._is_open = False

    async def lead(self) -> None:
        """Receive once, and take in what came, behind a turn of the others; nothing at all if somebody else receives.

        Cancelled: nothing was received. Nothing else is raised here that its own task could raise.
        """
        if self._is_led or not self._is_open:
            return
        self._is_led = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            size_bytes = await self._receive()
            if self._is_open:
                # The stream had something, and to take that is no checkpoint.
                await trio.lowlevel.cancel_shielded_checkpoint()
            self._take_for_leader(size_bytes)
        except trio.Cancelled:
            raise
        except Exception as error:
            self._failure = error
        except BaseException:
            # An interrupt, in the middle of anything.
            self._failure = trio.BrokenResourceError("what was received is not whole")
            raise
        finally:
            self._is_led = False
            self._is_open = self._context is not None and self._failure is None and not self._at_end
            if self._aside is not None:
                trio.lowlevel.reschedule(self._aside)
                self._aside = None

    async def _receive(self) -> int:
        """How many bytes came; 0 if there is nothing to take in, at the end or since the space for it is gone."""
        try:
            size_bytes = await self._stream.receive_into(self._decoder.space())
        except ValueError:
            if not self._decoder.is_space_gone:
                raise
            return 0
        self._at_end = not size_bytes
        return size_bytes

    def _take_for_leader(self, size_bytes: int) -> None:
        if self._context is not None:  # or the session is about to end
            self._context.run(self._take, size_bytes)

    async def _stand_aside(self) -> None:
        self._aside = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._aside = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _end_turn(self) -> None:
        """Who might have answered what had come had a turn, and whoever wanted to lead."""
        self._is_open = False
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        # The end of the session may have come since: nothing of it is acknowledged any more.
        if not self._has_ended() and self._late.has_news and self._late.turn():
            self._wake_writer()
