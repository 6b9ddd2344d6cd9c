"""The link of a simulated pair: sessions that both ends, or one end only, come to know, and lose at different times."""

from random import Random

import attrs

from ctlha_trio.pair import events as ev, messages as msg

OVERTAKE_CHANCE = 0.3
"""Of a push by a message or the other way round, where both wait."""
ONE_SIDED_CHANCE = 0.3
"""That an end which has not heard of a session when it is cut never hears of it."""

SILENT_CHANCE = 0.2
"""Of an end of a session; the others are closed connections, after which a session may be resumed."""

Blocks = dict[int, int]
"""Values of blocks, by the block's number."""


def digest_of(blocks: Blocks) -> bytes:
    """Different for different values."""
    return repr(sorted(blocks.items())).encode()


@attrs.frozen(eq=False)
class Parcel:
    """What an end will hear, with the data that was placed for it if it is a push."""

    event: ev.SessionUp | ev.SessionLost | ev.Received
    session: int
    data: Blocks | None = None

    @property
    def spoken(self) -> bool:
        """Whether it is a message, and not the begin or the end of a session."""
        return isinstance(self.event, ev.Received)

    @property
    def silent(self) -> bool:
        """Whether it is that nothing was heard for too long."""
        return isinstance(self.event, ev.SessionLost) and self.event.loss is ev.Loss.SILENT

    @property
    def pushed(self) -> bool:
        """Pushes keep their order and other messages theirs, but either may overtake the other."""
        return self.data is not None


@attrs.define(eq=False)
class LinkEnd:
    """One node's end."""

    random: Random
    session: int = 0
    """The session that the node's core knows; 0 without one."""
    inbox: list[Parcel] = attrs.Factory(list)
    clogged: bool = False
    """Nothing comes through to this end, while the other way works."""

    def receive(self) -> Parcel:
        """Take what is heard next."""
        place = self._overtaking() if self.random.random() < OVERTAKE_CHANCE else 0
        parcel = self.inbox.pop(place)
        if isinstance(parcel.event, ev.SessionUp):
            self.session = parcel.session
        elif isinstance(parcel.event, ev.SessionLost):
            self.session = 0
        return parcel

    def end(self, session: int, loss: ev.Loss) -> None:
        """Hear, behind some of what was under way, that the session is over, unless it was never heard of."""
        if self.clogged:
            self._fall_silent(session)
            return
        begins = [i for i, each in enumerate(self.inbox) if isinstance(each.event, ev.SessionUp)]
        if begins and self.inbox[begins[-1]].session == session and self.random.random() < ONE_SIDED_CHANCE:
            del self.inbox[begins[-1] :]
            return
        for pushed in (False, True):
            lane = [each for each in self.inbox if each.spoken and each.session == session and each.pushed is pushed]
            for lost in lane[self.random.randint(0, len(lane)) :]:
                self.inbox.remove(lost)
        self.inbox.append(Parcel(ev.SessionLost(loss), session))

    def _fall_silent(self, session: int) -> None:
        """Nothing of the session that was not heard by now ever is, not even how it ended."""
        known = self.session == session
        self.inbox = [each for each in self.inbox if each.session != session]
        if known:
            self.inbox.append(Parcel(ev.SessionLost(ev.Loss.SILENT), session))

    def clear(self) -> None:
        """The node crashed."""
        self.session = 0
        self.inbox.clear()

    def _overtaking(self) -> int:
        first = self.inbox[0]
        for place, parcel in enumerate(self.inbox):
            if not first.spoken or not parcel.spoken:
                return 0
            if parcel.pushed is not first.pushed:
                return place
        return 0


@attrs.define(eq=False)
class SimulatedLink:
    """At most one session at a time carries messages; an end may still be hearing the one before."""

    ends: tuple[LinkEnd, LinkEnd]
    random: Random
    live: int = 0
    """The session that carries messages; 0 without one."""
    sessions: int = 0
    partitioned: bool = False

    @property
    def passable(self) -> bool:
        """Whether a session can begin: its agreement needs both ways."""
        return not (self.live or self.partitioned or self.ends[0].clogged or self.ends[1].clogged)

    def connect(self, incarnations: tuple[int, int]) -> None:
        """Begin a session between processes of these incarnations, in the order of the ends."""
        if not self.passable:
            return
        self.sessions += 1
        self.live = self.sessions
        for end, peer in zip(self.ends, reversed(incarnations), strict=True):
            end.inbox.append(Parcel(ev.SessionUp(peer), self.live))

    def send(self, sender: LinkEnd, message: msg.Message, data: Blocks | None = None) -> None:
        """Carry a message in the session that its sender knows, if that is the live one."""
        if sender.session == self.live != 0:
            receiver = self.ends[1] if sender is self.ends[0] else self.ends[0]
            receiver.inbox.append(Parcel(ev.Received(message), self.live, data))

    def cut(self) -> None:
        """The connection ends, or falls silent; the ends need not agree which."""
        self._end_with(*(self._some_loss() for _ in self.ends))

    def renew(self, end: LinkEnd) -> None:
        """One end gives up the session that it knows, if that is the live one."""
        if end.session == self.live:
            self.cut()

    def close(self) -> None:
        """The connection ends, and both ends are told so."""
        self._end_with(ev.Loss.CLOSED, ev.Loss.CLOSED)

    def part(self, leaver: LinkEnd) -> None:
        """One end says goodbye behind all that it has said."""
        session, self.live = self.live, 0
        if session:
            for end in self.ends:
                loss = ev.Loss.CLOSED if end is leaver else ev.Loss.GOODBYE
                if end.clogged:
                    end.end(session, loss)
                else:
                    end.inbox.append(Parcel(ev.SessionLost(loss), session))

    def suspect(self, suspicious: LinkEnd) -> None:
        """One end has heard nothing for so long that it gives the session up; the other one learns of that or not."""
        self._end_with(*(ev.Loss.SILENT if end is suspicious else self._some_loss() for end in self.ends))

    def partition(self) -> None:
        """Cut the nodes off each other until the partition is lifted."""
        self.partitioned = True
        self.cut()

    def _some_loss(self) -> ev.Loss:
        return ev.Loss.SILENT if self.random.random() < SILENT_CHANCE else ev.Loss.CLOSED

    def _end_with(self, *losses: ev.Loss) -> None:
        session, self.live = self.live, 0
        if session:
            for end, loss in zip(self.ends, losses, strict=True):
                end.end(session, loss)
