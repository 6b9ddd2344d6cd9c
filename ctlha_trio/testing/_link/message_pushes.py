"""Pushes that belong to no request: their message tells that the data is placed, and a dead key ends the session.

L11 a message that comes with data is delivered when all of it is placed, where it may be. L12 a session ends by what
its peer did only if that was wrong: a push with a message whose key is dead.
"""

import attrs

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.dma import Rights
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.journal import Journal
from ctlha_trio.testing._link.memories import GUARD_BYTES, Memories, Memory, Writing
from ctlha_trio.testing._pairs.pair_faults import other
from ctlha_trio.wire import Denial


@attrs.define(eq=False, kw_only=True)
class MessagePushed:
    """One that was queued."""

    token: int
    name: str
    """Who sends it."""
    session: int
    memory: Memory
    offset: int
    data: bytes
    may_be_done: bool
    """Whether nothing is against it at its start."""
    epochs: set[int]
    """In which the sender was meanwhile."""
    writing: Writing | None = None


@attrs.define(eq=False)
class MessagePushes:
    """The model of all of them."""

    _journal: Journal
    _memories: Memories
    _under_way: dict[int, MessagePushed] = attrs.field(factory=dict, init=False)
    """By the token of the message."""

    def queue(self, pushed: MessagePushed) -> None:
        """One is about to be queued."""
        self._under_way[pushed.token] = pushed
        pushed.memory.under_way += 1
        if pushed.may_be_done and pushed.data:
            pushed.writing = Writing(GUARD_BYTES + pushed.offset, pushed.data)
            pushed.memory.writings.append(pushed.writing)

    def take_back(self, pushed: MessagePushed) -> None:
        """It was not queued."""
        del self._under_way[pushed.token]
        pushed.memory.under_way -= 1
        if pushed.writing is not None:
            pushed.memory.writings.remove(pushed.writing)

    def delivered(self, token: int) -> None:
        """A message has arrived."""
        pushed = self._under_way.pop(token, None)
        if pushed is None:
            return
        pushed.memory.under_way -= 1
        if not pushed.may_be_done:
            self._journal.problem(f"L11: message {token} arrives, and its data was not allowed")
        if pushed.writing is not None and not pushed.memory.placed(pushed.writing):
            self._journal.problem(f"L11: message {token} arrives before its data")
        self._memories.use(pushed.memory)
        self._journal.reach(Situation.PUSHED_WITH_MESSAGE)

    def lost(self, name: str, session: int) -> None:
        """A session of that end is over: what it sent may have arrived or not, or may still be on its way.

        So the other end may judge it later, as long as it has not noticed that the session is over.
        """
        is_lost = any(pushed.name == name and pushed.session == session for pushed in self._under_way.values())
        self._journal.reach(Situation.PUSH_WITH_MESSAGE_LOST, if_so=is_lost)

    def enter_epoch(self, name: str, epoch: int) -> None:
        """A node is at another epoch."""
        for pushed in self._under_way.values():
            if pushed.name == name:
                pushed.epochs.add(epoch)

    def judge(self, name: str, session: int, error: RemoteProtocolError) -> None:
        """An end says that in this session its peer did what it may not."""
        reasons = {denial.value: denial for denial in Denial}
        denial = reasons.get(error.reason)
        if denial is not None and any(
            self._may_be_denied(pushed, denial)
            for pushed in self._under_way.values()
            if pushed.name == other(name) and pushed.session == session
        ):
            self._journal.reach(Situation.PUSH_WITH_MESSAGE_DENIED)
            return
        self._journal.problem(f"L12: {name} ends the session: {error}")

    def _may_be_denied(self, pushed: MessagePushed, denial: Denial) -> bool:
        if denial is Denial.STALE_EPOCH:
            return pushed.epochs != {pushed.memory.epoch}
        return self._memories.may_be_denied(
            pushed.memory, denial, rights=Rights.WRITE, offset=pushed.offset, size=len(pushed.data)
        )
