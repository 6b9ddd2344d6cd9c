"""Who takes what channels receive: at once, slowly, not at all, or only one of messages and events."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio.link import ChannelEvent, EventRange
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.messages import ChannelEnd
from ctlha_trio.testing._link.scene import LinkScene

LOOK_S: Final = 0.02
"""Between two looks of who does not wait for events."""


@attrs.define(eq=False)
class Consumer:
    """Of one channel of one process."""

    _scene: LinkScene
    _end: ChannelEnd
    _random: Random
    _arrived: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _arrivals: int = attrs.field(default=0, init=False)

    async def run(self) -> None:
        """Change from mood to mood, until cancelled; in the end be quick, or stop for good."""
        if self._end.plan.hears:
            self._end.channel.hear(self._hear, self._hear_receipts)
        while not self._scene.is_calm:
            mood = self._random.choice([self._be_quick, self._be_quick, self._be_slow, self._stop, *self._half_moods])
            with trio.move_on_after(self._random.uniform(0.1, 2.0)):
                await mood()
        if self._end.plan.stays_stopped:
            await trio.sleep_forever()
        await self._be_quick()

    @property
    def _half_moods(self) -> list[Callable[[], Awaitable[None]]]:
        return [] if self._end.plan.hears else [self._take_events_only, self._take_messages_only]

    def _hear(self, event: ChannelEvent) -> None:
        self._scene.messages.take_event(self._end, event)
        if isinstance(event, EventRange):
            self._arrive()

    def _hear_receipts(self, count: int) -> None:
        self._scene.messages.take_receipts(self._end, count)
        self._arrive()

    def _arrive(self) -> None:
        self._arrivals += 1
        self._arrived.unpark_all()

    async def _be_quick(self) -> None:
        while True:
            self._take_messages()
            await self._wait_for_events()

    async def _be_slow(self) -> None:
        while True:
            await let_pass(self._random.expovariate(1 / 0.1))
            if self._end.untaken:
                self._scene.messages.take(self._end, [self._end.channel.receive_nowait()])
            if not self._end.plan.hears:
                with trio.move_on_after(LOOK_S):
                    await self._wait_for_events()

    async def _stop(self) -> None:
        await trio.sleep_forever()

    async def _take_events_only(self) -> None:
        while True:
            await self._wait_for_events()

    async def _take_messages_only(self) -> None:
        while True:
            self._take_messages()
            await let_pass(LOOK_S)
            link_is_up = self._end.link.session is not None
            self._scene.journal.reach(Situation.LEFT_OUT, if_so=link_is_up and not self._end.session)

    async def _wait_for_events(self) -> None:
        if self._end.plan.hears:
            arrivals, lead = self._arrivals, self._end.channel.lead
            if lead is not None:
                await lead()
            if self._arrivals == arrivals:
                await self._arrived.park()
        else:
            self._scene.messages.take_events(self._end, await self._end.channel.receive_events())

    def _take_messages(self) -> None:
        channel, untaken = self._end.channel, len(self._end.untaken)
        if happens(self._random):
            taken = channel.receive_all_nowait()
        else:
            taken = [channel.receive_nowait() for _ in range(untaken)]
        if len(taken) != untaken:
            self._scene.journal.problem(f"L4: {self._end.name} finds {len(taken)} of {untaken} messages")
        self._scene.messages.take(self._end, taken)
