"""What may become of messages: in order, once, unchanged, in their own session, and each reported once.

L1 a channel delivers what was sent on it in this session, in order, once. L2 nobody has more on the way than there is
room for. L3 each accepted message is reported once: as sent if it was delivered, at the end of the session as lost.
L4 a consumer gets what was delivered, and hears of each session from its beginning to its end.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import attrs

from ctlha_trio._vocabulary import ctl_ha_event, ctl_ha_status
from ctlha_trio.link import Channel, ChannelEvent, Connected, Disconnected, EventRange, Link, unwatched
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.journal import Journal
from ctlha_trio.testing._link.swarm import ChannelPlan
from ctlha_trio.testing._pairs.pair_faults import other

TOKEN_BYTES = 8
"""At the head of each message: its number among all of the run."""
SUCCESS, DISCONNECT = ctl_ha_status.CTL_HA_STATUS_SUCCESS, ctl_ha_status.CTL_HA_STATUS_DISCONNECT


@attrs.define(eq=False)
class Sent:
    """A message that was accepted."""

    token: int
    content: bytes
    by_event: bool
    """Whether MSG_SENT tells of it."""
    is_delivered: bool = False
    is_reported: bool = False


@attrs.define(eq=False)
class Way:
    """One direction of one channel in one session."""

    plain: deque[Sent] = attrs.field(factory=deque, init=False)
    """Not delivered yet, in order."""
    pushed: deque[Sent] = attrs.field(factory=deque, init=False)
    """The same of those that come behind pushed data, whom the others may overtake."""
    accepted: int = 0
    delivered: int = 0
    by_event: int = 0
    """Messages of which events tell."""
    by_event_delivered: int = 0
    told_sent: int = 0
    """By events."""
    told_lost: int = 0
    by_call: list[Sent] = attrs.field(factory=list, init=False)
    receipts: int = 0
    """MSG_RECV events that the consumer has taken."""


@attrs.define(eq=False)
class Receipts:
    """An ``on_settled`` for one message or many."""

    messages: "Messages"
    name: str
    again: Callable[[], None]
    """What whoever is told does."""
    waiting: deque[Sent] = attrs.field(factory=deque, init=False)

    def __call__(self, status: ctl_ha_status) -> None:
        """The oldest of them is settled."""
        self.messages.settled(self, status)
        self.again()


@attrs.define(eq=False)
class ChannelEnd:
    """A channel of one process."""

    name: str
    plan: ChannelPlan
    link: Link
    channel: Channel
    session: int = 0
    """That the channel is in, 0 if in none."""
    untaken: deque[tuple[int, bytes]] = attrs.field(factory=deque, init=False)
    """Messages that wait for the consumer, with their session."""
    unheard: int = 0
    """MSG_RECV events that wait for it."""
    told_session: int = 0
    """That the consumer believes to be in."""
    joined: deque[int] = attrs.field(factory=deque, init=False)
    """Sessions that it has not heard of."""

    @property
    def occupied(self) -> int:
        """Slots that are not free."""
        return max(len(self.untaken), self.unheard)

    @property
    def slots(self) -> int:
        """For each direction."""
        return self.plan.slots[self.name]


@attrs.define(eq=False)
class Messages:
    """The model of all channels."""

    _journal: Journal
    _ways: dict[tuple[int, int, str], Way] = attrs.field(factory=dict, init=False)
    """By session, channel and sender."""
    _ends: dict[Channel, ChannelEnd] = attrs.field(factory=dict, init=False)
    _members: dict[tuple[int, int, str], ChannelEnd] = attrs.field(factory=dict, init=False)
    """By session, channel and name, who is in it."""
    _tokens: int = 0
    _sending: int = 0
    """Calls of ``send_nowait`` that have not returned."""

    def add(self, end: ChannelEnd) -> None:
        """A process has opened a channel."""
        self._ends[end.channel] = end

    def content(self, size: int) -> bytes:
        """A message that no other is like."""
        self._tokens += 1
        return self._tokens.to_bytes(TOKEN_BYTES, "little") + bytes([self._tokens % 251]) * (size - TOKEN_BYTES)

    def way(self, session: int, number: int, source: str) -> Way:
        """What that end sends in that session."""
        return self._ways.setdefault((session, number, source), Way())

    # What the link does

    def joined(self, channel: Channel, session: int) -> None:
        """A channel enters a session."""
        end = self._ends[channel]
        if end.session:
            self._journal.problem(f"L4: channel {end.plan.number} of {end.name} is in two sessions at once")
        end.session = session
        end.joined.append(session)
        self._members[session, end.plan.number, end.name] = end
        self._journal.note(end.name, f"channel {end.plan.number} joins {session:x}")

    def begin_send(self) -> None:
        """A call of ``send_nowait`` begins."""
        self._sending += 1

    def end_send(self) -> None:
        """It has returned, or raised."""
        self._sending -= 1

    def accepted(self, channel: Channel, content: bytes, on_settled: object, *, is_push: bool) -> None:
        """A message was accepted."""
        end = self._ends[channel]
        number, session = end.plan.number, end.session
        if not session:
            self._journal.problem(f"L1: channel {number} of {end.name} accepts a message without a session")
            return
        way = self.way(session, number, end.name)
        sent = Sent(int.from_bytes(content[:TOKEN_BYTES], "little"), content, on_settled is None)
        (way.pushed if is_push else way.plain).append(sent)
        way.accepted += 1
        way.by_event += sent.by_event
        if isinstance(on_settled, Receipts):
            on_settled.waiting.append(sent)
            way.by_call.append(sent)
        else:
            assert on_settled in {None, unwatched}
        self._journal.counts["messages"] += 1
        self._journal.note(end.name, f"{number} accepts {sent.token}{' behind its data' * is_push}")
        self._check_room(end, way)

    def _check_room(self, end: ChannelEnd, way: Way) -> None:
        number, on_way = end.plan.number, way.accepted - way.delivered
        if on_way > end.slots:
            self._journal.problem(f"L2: {end.name} has {on_way} on the way by {number}, with {end.slots} slots")
        there = self._members.get((end.session, number, other(end.name)))
        if there is None:
            self._journal.problem(f"L2: {end.name} sends on {number} before the peer has opened it")
        elif there.session == end.session and there.occupied + on_way > there.slots:
            self._journal.problem(
                f"L2: {end.name} has {on_way} on the way by {number}, {there.slots - there.occupied} have room there"
            )

    def delivered(self, channel: Channel, session: int, contents: Sequence[bytes]) -> None:
        """Messages are put where the consumer finds them."""
        end = self._ends[channel]
        number = end.plan.number
        if session != end.session:
            self._journal.problem(f"L1: {number} of {end.name} delivers in {session:x}, and is in {end.session:x}")
        way = self.way(session, number, other(end.name))
        for content in contents:
            queue = next((queue for queue in (way.plain, way.pushed) if queue and queue[0].content == content), None)
            token = int.from_bytes(content[:TOKEN_BYTES], "little")
            self._journal.note(end.name, f"{number} delivers {token}")
            if queue is None:
                self._journal.problem(f"L1: {number} of {end.name} delivers {token}, which is not the next")
                return
            sent = queue.popleft()
            sent.is_delivered = True
            way.delivered += 1
            way.by_event_delivered += sent.by_event
            end.untaken.append((session, content))
            end.unheard += not end.plan.hears
        if end.occupied > end.slots:
            self._journal.problem(f"L2: {number} of {end.name} holds {end.occupied} messages in {end.slots} slots")

    def settled(self, receipts: Receipts, status: ctl_ha_status) -> None:
        """A message is reported to who sent it."""
        if self._sending:
            self._journal.problem(f"L3: {receipts.name} is told of a message within a send")
        if not receipts.waiting:
            self._journal.problem(f"L3: {receipts.name} is told of a message twice")
            return
        sent = receipts.waiting.popleft()
        sent.is_reported = True
        self._journal.note(receipts.name, f"{sent.token} is settled: {status.name}")
        if status is SUCCESS and not sent.is_delivered:
            self._journal.problem(f"L3: {receipts.name} is told that {sent.token} was sent, which was not delivered")
        self._journal.reach(Situation.SETTLED_BY_LOSS, if_so=status is DISCONNECT)

    def lost(self, channel: Channel) -> None:
        """A channel has been told of the end of its session."""
        end = self._ends[channel]
        if not end.session:
            return
        way = self.way(end.session, end.plan.number, end.name)
        self._journal.note(end.name, f"channel {end.plan.number} leaves {end.session:x}")
        end.session = 0
        untold = [sent.token for sent in way.by_call if not sent.is_reported]
        if untold:
            self._journal.problem(f"L3: {end.name} is never told of {untold}")

    # What the consumer gets

    def take(self, end: ChannelEnd, contents: Iterable[bytes]) -> None:
        """Messages that were received."""
        for content in contents:
            token = int.from_bytes(content[:TOKEN_BYTES], "little")
            if not end.untaken or end.untaken[0][1] != content:
                self._journal.problem(f"L4: {end.plan.number} of {end.name} hands {token} out, which was not the next")
                return
            session, _ = end.untaken.popleft()
            self._journal.reach(Situation.LATE_MESSAGE, if_so=session != end.session)

    def take_events(self, end: ChannelEnd, events: Iterable[ChannelEvent]) -> None:
        """All that waited."""
        end.unheard = 0
        for event in events:
            self.take_event(end, event)

    def take_event(self, end: ChannelEnd, event: ChannelEvent) -> None:
        """One of them."""
        match event:
            case Connected(session=session):
                if end.told_session or not end.joined or session != end.joined.popleft():
                    self._journal.problem(f"L4: {end.plan.number} of {end.name} hears of {session:x} out of order")
                end.told_session = session
            case EventRange():
                self._take_range(end, event)
            case Disconnected(reason=reason):
                self._journal.note(end.name, f"{end.plan.number} hears of the end: {reason.value}")
                self._journal.reach(Situation[f"LOST_{reason.name}"])
                self._check_end(end)
                end.told_session = 0

    def take_receipts(self, end: ChannelEnd, count: int) -> None:
        """So many messages have come."""
        if self._is_in_session(end):
            self.way(end.told_session, end.plan.number, other(end.name)).receipts += count

    def _is_in_session(self, end: ChannelEnd) -> bool:
        if not end.told_session:
            self._journal.problem(f"L4: {end.plan.number} of {end.name} hears of messages outside a session")
        return bool(end.told_session)

    def _take_range(self, end: ChannelEnd, event: EventRange) -> None:
        if event.event is ctl_ha_event.CTL_HA_EVT_MSG_RECV:
            self.take_receipts(end, event.count)
            return
        if not self._is_in_session(end):
            return
        way = self.way(end.told_session, end.plan.number, end.name)
        if event.param == SUCCESS:
            way.told_sent += event.count
            if way.told_sent > way.by_event_delivered:
                self._journal.problem(f"L3: {end.name} hears of {way.told_sent} sent, {way.by_event_delivered} arrived")
        else:
            way.told_lost += event.count

    def _check_end(self, end: ChannelEnd) -> None:
        number, session = end.plan.number, end.told_session
        way, back = self.way(session, number, end.name), self.way(session, number, other(end.name))
        told = way.told_sent + way.told_lost
        if told != way.by_event:
            self._journal.problem(f"L3: {end.name} hears of {told} messages by {number}, and has sent {way.by_event}")
        if back.receipts != back.delivered:
            self._journal.problem(f"L4: {number} of {end.name} hears of {back.receipts} of {back.delivered} messages")
