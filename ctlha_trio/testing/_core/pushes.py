"""What a simulated node pushes: a message with the data that is placed before it is heard."""

from ctlha_trio.pair import actions as act, messages as msg
from ctlha_trio.testing._core.clients import SimulatedClients
from ctlha_trio.testing._core.link import SimulatedLink
from ctlha_trio.testing._core.node import BLOCK_BYTES, SimulatedNode


def push(
    link: SimulatedLink,
    clients: SimulatedClients,
    node: SimulatedNode,
    action: act.PushWrite | act.PushProposal | act.PushAssigned | act.PushCopy,
) -> None:
    """Say it in the session that the node knows."""
    match action:
        case act.PushWrite(operation=operation):
            write = msg.MirrorWrite(
                epoch=action.epoch,
                sequence=action.sequence,
                previous=action.previous,
                settled=action.settled,
                offset=operation.offset,
                size=operation.size,
            )
            link.send(node.link, write, {operation.offset // BLOCK_BYTES: clients.values[action.ticket]})
        case act.PushProposal(operation=operation):
            propose = msg.Propose(action.epoch, action.number, operation.offset, operation.size)
            link.send(node.link, propose, {operation.offset // BLOCK_BYTES: clients.values[action.ticket]})
        case act.PushAssigned():
            assigned = msg.Assigned(action.epoch, action.number, action.sequence, action.previous, action.settled)
            link.send(node.link, assigned, {})
        case act.PushCopy():
            copy = msg.CopyData(action.epoch, action.sequence, action.offset, action.size)
            link.send(node.link, copy, node.held.pop(action.sequence))
