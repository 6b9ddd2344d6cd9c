"""Events and orders of a core in words, for a timeline: blocks instead of bytes, and what they hold."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

import attrs

from ctlha_trio.pair import Metadata, Operation, OperationKind, Outcome, Record, actions as act, events as ev
from ctlha_trio.testing._core.clients import SimulatedClients
from ctlha_trio.testing._core.volume import sectors_of

NOTHING_READ: Final[Mapping[int, str]] = MappingProxyType({})
_UNTOLD: Final = frozenset({"proposal", "lineage", "incarnation"})
"""Fields that tell nothing that the line does not tell elsewhere."""

_DIGITS: Final = 8
"""Of a digest: enough to see whether two are the same."""


@attrs.frozen
class Words:
    """For the pairs of one depth of the simulator."""

    register: str
    """What holds one value, in the history."""
    registers_of: Callable[[int, int], Sequence[int]]
    """By offset and size."""
    tells_clients: bool = False
    """Whether a client's question has a line of its own, before the one of the node that takes it."""

    def event(self, event: ev.Event, data: Mapping[int, int | str] | None = None) -> str:
        """In the words of whoever takes it; ``data`` came with a message."""
        match event:
            case ev.Received():
                return f"hears {self.told(event.message)}" + (f" with {told_blocks(data)}" if data else "")
            case ev.Submitted() if self.tells_clients:
                return f"takes {event.ticket}"
            case ev.Submitted():
                return f"client asks {event.ticket}: {self.operation(event.operation, event.ticket)}"
            case ev.RecordRead():
                proof = "" if event.takes_changes is None else f", takes_changes={event.takes_changes}"
                return f"RecordRead({self.told(event.record)}, r{event.revision}{proof})"
            case _:
                return self.told(event)

    def order(self, action: act.Action, read: Mapping[int, int | str]) -> str:
        """In the words of whoever is ordered; ``read`` is what the reads that are answered have read."""
        match action:
            case act.Send():
                return f"says {self.told(action.message)}"
            case act.Answer():
                value = f", reads {read[action.ticket]}" if action.ticket in read else ""
                return f"answers {action.ticket} {action.outcome.name}{value}"
            case act.Moved():
                return f"Moved({action.phase.name}: {action.why})"
            case act.Swap():
                return f"Swap(r{action.expected_revision} to {self.told(action.record)})"
            case act.PushProposal():
                return f"proposes {action.operation.kind.name}(number={action.number}) with {action.ticket}"
            case act.PushWrite():
                return f"pushes {action.operation.kind.name}(sequence={action.sequence}) with {action.ticket}"
            case _:
                return self.told(action)

    def operation(self, operation: Operation, value: int) -> str:
        """What a client wants; ``value`` is what a write writes."""
        match operation.kind:
            case OperationKind.WRITE:
                return f"write {value} to {self._range(operation.offset, operation.size)}"
            case OperationKind.READ:
                return f"read {self._range(operation.offset, operation.size)}"
            case OperationKind.PUT_RECORD:
                return f"put {value} as record {operation.key}"
            case kind if operation.size:
                return f"{kind.name.lower()} {value} on {self._range(operation.offset, operation.size)}"
            case kind:
                return kind.name.lower()

    def told(self, value: Any) -> str:
        """Any value that a core takes or gives."""
        match value:
            case Record():
                return f"epoch {value.epoch}, {value.primary} of {'+'.join(value.members)}"
            case Metadata():
                return f"epoch {value.epoch}, {value.copy.value}"
            case Operation():
                return value.kind.name
            case Enum():
                return value.name
            case bytes():
                # A digest: of whole nodes bytes, of cores what the blocks hold.
                return value.decode() if value.isascii() else value.hex()[:_DIGITS]
            case ((int(), int()), *_):
                return " and ".join(self._range(*each) for each in value)
            case tuple():
                return "+".join(map(self.told, value)) or "none"
            case _ if attrs.has(type(value)):
                return f"{type(value).__name__}({', '.join(self._fields(value))})"
            case _:
                return str(value)

    def _fields(self, value: Any) -> list[str]:
        fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
        place = {"offset", "size"} <= fields.keys()
        where = [self._range(fields.pop("offset"), fields.pop("size"))] if place else []
        return [f"{name}={self.told(each)}" for name, each in fields.items() if name not in _UNTOLD] + where

    def _range(self, offset: int, size: int) -> str:
        name, registers = self.register, self.registers_of(offset, size)
        if len(registers) > 1:
            return f"{name}s {registers[0]} to {registers[-1]}"
        return f"{name} {registers[0]}" if registers else f"no {name}"


IN_SECTORS: Final = Words("sector", sectors_of)
"""Of the simulated cores."""


def told_answer(answer: ev.Event) -> str:
    """What the arbiter says, at the moment at which it is true."""
    match answer:
        case ev.RecordRead():
            return f"{IN_SECTORS.told(answer.record)}, r{answer.revision}"
        case ev.Swapped():
            return answer.outcome.name + ("" if answer.revision is None else f" r{answer.revision}")
        case _:
            return "nothing"


def told_blocks(blocks: Mapping[int, int | str]) -> str:
    """What places hold."""
    return " ".join(f"{block}:{value}" for block, value in sorted(blocks.items()))


def answered_reads(ordered: tuple[act.Action, ...], node: str, clients: SimulatedClients) -> Mapping[int, str]:
    """What the reads of sectors that a node answers as done have read, by ticket."""
    tickets = [each.ticket for each in ordered if isinstance(each, act.Answer) and each.outcome is Outcome.DONE]
    if not tickets:
        return NOTHING_READ
    reads = [ticket for ticket in tickets if clients.asked[node, ticket].kind is OperationKind.READ]
    return {ticket: told_blocks(clients.found.get(ticket, {})) for ticket in reads}
