"""The model of pushes with messages: whom it lets say that the peer did what it may not."""

import attrs

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.dma import Rights
from ctlha_trio.testing._link.journal import Journal
from ctlha_trio.testing._link.memories import Memories, Memory
from ctlha_trio.testing._link.message_pushes import MessagePushed, MessagePushes
from ctlha_trio.wire import Denial

SESSION, LATER = 7, 8
TOKEN = 1


@attrs.define(eq=False)
class Judged:
    """Node b has pushed with a message in ``SESSION``, into memory of a that is for pulls only."""

    journal: Journal = attrs.field(init=False)
    pushes: MessagePushes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.journal = Journal(lambda: 0.0, None, lambda: None)
        self.pushes = MessagePushes(self.journal, Memories(self.journal, lambda _: 0.0, lambda _: 5))
        memory = Memory(
            number=1,
            owner="a",
            session=SESSION,
            epoch=5,
            size=16,
            rights=Rights.READ,
            uses=None,
            expires_s=None,
            for_messages=False,
        )
        pushed = MessagePushed(
            token=TOKEN,
            name="b",
            session=SESSION,
            memory=memory,
            offset=0,
            data=b"data",
            may_be_done=False,
            epochs={5},
        )
        self.pushes.queue(pushed)

    def say(self, denial: Denial, *, session: int = SESSION) -> str:
        """Node a ends a session for it; what is wrong with that."""
        self.pushes.judge("a", session, RemoteProtocolError(denial.value, "a push"))
        return self.journal.problem_found


def test_a_push_that_may_not_be_done_may_end_the_session() -> None:
    assert Judged().say(Denial.RIGHTS) == ""


def test_it_may_still_arrive_when_its_sender_has_lost_the_session() -> None:
    judged = Judged()
    judged.pushes.lost("b", SESSION)
    assert judged.say(Denial.RIGHTS) == ""


def test_its_message_may_not_arrive_then_either() -> None:
    judged = Judged()
    judged.pushes.lost("b", SESSION)
    judged.pushes.delivered(TOKEN)
    assert judged.journal.problem_found.startswith("L11: ")


def test_it_is_no_reason_to_end_a_later_session() -> None:
    judged = Judged()
    judged.pushes.lost("b", SESSION)
    assert judged.say(Denial.RIGHTS, session=LATER).startswith("L12: ")


def test_no_other_reason_is_true_of_it() -> None:
    assert Judged().say(Denial.OUT_OF_RANGE).startswith("L12: ")
