"""Transfers as a Trio program wants them: awaited, without a request, a callback or an event."""

from collections.abc import Callable

import attrs
import trio

from ctlha_trio._errors import BusyError, DisconnectError, FailedError, InvalidError
from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_status
from ctlha_trio.dma import Dma, Transfer, TransferCounters, TransferPlaces
from ctlha_trio.seams import Buffer, byte_view


@attrs.define(eq=False)
class PendingTransfer:
    """A push or pull that is under way. Given out by ``Node.push_nowait`` and ``Node.pull_nowait``."""

    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _transfer: Transfer = attrs.field(init=False)

    @property
    def status(self) -> ctl_ha_status:
        """WAIT until it has ended; then SUCCESS, ERROR or BUSY as the peer said, or DISCONNECT."""
        return self._transfer.status

    @property
    def left_bytes(self) -> int:
        """The residual count: all bytes until it has ended, 0 only if it has ended well.

        Of a push that failed, what the peer has not placed if it said so, else all; of a pull, what has not come.
        """
        return self._transfer.left_bytes

    def cancel(self) -> None:
        """End it, as failed and for the reason ``cancelled``; nothing if it has ended. Not a checkpoint.

        Its memory is left alone once it has ended. That is within the call, but while a part of a push is being sent:
        then as soon as that has left. The peer may have placed any part of a push, even all.
        """
        self._transfer.cancel()

    async def wait(self) -> None:
        """Return once it has ended well. Always a checkpoint. Cancelled: the answer is abandoned, not the transfer.

        ``FailedError`` with the peer's reason, or that it was cancelled, ``DisconnectError`` if the session ended
        first, ``BusyError`` if the peer had too many pulls to serve.
        """
        await self._ended.wait()
        reason = self._transfer.reason
        match self._transfer.status:
            case ctl_ha_status.CTL_HA_STATUS_SUCCESS:
                return
            case ctl_ha_status.CTL_HA_STATUS_DISCONNECT:
                raise DisconnectError(f"the session ended before the transfer did: {reason}")
            case ctl_ha_status.CTL_HA_STATUS_BUSY:
                raise BusyError(reason)
            case _:
                raise FailedError(f"the transfer failed: {reason}")

    def begin(
        self, start: Callable[[Callable[[Transfer], None]], Transfer], counters: TransferCounters, *, pushed: bool
    ) -> None:
        """Start it. For ``DirectTransfers``."""

        def on_done(transfer: Transfer) -> None:
            counters.ended(transfer, pushed=pushed)
            self._ended.set()

        self._transfer = start(on_done)


@attrs.define(eq=False)
class DirectTransfers:
    """The native side of one node's transfers."""

    _dma: Dma
    counters: TransferCounters = attrs.field(factory=TransferCounters, init=False)
    """Of these, and of what comes by keys that are no consumer's of the header."""
    _places: TransferPlaces = attrs.field(factory=TransferPlaces, init=False)

    def push_nowait(self, remote: RemoteBuffer, data: Buffer, *, timeout_s: float | None = None) -> PendingTransfer:
        """As ``Node.push_nowait``."""
        _require_remote(remote)
        pending = PendingTransfer()
        deadline_s = self._deadline_s(timeout_s)
        pending.begin(
            lambda on_done: self._dma.start_push(
                remote, data, on_done=on_done, deadline_s=deadline_s, places=self._places
            ),
            self.counters,
            pushed=True,
        )
        return pending

    def pull_nowait(
        self, remote: RemoteBuffer, into: bytearray | memoryview, *, timeout_s: float | None = None
    ) -> PendingTransfer:
        """As ``Node.pull_nowait``."""
        _require_remote(remote)
        view = byte_view(into)
        pending = PendingTransfer()
        deadline_s = self._deadline_s(timeout_s)
        pending.begin(
            lambda on_done: self._dma.start_pull(
                remote, view, on_done=on_done, deadline_s=deadline_s, places=self._places
            ),
            self.counters,
            pushed=False,
        )
        return pending

    def _deadline_s(self, timeout_s: float | None) -> float | None:
        if timeout_s is None:
            return None
        if not timeout_s >= 0:  # nor what is no number
            raise InvalidError(f"a transfer that has {timeout_s} s")
        return self._dma.now() + timeout_s

    async def transfer(self, start: Callable[[], PendingTransfer]) -> None:
        """Start as soon as there is room, and wait for the end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                pending = start()
            except BusyError:
                await self._places.wait_freed()
            else:
                return await pending.wait()


def _require_remote(remote: object) -> None:
    if not isinstance(remote, RemoteBuffer):
        raise TypeError(f"the place at the peer is {remote!r}: give a RemoteBuffer")
