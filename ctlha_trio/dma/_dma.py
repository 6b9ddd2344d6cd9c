"""Large data between the nodes, into memory that its owner has named."""

from ctlha_trio._errors import DisconnectError, InvalidError
from ctlha_trio._vocabulary import RemoteBuffer
from ctlha_trio.dma._regions import Region, RegionTable
from ctlha_trio.link import Channel, Link
from ctlha_trio.seams import Buffer, Entropy


class Dma:
    """Push into the peer's registered memory, and registration of our own. One per link, made before it runs."""

    def __init__(self, link: Link, entropy: Entropy) -> None:
        self._link = link
        self._regions = RegionTable(entropy)
        link.attach_placement(self._regions)

    def register(self, memory: bytearray, *, epoch: int) -> Region:
        """Let the peer write into ``memory``, as long as this session and this epoch last.

        ``DisconnectError`` without a session, ``InvalidError`` if ``epoch`` is not the link's, ``BusyError`` if
        too many regions are registered. The memory cannot be resized while the region lives.
        """
        if self._link.session is None:
            raise DisconnectError("a region belongs to a session, and there is none")
        if epoch != self._link.epoch:
            raise InvalidError(f"epoch {epoch} is not the link's {self._link.epoch}")
        return self._regions.add(memory, epoch=epoch)

    async def push_message(self, remote: RemoteBuffer, data: Buffer, channel: Channel, message: Buffer) -> None:
        """Put ``data`` into the peer's memory at ``remote``, then deliver ``message`` on ``channel``.

        Sent in fragments between which other messages go; the message is delivered after the last byte was placed.
        Returns when queued, after waiting for credit and room. ``data`` must stay unchanged until MSG_SENT reports the
        message; pushes are delivered in the order of their calls, messages sent later may overtake them.
        ``DisconnectError`` if the session ends before it is queued. Cancelled: nothing was queued.
        """
        await self._link.push(remote, data, channel, message)
