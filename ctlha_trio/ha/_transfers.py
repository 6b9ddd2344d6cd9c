"""Transfers between the nodes' memories, as the header's requests: many pieces on one request, one callback."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

import attrs

from ctlha_trio._errors import BusyError, InvalidError
from ctlha_trio._vocabulary import (
    RemoteBuffer,
    ctl_ha_channel,
    ctl_ha_dt_cmd,
    ctl_ha_dt_req,
    ctl_ha_dtid,
    ctl_ha_event,
    ctl_ha_status,
)
from ctlha_trio.dma import TRANSFERS_IN_FLIGHT_MAX, Dma, Transfer, TransferCounters, TransferPlaces
from ctlha_trio.ha._callbacks import Callback, CallbackQueue, Ended, Request
from ctlha_trio.seams import byte_view

REQUESTS_MAX: Final = 1024
"""Allocated and not freed: above what a consumer with a request for each of its commands needs."""

CHANNEL_OF: Final = {
    ctl_ha_dtid.CTL_HA_DATA_CTL: ctl_ha_channel.CTL_HA_CHAN_CTL,
    ctl_ha_dtid.CTL_HA_DATA_ZFS: ctl_ha_channel.CTL_HA_CHAN_ZFS,
}
"""Whose handler hears of a transfer."""


@attrs.define(eq=False)
class _Piece:
    """One call of ``ctl_dt_single``, with the request's fields as they were then."""

    book: "_Book"
    command: ctl_ha_dt_cmd
    id: ctl_ha_dtid
    callback: Callback | None
    ended: bool = False


@attrs.define(eq=False)
class _Book:
    """What is kept of one request."""

    request: Request
    pieces: deque[_Piece] = attrs.field(factory=deque, init=False)
    """In flight, in the order of their start."""
    error: ctl_ha_status | None = attrs.field(default=None, init=False)
    """The first failure since the last callback."""
    callbacks: int = attrs.field(default=0, init=False)
    """Queued and not begun."""

    @property
    def in_flight(self) -> bool:
        """Whether the framework may still touch the request."""
        return bool(self.pieces) or self.callbacks > 0


