"""One end of a link: a process of a node, with all that uses the link in it."""

from collections.abc import Sequence
from functools import partial

import attrs
import trio

from ctlha_trio._errors import CtlHaError, RefusedError, RemoteProtocolError
from ctlha_trio.dma import Dma
from ctlha_trio.link import Link, LinkConfig
from ctlha_trio.testing._link.consumers import Consumer
from ctlha_trio.testing._link.messages import ChannelEnd
from ctlha_trio.testing._link.movers import Mover
from ctlha_trio.testing._link.scene import LinkScene
from ctlha_trio.testing._link.senders import Sender
from ctlha_trio.testing._pairs.pair_faults import other
from ctlha_trio.wire import Refusal

RESTING = frozenset({Refusal.STOPPING.value, Refusal.DISK_HANGS.value})
"""Why a healthy end may refuse another one: it stops, or rests."""


@attrs.define(eq=False)
class LinkEnd:
    """Made for each process."""

    scene: LinkScene
    name: str
    incarnation: int
    is_beating: bool = True
    """Whether its heartbeats go out."""
    is_leaving: bool = False
    """Whether it has said goodbye for good."""
    link: Link = attrs.field(init=False)
    dma: Dma = attrs.field(init=False)
    channels: list[ChannelEnd] = attrs.field(factory=list, init=False)
    senders: list[Sender] = attrs.field(factory=list, init=False)
    mover: Mover = attrs.field(init=False)
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the link and open its channels."""
        scene, peer = self.scene, other(self.name)
        entropy = scene.random(f"entropy {self.name} {self.incarnation}").randbytes
        self.link = Link(
            LinkConfig(cluster="c", node=self.name, peer=peer, resource="r", listen=self.name, peer_address=peer),
            clock=scene.clocks[self.name],
            entropy=entropy,
            transport=scene.network.transport(self.name),
            incarnation=self.incarnation,
            alive=lambda: self.is_beating,
            report=self._report,
        )
        self.link.announce(epoch=scene.epochs[self.name], revision=1)
        self.dma = Dma(self.link, entropy)
        for plan in scene.swarm.channels:
            channel = self.link.open_channel(
                plan.number, slot_size=plan.slot_size, slots=plan.slots[self.name], answered=plan.answered
            )
            end = ChannelEnd(self.name, plan, self.link, channel)
            scene.add_channel(end)
            self.channels.append(end)

    def _report(self, error: CtlHaError) -> None:
        self.scene.journal.note(self.name, f"reports {type(error).__name__} {error}")
        if isinstance(error, RemoteProtocolError):
            self.scene.pushes.judge(self.name, self.link.session_id, error)
        elif not isinstance(error, RefusedError) or error.reason not in RESTING:
            self.scene.journal.problem(f"L13: {self.name} reports {error}")

    async def live(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is killed."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.link.run)
                    self._start_users(nursery)
                    task_status.started()
        finally:
            self._hear_the_rest()
            self.ended.set()

    def _start_users(self, nursery: trio.Nursery) -> None:
        scene = self.scene
        for end in self.channels:
            what = f"{self.name} {self.incarnation} {end.plan.number}"
            nursery.start_soon(Consumer(scene, end, scene.random(f"consumer {what}")).run)
            self.senders.append(Sender(scene, end, scene.random(f"sender {what}")))
            nursery.start_soon(self.senders[-1].run)
        random = scene.random(f"mover {self.name} {self.incarnation}")
        self.mover = Mover(scene, self.name, self.link, self.dma, self.channels, random, nursery)
        nursery.start_soon(self.mover.run)

    def _hear_the_rest(self) -> None:
        """What nobody has taken is looked at when the process is over."""
        for end in self.channels:
            if not end.plan.hears:
                end.unheard = 0
                messages = self.scene.messages
                end.channel.hear(partial(messages.take_event, end), partial(messages.take_receipts, end))
            self.scene.messages.take(end, end.channel.receive_all_nowait())

    async def kill(self) -> None:
        """End it at once. A checkpoint."""
        self._scope.cancel(reason="killed")
        await self.ended.wait()

    @property
    def holds(self) -> Sequence[str]:
        """What a process that is over has left behind."""
        meeting = self.link._meeting
        left = {
            "a session": self.link.session is not None,
            "a hello": bool(meeting._in_hello or meeting._accepting or meeting._proposing),
            "a key": bool(self.dma._regions._regions),
        }
        return [what for what, is_left in left.items() if is_left]
