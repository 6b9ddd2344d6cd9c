"""A node's way to the arbiter: slow, silent, refused, and with answers that are lost."""

from collections.abc import Callable
from enum import Enum

import attrs
import trio

from ctlha_trio._errors import ArbiterError
from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import SwapAnswer, Versioned
from ctlha_trio.testing._drivers.gate import Gate
from ctlha_trio.testing._drivers.time import let_pass


class Way(Enum):
    """What becomes of a call."""

    OPEN = "open"
    DOWN = "down"
    """It certainly fails, at once."""
    SILENT = "silent"
    """It never gets there, and never ends."""
    DEAF = "deaf"
    """It gets there, late, and its answer is lost: told as unknown, or not at all."""


@attrs.define(eq=False)
class ArbiterTrouble:
    """What goes wrong between one node and the arbiter."""

    gate: Gate
    """Of the node."""
    latency_s: Callable[[], float]
    """Of the next call, each way."""
    late_s: Callable[[], float]
    """After which a swap whose answer is lost reaches the arbiter."""
    says_unknown: Callable[[], bool]
    """Whether such a loss is told, rather than waited for."""
    on_lost: Callable[[Way], None] = lambda _: None
    """Told of each call that is refused, never arrives, or is applied without an answer."""
    on_arrival: Callable[[], None] = lambda: None
    """Told of each swap at the moment at which the arbiter has carried it out, or has not."""
    _lost: dict[Way, None] = attrs.field(factory=dict, init=False)
    """Ways in which calls are lost now, each by a fault of its own, the latest last."""

    @property
    def way(self) -> Way:
        """What becomes of a call now."""
        return next(reversed(self._lost), Way.OPEN)

    def lose(self, way: Way) -> None:
        """Let calls be lost in this way, until ``find`` of it."""
        self._lost.pop(way, None)
        self._lost[way] = None

    def find(self, way: Way) -> None:
        """End that. What is lost in another way as well stays lost."""
        self._lost.pop(way, None)

    def open(self) -> None:
        """Nothing is lost any more."""
        self._lost.clear()


@attrs.define(eq=False)
class TroubledArbiter:
    """The arbiter as one node has it. A call that was made reaches the arbiter even if the node dies meanwhile."""

    _arbiter: MemoryArbiter
    _trouble: ArbiterTrouble
    _nursery: trio.Nursery
    """Of what is under way to the arbiter."""
    under_way: int = attrs.field(default=0, init=False)
    """Swaps that may still be applied."""
    hurried: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set to let all that is under way arrive now."""

    @property
    def identity(self) -> str:
        """Of the arbiter."""
        return self._arbiter.identity

    async def read(self) -> Versioned:
        """The record as it is at some moment of the call."""
        await self._trouble.gate.wait_open()
        await let_pass(self._trouble.latency_s())
        match self._trouble.way:
            case Way.DOWN:
                self._trouble.on_lost(Way.DOWN)
                raise ArbiterError("down")
            case Way.SILENT:
                self._trouble.on_lost(Way.SILENT)
                await trio.sleep_forever()
            case Way.DEAF:
                await trio.sleep_forever()
        found = await self._arbiter.read()
        await let_pass(self._trouble.latency_s())
        await self._trouble.gate.wait_open()
        return found

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        """Swap, now or later, and tell it or not."""
        await self._trouble.gate.wait_open()
        match self._trouble.way:
            case Way.DOWN:
                self._trouble.on_lost(Way.DOWN)
                await trio.lowlevel.checkpoint()
                return SwapAnswer(SwapOutcome.REFUSED)
            case Way.SILENT:
                self._trouble.on_lost(Way.SILENT)
                await trio.sleep_forever()
        is_deaf = self._trouble.way is Way.DEAF
        if is_deaf:
            self._trouble.on_lost(Way.DEAF)
        answers: list[SwapAnswer] = []
        arrived = trio.Event()
        delay_s = self._trouble.late_s() if is_deaf else self._trouble.latency_s()
        self.under_way += 1
        self._nursery.start_soon(self._deliver, expected_revision, record, delay_s, answers, arrived)
        if is_deaf and self._trouble.says_unknown():
            await let_pass(self._trouble.latency_s())
            return SwapAnswer(SwapOutcome.UNKNOWN)
        if is_deaf:
            await trio.sleep_forever()
        await arrived.wait()
        await let_pass(self._trouble.latency_s())
        await self._trouble.gate.wait_open()
        return answers[0]

    async def probe(self) -> bool:
        """As the arbiter says, if it can be reached and answers."""
        try:
            await self.read()
        except ArbiterError:
            return False
        return await self._arbiter.probe()

    def hurry(self) -> None:
        """Let every swap that is under way arrive at once."""
        self.hurried.set()
        self.hurried = trio.Event()

    async def _deliver(
        self, expected_revision: int, record: Record, delay_s: float, answers: list[SwapAnswer], arrived: trio.Event
    ) -> None:
        with trio.move_on_after(delay_s):
            await self.hurried.wait()
        answers.append(await self._arbiter.cas(expected_revision, record))
        self._trouble.on_arrival()
        self.under_way -= 1
        arrived.set()
