"""The serving side: does its half of what it is ordered, until it is cancelled."""

from typing import Any, Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio._vocabulary import CTL_HA_CHAN_CTL
from ctlha_trio.bench._bare import BareSockets
from ctlha_trio.bench._bare_blocking import CHUNK_BYTES
from ctlha_trio.bench._header import HeaderChannel
from ctlha_trio.bench._node import Side
from ctlha_trio.bench._orders import receive_order, send_failure, send_order
from ctlha_trio.dma import Rights
from ctlha_trio.ha import MessageChannel, Node
from ctlha_trio.seams import TrioClock

_CLOCK: Final = TrioClock()


async def serve_benchmark(node: Node, side: Side) -> None:
    """Serve one measuring side after the other. Never returns; ``ConfigError`` if the key cannot be used."""
    header = HeaderChannel(node)
    header.open()
    channel = node.open_channel(CTL_HA_CHAN_CTL)
    serving = _Serving(node, channel, header, BareSockets.of(side, server_side=False))
    while True:
        await channel.wait_connected()
        try:
            while True:
                await serving.carry_out(await receive_order(channel))
        except (DisconnectError, FailedError):
            # Whoever measures has gone, or what it wants cannot be: it was told. The next one begins anew.
            await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class _Serving:
    _node: Node
    _channel: MessageChannel
    _header: HeaderChannel
    _sockets: BareSockets
    _memory: bytearray = attrs.field(factory=lambda: bytearray(CHUNK_BYTES), init=False)

    async def carry_out(self, order: dict[str, Any]) -> None:
        count = int(order.get("count", 0))
        match order.get("do"):
            case "memory":
                region = self._node.register_region(self._memory, Rights.READ | Rights.WRITE)
                send_order(self._channel, key=region.key.hex())
                return
            case "receive":
                # A consumer that reads nothing for a while is what memory is measured with.
                await _CLOCK.sleep_until(_CLOCK.now() + float(order.get("after_s", 0)))
                left = count
                while left > 0:
                    left -= len(await self._channel.receive_many())
            case "receive-header":
                self._header.expect(count)
                send_order(self._channel, ready=True)
                await self._header.wait_expected()
            case "echo":
                await self._echo(count)
                return
            case "bare":
                try:
                    await self._sockets.serve(str(order["kind"]), count)
                except (OSError, trio.TooSlowError, DisconnectError) as error:
                    send_failure(self._channel, str(error) or "no connection")
                    return
            case unknown:
                send_failure(self._channel, f"{unknown!r} is not known here: both sides must be of one version")
                return
        send_order(self._channel, done=order["do"])

    async def _echo(self, count: int) -> None:
        while count > 0:
            for message in await self._channel.receive_many():
                self._channel.send_nowait(message)
                count -= 1
