"""Large data between the nodes, into memory that its owner has named."""

from ctlha_trio._errors import DisconnectError, InvalidError
from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.dma._counters import TransferCounters
from ctlha_trio.dma._regions import Region, RegionTable, Rights
from ctlha_trio.link import Channel, Link, OnDone, Transfer, TransferPlaces
from ctlha_trio.seams import Buffer, Entropy


class Dma:
    """Push into the peer's registered memory, pull from it, and register our own. One per link, made before it runs.

    ``on_done`` of a transfer is called exactly once, synchronously, from the link's tasks or within ``cancel``, never
    within the start, when the transfer has its status; it must not raise. It may start the next one, and resize the
    memory, but for that of a push that was being sent when the session was lost: a turn of the loop later. Transfers
    end in the order of their starts, pushes and pulls each for themselves, but for those that are cancelled; and all of
    them before any channel reports the loss of the session. Between their fragments of at most ``FRAGMENT_SIZE_MAX`` go
    messages and those of other kinds of bulk data. What the peer denies changes nothing in its memory, unless the key
    died while the transfer was under way: then only the rest. What is not done may have changed any part of it.
    """

    def __init__(self, link: Link, entropy: Entropy) -> None:
        self._link = link
        self._regions = RegionTable(entropy, link.now)
        link.attach_placement(self._regions)

    def now(self) -> float:
        """By the clock of deadlines, in seconds."""
        return self._link.now()

    def register(
        self,
        memory: Buffer,
        *,
        epoch: int,
        rights: Rights = Rights.WRITE,
        uses: int | None = None,
        expires_s: float | None = None,
        reserved: bool = False,
        counters: TransferCounters | None = None,
    ) -> Region:
        """Let the peer write into ``memory``, or read it, as long as this session and this epoch last.

        The key also dies once ``uses`` transfers are done, before anybody is told of the last, and at ``expires_s`` by
        ``now``. ``DisconnectError`` without a session, ``InvalidError`` if ``epoch`` is not the link's, there are no
        rights, no uses or no time, or the memory is read-only and the right is to write, ``BusyError`` if too many
        regions are registered; the pair's own, ``reserved``, finds its place all the same. The memory cannot be resized
        while the region lives. The same memory may be registered again, under another key. What the peer reads of
        memory that changes meanwhile may be old in one part and new in another; if another thread changes a part just
        as that is sent, its pull ends with ERROR and the reason ``changed``, and those of this key from then on get a
        copy. ``counters`` are those of whose memory it is.
        """
        if self._link.session is None:
            raise DisconnectError("a region belongs to a session, and there is none")
        if epoch != self._link.epoch:
            raise InvalidError(f"epoch {epoch} is not the link's {self._link.epoch}")
        region = self._regions.add(
            memory,
            epoch=epoch,
            rights=rights,
            uses=uses,
            expires_s=expires_s,
            reserved=reserved,
            counters=counters,
        )
        if expires_s is not None:
            region.expire_by(self._link.deadlines, expires_s)
        return region

    def start_push(
        self,
        remote: RemoteBuffer,
        data: Buffer,
        *,
        on_done: OnDone,
        deadline_s: float | None = None,
        places: TransferPlaces | None = None,
    ) -> Transfer:
        """Begin to put ``data`` into the peer's memory at ``remote``; done when the peer says that all of it is placed.

        ``data`` must be left unchanged until then. Not done by ``deadline_s`` of ``now``, it is cancelled, as by
        ``Transfer.cancel``, with the reason ``deadline``. ``InvalidError`` for no bytes, or a place that cannot be;
        ``DisconnectError`` without a session; ``BusyError`` if none of ``places`` is free. Who names none shares those
        of the session.
        """
        return self._link.start_push(remote, data, on_done, deadline_s=deadline_s, places=places)

    def start_pull(
        self,
        remote: RemoteBuffer,
        into: memoryview,
        *,
        on_done: OnDone,
        deadline_s: float | None = None,
        places: TransferPlaces | None = None,
    ) -> Transfer:
        """Begin to get as many bytes of the peer's memory at ``remote`` as ``into`` has; done when the last is here.

        Until then parts of ``into`` may be written, afterwards none is. Deadline, places and errors as of
        ``start_push``, and ``InvalidError`` if ``into`` cannot be written.
        """
        return self._link.start_pull(remote, into, on_done, deadline_s=deadline_s, places=places)

    async def push_message(self, remote: RemoteBuffer, data: Buffer, channel: Channel, message: Buffer) -> None:
        """Put ``data`` into the peer's memory at ``remote``, then deliver ``message`` on ``channel``.

        Sent in fragments between which other messages go; the message is delivered after the last byte was placed.
        Returns when queued, after waiting for credit and room. ``data`` must stay unchanged until MSG_SENT reports the
        message; pushes are delivered in the order of their calls, messages sent later may overtake them.
        ``DisconnectError`` if the session ends before it is queued. Cancelled: nothing was queued.
        """
        await self._link.push(remote, data, channel, message)

    def push_message_nowait(self, remote: RemoteBuffer, data: Buffer, channel: Channel, message: Buffer) -> None:
        """As ``push_message``; ``BusyError``, and nothing was queued, without credit or room now. Not a checkpoint."""
        self._link.push_nowait(remote, data, channel, message)
