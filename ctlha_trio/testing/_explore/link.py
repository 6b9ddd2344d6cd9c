"""The link of an explored world: what an end may hear next, and what happens to sessions."""

from collections.abc import Iterator

import attrs

from ctlha_trio.pair import events as ev
from ctlha_trio.testing._explore.node import Said
from ctlha_trio.testing._explore.parts import Inbox, Push, Session


def is_live(inbox: Inbox) -> bool:
    """Whether a session carries messages, of which this end knows or will hear."""
    return bool(inbox.sessions) and not inbox.sessions[-1].cut


def knows_live(inbox: Inbox) -> bool:
    """Whether what this end says now is carried."""
    return len(inbox.sessions) == 1 and not inbox.sessions[0].cut and not inbox.sessions[0].peer


def connected(inbox: Inbox, peer: int) -> Inbox:
    """A session begins with this incarnation of the peer."""
    return attrs.evolve(inbox, sessions=(*inbox.sessions, Session(peer)))


def cut(inbox: Inbox) -> Inbox:
    """The live session is over."""
    if not is_live(inbox):
        return inbox
    return attrs.evolve(inbox, sessions=(*inbox.sessions[:-1], attrs.evolve(inbox.sessions[-1], cut=True)))


def carry(inbox: Inbox, said: Said) -> Inbox:
    """The live session brings this."""
    *before, live = inbox.sessions
    if isinstance(said.what, Push):
        live = attrs.evolve(live, pushes=(*live.pushes, said.what))
    else:
        live = attrs.evolve(live, messages=(*live.messages, said.what))
    return attrs.evolve(inbox, sessions=(*before, live))


def heard_next(inbox: Inbox) -> Iterator[tuple[ev.Event | None, int, Inbox]]:
    """What may be heard, with the data placed before it, and what is left. None: a session is never heard of.

    How much of a session that was cut is lost is decided when its end is heard: all that was not heard by then. That
    nothing was heard for too long is no different from a closed connection, after which a timer fires at once.
    """
    if not inbox.sessions:
        return
    session, *later = inbox.sessions

    def left(*sessions: Session) -> Inbox:
        return attrs.evolve(inbox, sessions=(*sessions, *later))

    if session.peer:
        yield ev.SessionUp(session.peer), 0, left(attrs.evolve(session, peer=0))
        if session.cut:
            yield None, 0, left()
        return
    if session.messages:
        message, *messages = session.messages
        yield ev.Received(message), 0, left(attrs.evolve(session, messages=tuple(messages)))
    if session.pushes:
        push, *pushes = session.pushes
        yield ev.Received(push.message), push.data, left(attrs.evolve(session, pushes=tuple(pushes)))
    if session.cut:
        yield ev.SessionLost(ev.Loss.CLOSED), 0, left()
