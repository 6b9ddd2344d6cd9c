"""What a run of links consists of, as everybody sees it who uses them or makes trouble."""

from random import Random

import attrs

from ctlha_trio.link import Channel, OnSettled, Placement
from ctlha_trio.seams import MemoryNetwork
from ctlha_trio.testing._drivers.clock import NodeClock
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.journal import Journal
from ctlha_trio.testing._link.memories import Memories
from ctlha_trio.testing._link.message_pushes import MessagePushes
from ctlha_trio.testing._link.messages import TOKEN_BYTES, ChannelEnd, Messages
from ctlha_trio.testing._link.swarm import LinkSwarm
from ctlha_trio.testing._link.transfers import Transfers
from ctlha_trio.testing._pairs.pair_faults import NAMES
from ctlha_trio.wire import Denial, Refusal


@attrs.define(eq=False)
class LinkScene:
    """The network, the nodes' clocks, and the models that know what may be."""

    seed: int
    swarm: LinkSwarm
    journal: Journal
    network: MemoryNetwork = attrs.field(init=False)
    clocks: dict[str, NodeClock] = attrs.field(init=False)
    epochs: dict[str, int] = attrs.field(init=False)
    messages: Messages = attrs.field(init=False)
    memories: Memories = attrs.field(init=False)
    pushes: MessagePushes = attrs.field(init=False)
    transfers: Transfers = attrs.field(init=False)
    channels: dict[Channel, ChannelEnd] = attrs.field(factory=dict, init=False)
    is_calm: bool = False
    """Whether nobody is to start anything any more."""

    def __attrs_post_init__(self) -> None:
        """Put the parts together."""
        self.network = MemoryNetwork(self.swarm.buffer_bytes)
        self.clocks = {
            name: NodeClock(100.0 * place, self.swarm.drifts[name]) for place, name in enumerate(NAMES, start=1)
        }
        self.epochs = dict.fromkeys(NAMES, 5)
        self.messages = Messages(self.journal)
        self.memories = Memories(self.journal, lambda name: self.clocks[name].now(), lambda name: self.epochs[name])
        self.pushes = MessagePushes(self.journal, self.memories)
        self.transfers = Transfers(self.journal, self.memories)
        self.set_latency(self.swarm.latency_s)

    def set_latency(self, seconds_s: float) -> None:
        """Of both directions."""
        for one, other in (NAMES, NAMES[::-1]):
            self.network.delay(one, other, seconds_s)

    def random(self, what: str) -> Random:
        """A source for one purpose."""
        return Random(f"{what} {self.seed}")

    def add_channel(self, end: ChannelEnd) -> None:
        """A process has opened a channel."""
        self.channels[end.channel] = end
        self.messages.add(end)

    # What links do

    def begin_send(self) -> None:
        """``send_nowait`` is called."""
        self.messages.begin_send()

    def end_send(self) -> None:
        """It has returned, or raised."""
        self.messages.end_send()

    def accepted(self, channel: Channel, content: bytes, on_settled: OnSettled | None, *, is_push: bool) -> None:
        """A message was accepted."""
        self.messages.accepted(channel, content, on_settled, is_push=is_push)

    def joined(self, channel: Channel, session: int) -> None:
        """A channel enters a session."""
        self.messages.joined(channel, session)

    def delivered(self, channel: Channel, contents: list[bytes]) -> None:
        """Messages are put where the consumer finds them."""
        self.messages.delivered(channel, self.channels[channel].link.session_id, contents)
        for content in contents:
            self.pushes.delivered(int.from_bytes(content[:TOKEN_BYTES], "little"))

    def ending(self, channel: Channel) -> None:
        """A channel is about to hear of the end of its session."""
        end = self.channels[channel]
        self.transfers.check_lost(end.name, end.link)
        if end.session:
            self.pushes.lost(end.name, end.session)

    def ended(self, channel: Channel) -> None:
        """It has."""
        self.messages.lost(channel)

    def lost(self, placement: Placement | None, *, has_taken_another: bool) -> None:
        """A session is over, and so are its keys, and nothing else."""
        if has_taken_another:
            self.journal.problem("L14: the end of a session takes the next one along")
        self.journal.counts["sessions"] += 1
        for memory in self.memories.all:
            if not memory.is_dead and memory.region._table is placement:
                self.memories.bury(memory, Denial.EXPIRED_KEY)

    def refusing(self, refusal: Refusal) -> None:
        """A hello is refused."""
        self.journal.reach(Situation.SIMULTANEOUS, if_so=refusal is Refusal.SIMULTANEOUS)
