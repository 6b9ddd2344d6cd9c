"""What a simulated node pushes: a message with the data that is placed before it is heard."""

from ctlha_trio.pair import actions as act, messages as msg
from ctlha_trio.testing._core.clients import SimulatedClients
from ctlha_trio.testing._core.link import SimulatedLink
from ctlha_trio.testing._core.node import BLOCK_BYTES, SimulatedNode


def push(
    link: SimulatedLink, clients: SimulatedClients, node: SimulatedNode, action: act.PushWrite | act.PushCopy
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
        case act.PushCopy():
            copy = msg.CopyData(action.epoch, action.sequence, action.offset, action.size)
            link.send(node.link, copy, node.held.pop(action.sequence))
