"""The clients of the tests with real faults, beside a node that is none."""

from typing import Any

import attrs
import trio
from trio.testing import MockClock

from ctlha_trio.door import Reply
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._processes.outside_clients import PLAIN_KINDS, OutsideClients


@attrs.define(eq=False)
class SlowNode:
    """Executes the first write that it is asked for, late, and refuses everything else. Door and pair in one."""

    asked: trio.Event = attrs.field(factory=trio.Event)
    may_answer: trio.Event = attrs.field(factory=trio.Event)

    async def connect(self, _node: str, _number: int, _nursery: trio.Nursery) -> "SlowNode":
        return self

    async def execute(self, kind: OperationKind, *, number: int, **_: object) -> Reply:
        if kind is not OperationKind.WRITE or self.asked.is_set():
            return Reply(number=number, outcome=Outcome.NOT_PRIMARY)
        self.asked.set()
        await self.may_answer.wait()
        return Reply(number=number, outcome=Outcome.DONE)


async def test_a_client_is_waited_for_also_beside_another_of_its_kind(autojump_clock: MockClock) -> None:
    assert PLAIN_KINDS.count(OperationKind.WRITE) > 1
    node = SlowNode()
    pair: Any = node
    clients = OutsideClients(pair, ["a"])
    found: list[dict[str, int]] = []

    async def find() -> None:
        found.append(await clients.served_at_last("a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients.run)
        await node.asked.wait()
        nursery.start_soon(find)
        await trio.sleep(1.0)
        assert found == []
        node.may_answer.set()
        await trio.sleep(1.0)
        assert found == [{"a": 1}]
        nursery.cancel_scope.cancel()
