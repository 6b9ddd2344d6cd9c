"""Strangers at a listener, by turns of their sources. Under virtual time, without sockets."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio.seams._waiting_room import (
    HANDSHAKE_DEADLINE_S,
    HANDSHAKE_SHARE_S,
    MAX_HANDSHAKES,
    MAX_WAITING,
    Admission,
    WaitingRoom,
    source_of,
)


@attrs.define(eq=False)
class Door:
    """Whoever is let in is at it until ended."""

    begun: list[str] = attrs.field(factory=list)
    under_way: dict[str, Admission] = attrs.field(factory=dict)
    room: WaitingRoom[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.room = WaitingRoom(self._start)

    def _start(self, visitor: str, admission: Admission) -> None:
        self.begun.append(visitor)
        self.under_way[visitor] = admission

    def enter(self, *visitors: str) -> list[str]:
        """Each is named after its source and has a number; who was turned away."""
        entered = [self.room.enter(visitor, visitor.partition(" ")[0]) for visitor in visitors]
        return [each for each in entered if each is not None]

    def end_overdue(self) -> None:
        """As its scope does to each handshake."""
        for visitor, admission in list(self.under_way.items()):
            if admission.scope.deadline <= trio.current_time():
                del self.under_way[visitor]
                self.room.leave(admission)


def crowd(source: str, count: int) -> list[str]:
    return [f"{source} {number}" for number in range(count)]


async def test_one_source_comes_in_its_order_and_each_has_its_share(autojump_clock: MockClock) -> None:
    door = Door()
    assert door.enter(*crowd("s", 20)) == []
    assert door.begun == crowd("s", MAX_HANDSHAKES)
    await trio.sleep(HANDSHAKE_SHARE_S - 0.01)
    door.end_overdue()
    assert door.begun == crowd("s", MAX_HANDSHAKES)
    await trio.sleep(0.01)
    door.end_overdue()
    assert door.begun == crowd("s", 2 * MAX_HANDSHAKES)


async def test_who_disturbs_nobody_has_all_of_its_time(autojump_clock: MockClock) -> None:
    door = Door()
    door.enter(*crowd("s", MAX_HANDSHAKES))
    await trio.sleep(HANDSHAKE_DEADLINE_S - 0.01)
    door.end_overdue()
    assert len(door.under_way) == MAX_HANDSHAKES
    await trio.sleep(0.01)
    door.end_overdue()
    assert not door.under_way


@pytest.mark.parametrize("strangers", [8, 72, 5000])
async def test_another_source_is_next_however_many_came_before(autojump_clock: MockClock, strangers: int) -> None:
    door = Door()
    turned_away = door.enter(*crowd("s", strangers))
    assert len(turned_away) == max(0, strangers - MAX_HANDSHAKES - MAX_WAITING)
    assert all(each.startswith("s") for each in door.enter("peer 0"))
    await trio.sleep(HANDSHAKE_SHARE_S)
    door.end_overdue()
    assert door.begun[MAX_HANDSHAKES] == "peer 0"


async def test_the_peer_does_not_give_way_to_those_of_whom_there_are_more(autojump_clock: MockClock) -> None:
    door = Door()
    door.enter("peer 0", *crowd("s", 60))
    for _ in range(8):
        await trio.sleep(HANDSHAKE_SHARE_S)
        door.end_overdue()
    assert "peer 0" in door.under_way
    assert len(door.begun) > 40


async def test_too_many_sources_lose_their_latest(autojump_clock: MockClock) -> None:
    door = Door()
    assert door.enter(*(f"s{number} 0" for number in range(MAX_HANDSHAKES + MAX_WAITING))) == []
    assert door.enter("late 0") == ["late 0"]
    await trio.sleep(HANDSHAKE_SHARE_S)
    door.end_overdue()
    assert door.enter("late 1") == []


async def test_a_room_is_emptied(autojump_clock: MockClock) -> None:
    door = Door()
    door.enter(*crowd("s", 10), "t 0")
    assert sorted(door.room.empty()) == ["s 8", "s 9", "t 0"]
    assert list(door.room.empty()) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1", True),
    ],
)
def test_who_can_come_from_many_addresses_is_one_source(one: str, other: str, same: bool) -> None:
    assert (source_of(one) == source_of(other)) is same
