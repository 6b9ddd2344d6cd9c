"""What a simulated node writes, and what it pushes: a message with the data that is placed before it is heard."""

import attrs

from ctlha_trio.pair import ZEROING, OperationKind, actions as act, events as ev, messages as msg
from ctlha_trio.testing._core.clients import SimulatedClients
from ctlha_trio.testing._core.disk_calls import Storing
from ctlha_trio.testing._core.link import Blocks, Parcel, SimulatedLink, digest_of
from ctlha_trio.testing._core.node import SimulatedNode
from ctlha_trio.testing._core.volume import sectors_of
from ctlha_trio.testing._history.linearizability_records import ZEROS


def push(
    link: SimulatedLink,
    clients: SimulatedClients,
    node: SimulatedNode,
    action: act.PushWrite | act.PushProposal | act.PushAssigned | act.PushReady | act.PushCopy,
) -> None:
    """Say it in the session that the node knows."""
    match action:
        case act.PushWrite(operation=operation) if operation.kind is OperationKind.PUT_RECORD:
            record = msg.MirrorRecord(action.epoch, action.sequence, action.previous, action.settled, 1)
            link.send(node.link, record, clients.written(action.ticket, operation))
        case act.PushWrite(operation=operation):
            kind = msg.MirrorZeroes if operation.kind in ZEROING else msg.MirrorWrite
            write = kind(
                epoch=action.epoch,
                sequence=action.sequence,
                previous=action.previous,
                settled=action.settled,
                offset=operation.offset,
                size=operation.size,
            )
            link.send(node.link, write, clients.written(action.ticket, operation))
        case act.PushProposal(operation=operation):
            # The key of a record is in its data.
            propose = msg.Propose(action.epoch, action.number, attrs.evolve(operation, key=""), 1)
            link.send(node.link, propose, clients.written(action.ticket, operation))
        case act.PushAssigned() | act.PushReady():
            link.send(node.link, action.message, {})
        case act.PushCopy():
            copy = msg.CopyData(action.epoch, action.sequence, action.offset, action.size)
            link.send(node.link, copy, node.held.pop(action.sequence))


def say_records(link: SimulatedLink, node: SimulatedNode, action: act.PushSeal | act.SendPrepare) -> None:
    """All of them with the seal, or what tells them from others."""
    match action:
        case act.PushSeal():
            link.send(node.link, msg.Seal(action.epoch, len(node.records)), dict(node.records))
        case act.SendPrepare():
            digest = digest_of(node.records)
            link.send(node.link, msg.HandoverPrepare(action.epoch, action.attempt, action.proposal, digest))


def denied(link: SimulatedLink, node: SimulatedNode, parcel: Parcel) -> bool:
    """Whether it is a push of an epoch that is over at the node: its ring takes none, and the session ends."""
    if node.state is None or not isinstance(parcel.event, ev.Received) or not parcel.pushed:
        return False
    epoch, record = parcel.event.message.epoch, node.state.record
    if record is None or epoch >= record.epoch:
        return False
    if parcel.session == link.live:
        if record.epoch == epoch + 1 and len(record.members) > 1:
            raise AssertionError(f"I12: a planned change ends the session: {node.name} denies a push of epoch {epoch}")
        link.close()
    return True


def stored_by(clients: SimulatedClients, node: SimulatedNode, action: Storing, placed: Blocks | None) -> Blocks:
    """What an order writes; ``placed`` came with the message that it answers."""
    match action:
        case act.StoreWrite(taken=number) | act.StoreRecord(taken=number) if number:
            return clients.proposals[node.name, number].data
        case act.StoreWrite() | act.StoreRecord():
            return clients.written(action.ticket, action.operation)
        case act.StoreZeroes():
            return dict.fromkeys(sectors_of(action.offset, action.size), ZEROS)
        case act.StoreMirrored() | act.StoreRepair() | act.StoreMirroredRecord():
            assert placed is not None, "a write was ordered without its data"
            return placed
