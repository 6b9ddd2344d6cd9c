"""Who receives from a connection: its own task, or a consumer that waits for a message and would be woken by it."""

from collections.abc import Callable
from contextvars import Context

import attrs
import trio

from ctlha_trio.link._acknowledging import LateAcknowledgements
from ctlha_trio.link._streams import STREAM_IS_GONE
from ctlha_trio.seams import Stream
from ctlha_trio.wire import FrameDecoder


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
    """Nothing more is received."""
    is_broken: bool = attrs.field(default=False, init=False)
    """Because the connection is, or what was received is not whole."""
    _failure: Exception | None = attrs.field(default=None, init=False)
    """What ``take`` raised in a leader."""

    async def run(self) -> None:
        """Receive until the peer closes, the connection breaks, or the session ends. Raises what ``take`` does."""
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
            if self._failure is None:
                raise
        finally:
            self._context = None
            self._is_open = False
        self._raise_failure()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # which would have itself in the frames that it keeps, and them all until somebody looks

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
            self._failure, self._at_end = error, True
        except BaseException:
            # An interrupt, in the middle of anything.
            self.is_broken = self._at_end = True
            raise
        finally:
            self._is_led = False
            self._is_open = self._context is not None and not self._at_end
            if self._aside is not None:
                trio.lowlevel.reschedule(self._aside)
                self._aside = None

    async def _receive(self) -> int:
        """How many bytes came; 0 if there is nothing to take in, at the end or since the space for it is gone.

        The error of a stream is not kept, nor acted on from within: it keeps the memory that was to be received into.
        """
        try:
            size_bytes = await self._stream.receive_into(self._decoder.space())
        except STREAM_IS_GONE:
            self.is_broken, size_bytes = True, 0
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
        # The end of the session may have come since: nothing of it is acknowledged any more.
        if not (self._at_end or self._has_ended()) and self._late.has_news and self._late.turn():
            self._wake_writer()
