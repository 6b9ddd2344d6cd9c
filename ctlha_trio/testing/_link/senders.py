"""Who sends messages: at once or waiting, told of their end by events, by calls or not at all."""

from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import BusyError, DisconnectError
from ctlha_trio.link import OnSettled, unwatched
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.messages import ChannelEnd, Receipts
from ctlha_trio.testing._link.scene import LinkScene

AGAIN: Final = 0.2
"""Share of messages whose sender sends another when it is told."""


@attrs.define(eq=False)
class Sender:
    """Of one channel of one process."""

    _scene: LinkScene
    _end: ChannelEnd
    _random: Random
    _receipts: Receipts = attrs.field(init=False)
    """Shared by many messages."""

    def __attrs_post_init__(self) -> None:
        """Be told of messages."""
        self._receipts = self._new_receipts()

    async def run(self) -> None:
        """Send until all is calm, or cancelled."""
        while not self._scene.is_calm:
            await let_pass(self._random.expovariate(1 / self._scene.swarm.send_s))
            if self._end.session and not self._scene.is_calm:
                await self._send_some()

    async def _send_some(self) -> None:
        if happens(self._random, 0.4):
            await self.send_waiting(self._random.choice([0.01, 0.2, 1.0]))
            return
        for _ in range(self._random.randint(1, 2 * self._end.slots)):
            if not self._send(self._on_settled()):
                return

    async def send_waiting(self, patience_s: float) -> bool:
        """One message, if there is room for it in time. A checkpoint."""
        began_s = trio.current_time()
        journal = self._scene.journal
        with trio.move_on_after(patience_s):
            try:
                await self._end.channel.send(self._content())
            except DisconnectError:
                journal.reach(Situation.SEND_LOST, if_so=trio.current_time() > began_s)
                return False
            journal.reach(Situation.SEND_WAITED, if_so=trio.current_time() > began_s)
            return True
        journal.reach(Situation.SEND_CANCELLED)
        return False

    def send_at_once(self, count: int) -> int:
        """How many of so many messages are accepted without waiting."""
        for place in range(count):
            if not self._send(unwatched):
                return place
        return count

    def _send(self, on_settled: OnSettled | None) -> bool:
        try:
            self._end.channel.send_nowait(self._content(), on_settled=on_settled)
        except BusyError as error:
            self._scene.journal.reach(Situation.NO_CREDIT if "credit" in str(error) else Situation.NO_SLOT)
        except DisconnectError:
            pass
        else:
            return True
        return False

    def _content(self) -> bytes:
        return self._scene.messages.content(self._end.plan.slot_size)

    def _on_settled(self) -> OnSettled | None:
        return self._random.choice([None, unwatched, self._receipts, self._new_receipts()])

    def _new_receipts(self) -> Receipts:
        return Receipts(self._scene.messages, self._end.name, self._send_again)

    def _send_again(self) -> None:
        if happens(self._random, AGAIN) and not self._scene.is_calm and self._send(self._on_settled()):
            self._scene.journal.reach(Situation.SENT_WHEN_SETTLED)
