"""What a person asked the core for, and how it ended: each is told of their own."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ctlha_trio._errors import FailedError
from ctlha_trio.ha._person_request import PersonRequest
from ctlha_trio.pair import events

CHANGED = "the record has changed"


async def told(request: PersonRequest, ends: list[str]) -> None:
    try:
        await request.ask(events.HandoverAsked())
    except FailedError as error:
        ends.append(str(error))
    else:
        ends.append("done")


@pytest.mark.parametrize("first", [None, FailedError("the peer is lost")])
@pytest.mark.parametrize("second", [None, FailedError(CHANGED)])
async def test_each_is_told_how_their_own_ended(first: FailedError | None, second: FailedError | None) -> None:
    """Also where the next one ends before whoever asked for the first has come to look."""
    at_once = list[FailedError | None]()

    def feed(_: events.Event) -> None:
        if at_once:
            request.end(at_once.pop())

    request, ends_of_first, ends_of_second = PersonRequest("handover", feed), list[str](), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told, request, ends_of_first)
        await wait_all_tasks_blocked()
        request.end(first)
        at_once.append(second)
        # In the same turn of the loop: no task runs between the two.
        await told(request, ends_of_second)
    assert ends_of_first == ["done" if first is None else str(first)]
    assert ends_of_second == ["done" if second is None else str(second)]


async def test_another_is_refused_until_the_first_has_ended() -> None:
    request, ends = PersonRequest("handover", lambda _: None), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told, request, ends)
        await wait_all_tasks_blocked()
        await told(request, ends)
        assert ends == ["a handover is under way"]
        request.end(None)
    assert ends[1:] == ["done"]
