"""What consumers of the header have at one node: its channels, their handlers, and their transfers."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

import attrs
import trio

from ctlha_trio._errors import InvalidError
from ctlha_trio._vocabulary import ctl_evt_handler, ctl_ha_channel, ctl_ha_event, ctl_ha_status
from ctlha_trio.dma import Dma
from ctlha_trio.ha._config import CONSUMER_CHANNELS, DEFAULT_CHANNEL, NodeConfig
from ctlha_trio.ha._message_channel import MessageChannel
from ctlha_trio.ha._transfers import CHANNEL_OF, Transfers
from ctlha_trio.link import Link, finish_by
from ctlha_trio.seams import Clock

LAST_EVENTS_LIMIT_S: Final = 0.5
"""For each channel's handler and callbacks at the end of the node. A handler that blocks shall not keep it alive."""

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class Consumers:
    """Channels are opened once, for the life of the node; each has its tasks in the node's nursery."""

    _config: NodeConfig
    _link: Link
    _nursery: trio.Nursery
    _clock: Clock
    _enter: Callable[[], AbstractContextManager[None]]
    """Makes the node the current one."""
    _dma: Dma = attrs.field(kw_only=True)
    transfers: Transfers = attrs.field(init=False)
    channels: dict[ctl_ha_channel, MessageChannel] = attrs.field(factory=dict, init=False)
    _errors: list[Exception] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.transfers = Transfers(
            dma=self._dma,
            enter=self._enter,
            report=self._report_transfer,
            callback_failed=self._fail_channel,
            unheard=self._unheard,
        )

    @property
    def errors(self) -> Sequence[Exception]:
        """What handlers and callbacks raised."""
        return self._errors

    def start(self) -> None:
        """Let callbacks run."""
        for data_id in CHANNEL_OF:
            self._nursery.start_soon(self.transfers.run, data_id)

    def open_channel(self, number: ctl_ha_channel, handler: ctl_evt_handler | None) -> MessageChannel:
        """``InvalidError`` if it is open already, NONE or MAX."""
        if number not in CONSUMER_CHANNELS or number in self.channels:
            raise InvalidError(f"{number!r} is open already, or no channel")
        config = self._config.channels.get(number, DEFAULT_CHANNEL)
        opened = self.channels[number] = MessageChannel(
            number=number,
            message_size_bytes=config.message_size_bytes,
            channel=self._link.open_channel(number, slot_size=config.message_size_bytes, slots=config.slots),
            enter=self._enter,
            callbacks=self.transfers.callbacks(number),
            handler_failed=self._note_failure,
        )
        opened.set_handler(handler)
        opened.begin()
        self._nursery.start_soon(opened.run_handler)
        return opened

    def channel(self, number: ctl_ha_channel) -> MessageChannel:
        """``InvalidError`` if it was not opened."""
        opened = self.channels.get(number)
        if opened is None:
            raise InvalidError(f"{number!r} is not open")
        return opened

    async def tell_all(self) -> None:
        """Let handlers and callbacks hear of what the goodbye ended, but not hold it up for long."""
        for number in CHANNEL_OF.values():
            callbacks = self.transfers.callbacks(number)
            try:
                deadline_s = self._clock.now() + LAST_EVENTS_LIMIT_S
                await finish_by(self._clock, deadline_s, partial(callbacks.wait_ended, callbacks.queued))
                if number in self.channels:
                    await finish_by(self._clock, deadline_s, self.channels[number].wait_told)
            except trio.TooSlowError:
                _LOG.warning("callbacks or handler of %s are cancelled: they did not end in time", number.name)

    def close(self) -> None:
        """The node has ended: whoever still waits at a channel is told."""
        for opened in self.channels.values():
            opened.close()

    def _unheard(self, number: ctl_ha_channel) -> int:
        """How many ended transfers a channel's handler has still to hear of."""
        return self.channels[number].transfers_unheard if number in self.channels else 0

    def _report_transfer(self, number: ctl_ha_channel, event: ctl_ha_event, status: ctl_ha_status) -> None:
        """A transfer of a channel's data has ended: its handler hears of it, if it has one."""
        if number in self.channels:
            self.channels[number].report_transfer(event, status)

    def _fail_channel(self, number: ctl_ha_channel, error: Exception) -> None:
        """A callback of a channel's data raised: close the channel, if it is open."""
        if number in self.channels:
            self.channels[number].fail(error)
        else:
            self._note_failure(number, error)

    def _note_failure(self, number: ctl_ha_channel, error: Exception) -> None:
        """A handler or callback raised: say so until the node ends, then raise it."""
        _LOG.error("the handler of %s raised %r", number.name, error)
        self._errors.append(error)
