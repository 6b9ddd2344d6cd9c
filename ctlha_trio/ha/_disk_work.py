"""What the core orders of the disk and the arbiter, each answered by an event."""

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ArbiterError, StoreError
from ctlha_trio.pair import Metadata, actions, events
from ctlha_trio.seams import Arbiter
from ctlha_trio.store import BlockStore

DIGEST_BYTES: Final = 32


def digest_of(data: bytes) -> bytes:
    """BLAKE2b: two ranges that differ in a bit must never be taken as equal."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


@attrs.define(eq=False)
class DiskWork:
    """Writes and reads in tasks of their own, metadata in the order in which it was ordered."""

    _store: BlockStore
    _feed: Callable[[events.Event], None]
    _nursery: trio.Nursery
    _failed: Callable[[StoreError], None]
    _persists: deque[Metadata] = attrs.field(factory=deque, init=False)
    _ordered: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def write(self, sequence: int, offset: int, data: bytes) -> None:
        """Then ``Stored``."""

        async def work() -> None:
            try:
                await self._store.write(offset, data)
            except StoreError as error:
                self._failed(error)
            else:
                self._feed(events.Stored(sequence))

        self._nursery.start_soon(work)

    def read(self, offset: int, size: int, done: Callable[[bytes], None]) -> None:
        """Then ``done`` with the data."""

        async def work() -> None:
            try:
                data = await self._store.read(offset, size)
            except StoreError as error:
                self._failed(error)
            else:
                done(data)

        self._nursery.start_soon(work)

    def persist(self, metadata: Metadata) -> None:
        """Then ``Persisted``."""
        self._persists.append(metadata)
        self._ordered.unpark_all()

    async def run(self) -> None:
        """Persist what is ordered, in order, until cancelled."""
        while True:
            while not self._persists:
                await self._ordered.park()
            metadata = self._persists.popleft()
            try:
                await self._store.persist(metadata)
            except StoreError as error:
                self._failed(error)
            else:
                self._feed(events.Persisted(metadata))


@attrs.define(eq=False)
class ArbiterWork:
    """One call after the other, so that answers come in the order in which the arbiter gave them."""

    _arbiter: Arbiter
    _feed: Callable[[events.Event], None]
    _calls: deque[actions.ReadRecord | actions.Swap] = attrs.field(factory=deque, init=False)
    _ordered: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def call(self, call: actions.ReadRecord | actions.Swap) -> None:
        """Queue a call. The core has at most one of each under way."""
        self._calls.append(call)
        self._ordered.unpark_all()

    async def run(self) -> None:
        """Call until cancelled."""
        while True:
            while not self._calls:
                await self._ordered.park()
            self._feed(await self._ask(self._calls.popleft()))

    async def _ask(self, call: actions.ReadRecord | actions.Swap) -> events.Event:
        if isinstance(call, actions.Swap):
            answer = await self._arbiter.cas(call.expected_revision, call.record)
            return events.Swapped(call.record.proposal, answer.outcome, answer.revision)
        try:
            found = await self._arbiter.read()
        except ArbiterError:
            return events.ReadFailed()
        return events.RecordRead(found.record, found.revision)