@attrs.define(eq=False, kw_only=True)
class Transfers:
    """All requests of one node. Callbacks run one after the other for each data id, in a task of the node's own."""

    _dma: Dma
    _enter: Callable[[], AbstractContextManager[None]]
    _report: Callable[[ctl_ha_channel, ctl_ha_event, ctl_ha_status], None]
    _callback_failed: Callable[[ctl_ha_channel, Exception], None]
    _unheard: Callable[[ctl_ha_channel], int]
    """Events of transfers that the channel's handler has not been given yet."""
    _books: dict[int, _Book] = attrs.field(factory=dict, init=False)
    """By the identity of the request, which it keeps alive."""
    _counters: Mapping[ctl_ha_dtid, TransferCounters] = attrs.field(
        factory=lambda: {each: TransferCounters() for each in CHANNEL_OF}, init=False
    )
    _places: dict[ctl_ha_dtid, TransferPlaces] = attrs.field(
        factory=lambda: {each: TransferPlaces() for each in CHANNEL_OF}, init=False
    )
    """One for each piece in flight."""
    _queues: dict[ctl_ha_dtid, CallbackQueue] = attrs.field(
        factory=lambda: {each: CallbackQueue() for each in CHANNEL_OF}, init=False
    )

    @property
    def in_flight(self) -> int:
        """Pieces that have been started and have not ended."""
        return sum(places.taken for places in self._places.values())

    def counters_of(self, data_id: ctl_ha_dtid) -> TransferCounters:
        """Of the data of that id. ``InvalidError`` if it is none."""
        if data_id not in CHANNEL_OF:
            raise InvalidError(f"{data_id!r} is no data id")
        return self._counters[data_id]

    def allocate(self) -> Request:
        """A new request. ``BusyError`` while ``REQUESTS_MAX`` are allocated."""
        if len(self._books) >= REQUESTS_MAX:
            raise BusyError(f"{REQUESTS_MAX} requests are allocated")
        request: Request = ctl_ha_dt_req()
        self._books[id(request)] = _Book(request)
        return request

    def free(self, request: Request) -> None:
        """Give it back. ``InvalidError`` if it is in flight, not from here, or was freed before."""
        book = self._book(request)
        if book.in_flight:
            raise InvalidError("a request in flight cannot be freed")
        del self._books[id(request)]

    def start(self, request: Request) -> None:
        """Start one piece. Fields are read now; the request may be changed for the next piece at once.

        ``InvalidError`` for values that cannot be, ``DisconnectError`` without a session, ``BusyError`` with too many
        in flight, or of this data ended and not yet told of: then nothing was started. ``TypeError`` for what is no
        buffer, place or callable. Not a checkpoint; no callback runs before this returns.
        """
        book = self._book(request)
        local, remote = _check(request)
        self._check_room(request.id)
        piece = _Piece(book, request.command, request.id, request.callback)
        pushed = piece.command is ctl_ha_dt_cmd.CTL_HA_DT_CMD_WRITE

        def on_done(transfer: Transfer) -> None:
            self._counters[piece.id].ended(transfer, pushed=pushed)
            self._ended(piece, transfer.status)

        start = self._dma.start_push if pushed else self._dma.start_pull
        start(remote, local, on_done=on_done, places=self._places[piece.id])
        book.pieces.append(piece)
        request.ret = ctl_ha_status.CTL_HA_STATUS_WAIT

    def _check_room(self, data_id: ctl_ha_dtid) -> None:
        """What has ended is bounded too: a consumer whose callback or handler is stuck cannot start for ever.

        Each kind of data by itself, so that a stuck consumer stops nobody else.
        """
        unfinished = self._places[data_id].taken + self._queues[data_id].waiting
        if max(unfinished, self._unheard(CHANNEL_OF[data_id])) >= TRANSFERS_IN_FLIGHT_MAX:
            raise BusyError(f"{TRANSFERS_IN_FLIGHT_MAX} transfers are in flight, or have ended unheard")

    def callbacks(self, channel: ctl_ha_channel) -> CallbackQueue:
        """The callbacks of that channel's data."""
        return next(queue for data_id, queue in self._queues.items() if CHANNEL_OF[data_id] is channel)

    async def run(self, data_id: ctl_ha_dtid) -> None:
        """Run the callbacks of one data id until cancelled. One that raises closes its channel; the next are run."""
        queue = self._queues[data_id]
        with self._enter():
            while True:
                ended = await queue.take()
                self._books[id(ended.request)].callbacks -= 1
                ended.request.ret = ended.status
                try:
                    await ended.callback(ended.request)
                except Exception as error:
                    self._callback_failed(CHANNEL_OF[data_id], error)
                self._report(CHANNEL_OF[data_id], ended.event, ended.status)
                queue.end()

    def _book(self, request: Request) -> _Book:
        book = self._books.get(id(request))
        if book is None:
            raise InvalidError("the request was not allocated here, or was freed")
        return book

    def _ended(self, piece: _Piece, status: ctl_ha_status) -> None:
        book = piece.book
        piece.ended = True
        if status is not ctl_ha_status.CTL_HA_STATUS_SUCCESS and book.error is None:
            book.error = status
        while book.pieces and book.pieces[0].ended:
            first = book.pieces.popleft()
            if first.callback is not None:
                result = book.error or ctl_ha_status.CTL_HA_STATUS_SUCCESS
                book.error = None
                book.callbacks += 1
                self._queues[first.id].add(Ended(book.request, first.callback, _EVENTS[first.command], result))


_EVENTS: Final = {
    ctl_ha_dt_cmd.CTL_HA_DT_CMD_WRITE: ctl_ha_event.CTL_HA_EVT_DMA_SENT,
    ctl_ha_dt_cmd.CTL_HA_DT_CMD_READ: ctl_ha_event.CTL_HA_EVT_DMA_RECEIVED,
}


def _check(request: Request) -> tuple[memoryview, RemoteBuffer]:
    """Both ends of the piece. ``TypeError`` for what is no buffer, ``InvalidError`` for values that cannot be."""
    view = byte_view(request.local)
    if request.id not in CHANNEL_OF:
        raise InvalidError(f"{request.id!r} is no data id")
    if not 0 < request.size <= len(view):
        raise InvalidError(f"{request.size} of {len(view)} local bytes")
    if request.callback is not None and not callable(request.callback):
        raise TypeError(f"a callback is an async callable, not {request.callback!r}")
    if request.remote is None:
        raise InvalidError("no remote buffer")
    if not isinstance(request.remote, RemoteBuffer):
        raise TypeError(f"remote is a RemoteBuffer, not {request.remote!r}")
    if request.command is ctl_ha_dt_cmd.CTL_HA_DT_CMD_READ and view.readonly:
        raise InvalidError("the local buffer cannot be written")
    return view[: request.size], request.remote
