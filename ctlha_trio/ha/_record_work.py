"""What the core orders of the records that both nodes carry beside the volume."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import assert_never

import attrs

from ctlha_trio.ha._client_requests import ClientRequests
from ctlha_trio.ha._disk_work import DiskWork
from ctlha_trio.ha._outbox import SEAL, Outbox
from ctlha_trio.ha._peer_reads import digest_of
from ctlha_trio.pair import (
    RECORDS_BYTES_MAX,
    actions,
    decode_record,
    decode_records,
    encode_records,
    encoded_bytes,
    events,
    messages,
    pushed_bytes,
)
from ctlha_trio.seams import Buffer
from ctlha_trio.store import BlockStore

OfRecords = (
    actions.StoreRecord
    | actions.StoreMirroredRecord
    | actions.ReplaceRecords
    | actions.CompareRecords
    | actions.CheckRoom
    | actions.PushSeal
    | actions.SendPrepare
)


@attrs.define(eq=False)
class RecordWork:
    """For the driver, of which it has everything."""

    _store: BlockStore
    _disk: DiskWork
    _outbox: Outbox
    _requests: ClientRequests
    _feed: Callable[[events.Event], None]

    def carry_out(self, action: OfRecords, placed: Mapping[int, Buffer]) -> None:
        """``placed`` is what came with the message that the core is being told of, by its number."""
        match action:
            case actions.StoreRecord():
                self._disk.put_record(action.sequence, self._requests.record(action))
            case actions.StoreMirroredRecord():
                self._disk.put_record(action.sequence, decode_record(bytes(placed[action.sequence])))
            case actions.ReplaceRecords():
                self._disk.replace_records(decode_records(bytes(placed[SEAL])))
            case actions.CompareRecords():
                equal = digest_of(self.encoded) == action.digest
                self._feed(events.RecordsCompared(action.attempt, action.proposal, equal))
            case actions.CheckRoom():
                self._feed(events.RoomChecked(action.tickets, self._without_room(action.tickets)))
            case actions.PushSeal():
                seal = messages.Seal(action.epoch, len(self.encoded))
                self._outbox.push(seal, self.encoded.ljust(pushed_bytes(seal), b"\0"))
            case actions.SendPrepare():
                digest = digest_of(self.encoded)
                self._outbox.say(messages.HandoverPrepare(action.epoch, action.attempt, action.proposal, digest))
            case _:
                assert_never(action)

    @property
    def encoded(self) -> bytes:
        """All records of this node's disk."""
        return encode_records(self._store.records)

    def has_room(self, key: str, value: bytes) -> bool:
        """Whether the record fits, whatever comes of all that are under way."""
        return _fit([*self._known(), *self._requests.records(), (key, value)])

    def _without_room(self, tickets: Collection[int]) -> tuple[int, ...]:
        """Of clients' puts those that do not fit beside all others and those before them."""
        others = [*self._known(), *self._requests.records(but=tickets)]
        refused: list[int] = []
        for ticket in tickets:
            put = self._requests[ticket].operation.key, self._requests[ticket].data
            if _fit([*others, put]):
                others.append(put)
            else:
                refused.append(ticket)
        return tuple(refused)

    def _known(self) -> Iterator[tuple[str, bytes]]:
        for record in chain(self._store.records.values(), self._disk.records_under_way.values()):
            yield record.key, record.value


def _fit(put: Iterable[tuple[str, bytes]]) -> bool:
    """Whether records fit, whichever of those of one key is the last."""
    sizes: dict[str, int] = {}
    for key, value in put:
        sizes[key] = max(sizes.get(key, 0), encoded_bytes(key, value))
    return sum(sizes.values()) <= RECORDS_BYTES_MAX
